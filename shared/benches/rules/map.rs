//! From a request to what it means, and the mapping alone for a sample of each built-in system.

use std::hint::black_box;

use criterion::Criterion;
use serde_json::Value;
use shared::{
    integration::Integration,
    json,
    mapping::{Outcome, builtin, parse_rule},
    phone::Region,
};

use crate::samples::{CALL_ENDED, SECRET, Sample, hmac_sha256, now, request, signed};

const SAMPLES: [&str; 5] = [
    CALL_ENDED,
    include_str!("../../../events/payment_processor/payment_succeeded.json"),
    include_str!("../../../events/stripe/payment_intent_succeeded.json"),
    include_str!("../../../events/github/issues_opened.json"), // ignored: the built-in rule names no event
    include_str!("../../../events/external_crm/contact_created.json"),
];

pub(crate) fn bench(c: &mut Criterion) {
    whole(c);
    let samples = SAMPLES.map(Sample::read);
    for sample in &samples {
        alone(c, sample);
    }
    for sample in &samples {
        compile(c, &sample.integration);
    }
}

/// Verify, parse and map 2 KiB. The floor is one HMAC and one parse.
fn whole(c: &mut Criterion) {
    let sample = Sample::read(CALL_ENDED);
    let (body, scheme, region) = (sample.body.as_str(), &sample.integration.scheme, Region::default());
    let headers = signed(scheme, body.as_bytes());
    let request = request(&headers, body.as_bytes());
    let verify = || scheme.verify(black_box(&request), black_box(&[SECRET]), now()).expect("authentic");
    let parse = || json::parse(black_box(body)).expect("JSON");
    let map = |payload: &Value| (sample.integration.rule.event_id(payload), sample.map(payload, &region));

    let mut group = c.benchmark_group("verify, parse, map");
    group.bench_function("floor: HMAC-SHA256 and serde_json", |b| {
        b.iter(|| (hmac_sha256(black_box(body.as_bytes())), serde_json::from_str::<Value>(black_box(body))));
    });
    group.bench_function("all three", |b| {
        b.iter(|| {
            verify();
            map(&parse())
        });
    });
    group.bench_function("verify", |b| b.iter(verify));
    group.bench_function("parse", |b| b.iter(parse));
    group.finish();
}

/// Map what is parsed already. The floor copies the outcome, which has to be built in any case.
fn alone(c: &mut Criterion, sample: &Sample) {
    let region = Region::default();
    let outcome = sample.map(&sample.payload, &region);
    assert!(!matches!(outcome, Outcome::Failed { .. }), "{} maps its sample", sample.integration.system_id);
    let mut group = c.benchmark_group(format!("map/{}", sample.integration.system_id));
    group.bench_function("floor: copy the outcome", |b| b.iter(|| black_box(&outcome).clone()));
    group.bench_function("map", |b| b.iter(|| sample.map(black_box(&sample.payload), &region)));
    group.finish();
}

/// Read and compile a built-in rule. The floor parses its text.
fn compile(c: &mut Criterion, integration: &Integration) {
    let system = &integration.system_id;
    let text = builtin(system.as_str()).expect("a built-in system");
    let mut group = c.benchmark_group(format!("compile/{system}"));
    group.bench_function("floor: serde_json, parse", |b| b.iter(|| serde_json::from_str::<Value>(black_box(text))));
    group.bench_function("parse_rule, compile", |b| {
        b.iter(|| {
            let json: Value = serde_json::from_str(black_box(text)).expect("a built-in rule is JSON");
            parse_rule(&json).and_then(|rule| rule.compile()).is_ok()
        });
    });
    group.finish();
}
