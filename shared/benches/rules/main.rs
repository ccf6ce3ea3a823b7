//! What the hub's pure rules cost, each beside its floor: the least that could do the job, measured in the same group.
//!
//! `cargo bench -p shared --bench rules` runs all of them in 80 seconds; `… --bench rules -- map/` one group.
//! `docs/benchmarks.md` holds the results. One binary for all groups, because each would be linked anew, with fat LTO.

#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark of something that fails is none")]

mod canonical;
mod codec;
mod delivery;
mod map;
mod phone;
mod record;
mod samples;
mod signature;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

criterion_group! {
    name = rules;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = signature::bench, canonical::bench, map::bench, phone::bench, codec::bench, record::bench, delivery::bench
}
criterion_main!(rules);
