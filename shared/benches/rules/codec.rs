//! Packing a 2 KiB body as it is kept. The floor is deflate at the same level without the dictionary.

use std::hint::black_box;

use criterion::Criterion;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use shared::codec::{pack, unpack};

use crate::samples::{CALL_ENDED, Sample};

/// Room for anything here.
const BYTES_MAX: usize = 8 * 1024;

pub(crate) fn bench(c: &mut Criterion) {
    let body = Sample::read(CALL_ENDED).body.into_bytes();
    let (packed, deflated) = (pack(&body), deflate(&body));
    println!("{} bytes: {} packed, {} without the dictionary", body.len(), packed.len(), deflated.len());
    assert_eq!(unpack(&packed, BYTES_MAX).expect("what we packed"), inflate(&deflated));

    let mut group = c.benchmark_group("codec/pack");
    group.bench_function("floor: deflate", |b| b.iter(|| deflate(black_box(&body))));
    group.bench_function("pack", |b| b.iter(|| pack(black_box(&body))));
    group.finish();

    let mut group = c.benchmark_group("codec/unpack");
    group.bench_function("floor: inflate", |b| b.iter(|| inflate(black_box(&deflated))));
    group.bench_function("unpack", |b| b.iter(|| unpack(black_box(&packed), BYTES_MAX)));
    group.finish();
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(BYTES_MAX);
    let done = Compress::new(Compression::new(6), false).compress_vec(plain, &mut out, FlushCompress::Finish);
    done.expect("deflate takes anything");
    out
}

fn inflate(deflated: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(BYTES_MAX);
    let done = Decompress::new(false).decompress_vec(deflated, &mut out, FlushDecompress::Finish);
    done.expect("what we deflated");
    out
}
