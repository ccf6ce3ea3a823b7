//! Reading phone numbers. The floor collects the digits.

use std::hint::black_box;

use criterion::Criterion;
use shared::phone::{Region, parse};

/// What it shows, the number as someone wrote it, and its region.
const NUMBERS: [(&str, &str, &str); 3] = [
    ("North American", "(415) 555-0132", "US"),
    ("British", "020 7946 0958", "GB"),
    ("by the fall-backs", "0999999999999", "US"),
];

pub(crate) fn bench(c: &mut Criterion) {
    for (name, raw, region) in NUMBERS {
        let region: Region = region.parse().expect("a region");
        let mut group = c.benchmark_group(format!("phone/{name}"));
        group.bench_function("floor: collect the digits", |b| b.iter(|| digits(black_box(raw))));
        group.bench_function("parse", |b| b.iter(|| parse(black_box(raw), &region).expect("a number")));
        group.finish();
    }
}

fn digits(raw: &str) -> String {
    let mut number = String::with_capacity(16);
    number.push('+');
    number.extend(raw.chars().filter(char::is_ascii_digit));
    number
}
