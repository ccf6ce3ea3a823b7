//! Python's canonical form of a 2 KiB body. The floor parses and writes it in `serde_json`'s own form.

use std::hint::black_box;

use criterion::Criterion;
use serde_json::Value;
use shared::signature::canonical_json;

use crate::samples::{CALL_ENDED, Sample};

pub(crate) fn bench(c: &mut Criterion) {
    let body = Sample::read(CALL_ENDED).body;
    let mut group = c.benchmark_group("canonical");
    group.bench_function("floor: serde_json, parse and write", |b| {
        b.iter(|| serde_json::from_str::<Value>(black_box(&body)).expect("JSON").to_string());
    });
    group.bench_function("canonical_json", |b| {
        b.iter(|| canonical_json(black_box(body.as_bytes())).expect("JSON"));
    });
    group.finish();
}
