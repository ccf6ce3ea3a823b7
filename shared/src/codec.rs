//! How payloads are kept: compressed, so that a webhook of 2 KiB fits the one kilobyte that DynamoDB bills as a unit.
//!
//! A packed payload is one byte for the dictionary that it was made with and a raw deflate stream (RFC 1951). The
//! dictionary holds the names and values that webhooks repeat; a new one gets the next number and the old ones stay, so
//! that what is stored can always be read.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Dictionaries by number. What is commonest stands last, where matches are cheapest.
const DICTIONARIES: [&[u8]; 1] = [include_bytes!("codec/dictionary-0.txt")];
/// The one that new payloads are packed with.
const NEWEST: usize = DICTIONARIES.len() - 1;

/// Why a packed payload can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// Packed by a newer version of this code.
    #[error("the payload is packed in a form that this version doesn't know; deploy the newer version")]
    UnknownDictionary,
    /// Damaged, or not packed by us.
    #[error("the payload is damaged")]
    Damaged,
    /// Larger than `limit`; guards against a stream that unpacks without end.
    #[error("the payload is larger than it may be")]
    TooLarge,
}

thread_local! {
    /// One for all payloads: it takes 380 KB, and making it anew each time leaves the heap full of holes.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(6), false));
}

/// Compresses `plain`.
#[must_use]
pub fn pack(plain: &[u8]) -> Vec<u8> {
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        // A raw stream takes a dictionary at any time before the first byte, so this can't fail.
        let _ = deflate.set_dictionary(DICTIONARIES[NEWEST]);
        let mut packed = Vec::with_capacity(plain.len() / 2 + 64);
        packed.push(u8::try_from(NEWEST).unwrap_or(u8::MAX));
        loop {
            let consumed = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
            let rest = plain.get(consumed..).unwrap_or_default();
            match deflate.compress_vec(rest, &mut packed, FlushCompress::Finish) {
                Ok(Status::StreamEnd) | Err(_) => return packed,
                Ok(Status::Ok | Status::BufError) => packed.reserve(packed.capacity()),
            }
        }
    })
}

/// Reverses [`pack`], giving at most `limit` bytes.
///
/// # Errors
/// [`UnpackError`] where `packed` isn't what [`pack`] gives.
pub fn unpack(packed: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    let (number, stream) = packed.split_first().ok_or(UnpackError::Damaged)?;
    let dictionary = DICTIONARIES.get(usize::from(*number)).ok_or(UnpackError::UnknownDictionary)?;
    let mut inflate = Decompress::new(false);
    inflate.set_dictionary(dictionary).map_err(|_| UnpackError::Damaged)?;
    let mut plain = Vec::with_capacity((stream.len() * 4).clamp(256, limit.max(256)));
    loop {
        let before = (inflate.total_in(), plain.len());
        let consumed = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
        let rest = stream.get(consumed..).unwrap_or_default();
        let status = inflate.decompress_vec(rest, &mut plain, FlushDecompress::Finish);
        if plain.len() > limit {
            return Err(UnpackError::TooLarge);
        }
        match status {
            Ok(Status::StreamEnd) => return Ok(plain),
            Ok(_) if plain.len() == plain.capacity() => plain.reserve(plain.capacity()),
            Ok(_) if before != (inflate.total_in(), plain.len()) => {}
            _ => return Err(UnpackError::Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_back(plain in prop::collection::vec(any::<u8>(), 0..5000), repeat in 1..40usize) {
            let plain = plain.repeat(repeat);
            prop_assert_eq!(unpack(&pack(&plain), plain.len()).unwrap(), plain);
        }

        #[test]
        fn damaged_input_is_an_error_and_never_a_panic(packed in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = unpack(&packed, 10_000);
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = pack(&vec![b'a'; 1_000_000]);
        assert!(bomb.len() < 3000);
        assert_eq!(unpack(&bomb, 1000), Err(UnpackError::TooLarge));
        assert_eq!(unpack(&bomb[..bomb.len() / 2], 2_000_000), Err(UnpackError::Damaged));
        assert_eq!(unpack(&[9, 1, 2], 10), Err(UnpackError::UnknownDictionary));
        assert_eq!(unpack(&[], 10), Err(UnpackError::Damaged));
    }
}
