//! Verifying 1 KiB under every kind of scheme. The floor is one HMAC of the body.

use std::hint::black_box;

use criterion::Criterion;
use shared::signature::{Scheme, SignatureConfig, canonical_json};

use crate::samples::{SECRET, hmac_sha256, now, request, signed};

/// Name, configuration, and whether the sender signed the canonical form in place of the body that it sent.
const SCHEMES: [(&str, &str, bool); 7] = [
    ("github", r#"{"scheme": "github"}"#, false),
    ("custom, raw body", r#"{"scheme": "custom"}"#, false),
    ("custom, canonical form", r#"{"scheme": "custom"}"#, true),
    ("stripe", r#"{"scheme": "stripe"}"#, false),
    ("standard", r#"{"scheme": "standard"}"#, false),
    ("template, slack", r#"{"scheme": "template", "preset": "slack"}"#, false),
    ("template, hubspot_v3", r#"{"scheme": "template", "preset": "hubspot_v3"}"#, false),
];

pub(crate) fn bench(c: &mut Criterion) {
    let body = body_of_1_kib();
    let mut group = c.benchmark_group("signature");
    group.bench_function("floor: HMAC-SHA256", |b| b.iter(|| hmac_sha256(black_box(&body))));
    for (name, config, is_canonical) in SCHEMES {
        let scheme = compile(config);
        let canonical = canonical_json(&body).expect("the body is JSON");
        let headers = signed(&scheme, if is_canonical { &canonical } else { &body });
        let request = request(&headers, &body);
        let verify = || scheme.verify(black_box(&request), black_box(&[SECRET]), now());
        assert!(verify().is_ok(), "{name} verifies");
        group.bench_function(name, |b| b.iter(verify));
    }
    group.finish();
}

fn compile(config: &str) -> Scheme {
    let config: SignatureConfig = serde_json::from_str(config).expect("a configuration");
    config.compile().expect("a scheme")
}

/// An event of a usual shape, exactly 1,024 bytes long and not in canonical form.
fn body_of_1_kib() -> Vec<u8> {
    let calls: Vec<String> =
        (100..112).map(|n| format!(r#"{{"id": "call_{n}", "seconds": {n}, "score": 0.{n}}}"#)).collect();
    let (begin, end) = (format!(r#"{{"event_type": "calls", "calls": [{}], "note": ""#, calls.join(", ")), "\"}");
    let padding = "x".repeat(1024 - begin.len() - end.len());
    format!("{begin}{padding}{end}").into_bytes()
}
