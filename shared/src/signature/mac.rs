//! HMAC over a message in pieces, and how its digest is written in a header.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

/// The hash function of the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// HMAC-SHA1: still sound as a MAC, and what some older senders use.
    Sha1,
    /// HMAC-SHA256.
    Sha256,
    /// HMAC-SHA512.
    Sha512,
}

/// How the digest is written in the signature header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Hexadecimal; written in lower case, read in either.
    Hex,
    /// Base64 with the standard alphabet and padding.
    Base64,
}

impl Algorithm {
    /// The HMAC of the concatenated `chunks`. `None` only for a key that HMAC can't take, which there is none of.
    pub(super) fn digest<'a>(self, key: &[u8], chunks: impl Iterator<Item = &'a [u8]>) -> Option<Digest> {
        match self {
            Self::Sha1 => digest::<Sha1>(key, chunks),
            Self::Sha256 => digest::<Sha256>(key, chunks),
            Self::Sha512 => digest::<Sha512>(key, chunks),
        }
    }

    /// Length of the digest in bytes.
    fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

fn digest<'a, D: EagerHash>(key: &[u8], chunks: impl Iterator<Item = &'a [u8]>) -> Option<Digest>
where
    Hmac<D>: KeyInit + Mac,
{
    let mut mac = <Hmac<D> as KeyInit>::new_from_slice(key).ok()?;
    chunks.for_each(|chunk| mac.update(chunk));
    Digest::new(&mac.finalize().into_bytes())
}

/// A digest of any of the algorithms, on the stack. It has no `Debug`: an expected signature belongs in no log.
pub(super) struct Digest {
    bytes: [u8; DIGEST_LEN_MAX],
    len: usize,
}

/// Bytes of the longest digest, SHA-512's.
const DIGEST_LEN_MAX: usize = 64;

impl Digest {
    fn new(digest: &[u8]) -> Option<Self> {
        let mut bytes = [0; DIGEST_LEN_MAX];
        bytes.get_mut(..digest.len())?.copy_from_slice(digest);
        Some(Self { bytes, len: digest.len() })
    }

    /// Reads a signature; `None` if it is not the encoding of a digest of that algorithm's length.
    pub(super) fn decode(text: &str, algorithm: Algorithm, encoding: Encoding) -> Option<Self> {
        let len = algorithm.digest_len();
        match encoding {
            Encoding::Hex => decode_hex(text.as_bytes(), len),
            Encoding::Base64 => decode_base64(text, len),
        }
    }

    pub(super) fn encode(&self, encoding: Encoding) -> String {
        match encoding {
            Encoding::Hex => {
                let nibbles = self.as_bytes().iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
                nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16)).collect()
            }
            Encoding::Base64 => STANDARD.encode(self.as_bytes()),
        }
    }

    /// Compares in a time that doesn't depend on where the two differ.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }

    #[expect(clippy::indexing_slicing, reason = "`len` is that of a digest, at most `DIGEST_LEN_MAX`")]
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn decode_hex(text: &[u8], len: usize) -> Option<Digest> {
    if text.len() != 2 * len {
        return None;
    }
    let mut digest = Digest { bytes: [0; DIGEST_LEN_MAX], len };
    let (pairs, _) = text.as_chunks::<2>();
    for (byte, [high, low]) in digest.bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(digest)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn decode_base64(text: &str, len: usize) -> Option<Digest> {
    // The decoder wants room for whole groups of three bytes, padding included.
    let mut buffer = [0; DIGEST_LEN_MAX.next_multiple_of(3)];
    let decoded = STANDARD.decode_slice(text, &mut buffer).ok()?;
    if decoded == len { Digest::new(buffer.get(..len)?) } else { None }
}
