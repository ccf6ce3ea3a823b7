//! Identifiers in the forms that AWS gives them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Request ids that don't repeat: version 4 UUIDs, drawn from a seed.
#[derive(Debug)]
pub(crate) struct RequestIds(AtomicU64);

impl RequestIds {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> String {
        let draw = || u128::from(mix(self.0.fetch_add(GOLDEN, Ordering::Relaxed)));
        uuid(draw() << 64 | draw())
    }
}

/// The step and the mixing of SplitMix64 (Steele, Lea and Flood, 2014): each number once, in no visible order.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// A version 4 UUID of these random bits.
fn uuid(random: u128) -> String {
    const VERSION: u128 = 0x4 << 76;
    const VARIANT: u128 = 0x2 << 62;
    let bits = random & !(0xf << 76) & !(0x3 << 62) | VERSION | VARIANT;
    let hex = format!("{bits:032x}");
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_uuid_shows_its_version_and_variant() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn request_ids_do_not_repeat() {
        let ids = RequestIds::new(1);
        let drawn: HashSet<_> = (0..1000).map(|_| ids.next()).collect();
        assert_eq!(drawn.len(), 1000);
        assert_eq!(RequestIds::new(7).next(), RequestIds::new(7).next());
    }
}
