//! Names and ids: who a tenant is, what a system is called, and the ids that we make.

use std::{borrow::Cow, fmt, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Why a tenant or system name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` must be 1 to 64 characters of a-z, 0-9, `_` or `-`, beginning with a letter or digit")]
pub struct InvalidName(&'static str);

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_letter_or_digit = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    bytes.len() <= 64
        && bytes.first().is_some_and(is_letter_or_digit)
        && bytes.iter().all(|byte| is_letter_or_digit(byte) || matches!(byte, b'_' | b'-'))
}

macro_rules! name {
    ($type:ident, $what:literal, $doc:literal) => {
        #[doc = $doc]
        /// Matches `^[a-z0-9][a-z0-9_-]{0,63}$` (contract §1), so it can't contain the `#` that separates key parts.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes a name from outside.
            ///
            /// # Errors
            /// [`InvalidName`] where the text isn't of the form above.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(InvalidName($what)) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$", "description": $doc})
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().into()
            }
        }
    };
}

name!(TenantId, "tenant_id", "One customer of the CRM, e.g. `tenant_abc123`.");
name!(SystemId, "system_id", "A third-party system of one tenant, e.g. `sarah_ai`.");

/// Crockford's base 32 in lower case: no letters that a person confuses, safe in URLs and keys.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The character for the last five bits of `bits`.
#[expect(clippy::indexing_slicing, reason = "five bits are less than 32")]
fn character(bits: u64) -> char {
    char::from(ALPHABET[(bits & 31) as usize])
}

fn base32(bytes: &[u8]) -> impl Iterator<Item = char> + '_ {
    bytes.chunks(5).flat_map(|chunk| {
        let word = (0..5).fold(0u64, |word, i| (word << 8) | u64::from(*chunk.get(i).unwrap_or(&0)));
        let chars = (chunk.len() * 8).div_ceil(5);
        (0..chars).map(move |i| character(word >> (35 - 5 * i)))
    })
}

/// An id that is the same for the same parts: `prefix_` and 24 characters (120 bits of SHA-256).
///
/// What one event makes gets such an id, so that making it twice finds the first. Each part goes in with its length, so
/// that `["ab","c"]` and `["a","bc"]` differ.
#[must_use]
pub fn derived(prefix: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    format!("{prefix}_{}", base32(&digest[..15]).collect::<String>())
}

/// An id that sorts by time: `prefix_`, 10 characters of milliseconds since 1970 and 16 of `random`, as in a ULID.
#[must_use]
pub fn sortable(prefix: &str, at: jiff::Timestamp, random: u128) -> String {
    let millis = at.as_millisecond().max(0).unsigned_abs();
    let time = (0..10).map(|i| character(millis >> (45 - 5 * i)));
    let tail = random.to_be_bytes();
    format!("{prefix}_{}{}", time.collect::<String>(), base32(&tail[..10]).collect::<String>())
}

/// SHA-256 of `bytes` in hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let nibbles = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_contract_says() {
        for good in ["a", "0", "tenant_abc123", "a-b_c", &"x".repeat(64)] {
            assert!(TenantId::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "_a", "-a", "A", "a/b", "..", "a%00", "a\0", "ä", "a b", "a#b", &"x".repeat(65), &"x".repeat(10_000)]
        {
            assert!(TenantId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn derived_ids_depend_on_every_part_and_its_length() {
        let id = derived("int", &["ab", "c"]);
        assert_eq!(id, derived("int", &["ab", "c"]));
        assert_ne!(id, derived("int", &["a", "bc"]));
        assert_eq!(id.len(), 4 + 24);
    }

    #[test]
    fn sortable_ids_sort_by_time() {
        let at = |ms| sortable("fail", jiff::Timestamp::from_millisecond(ms).unwrap(), u128::MAX / 3);
        assert!(at(1_700_000_000_000) < at(1_700_000_000_001));
        assert!(at(0) < at(4_000_000_000_000));
        assert_eq!(at(5).len(), 5 + 26);
    }

    #[test]
    fn hex_of_nothing() {
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
