//! What the pure rules allocate for the sample events: a guard, since it is what their time goes into. `cargo measure --check` guards
//! whole webhooks; a rule's own share of one would be lost in that.

#![expect(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

#[path = "../benches/rules/samples.rs"]
#[expect(dead_code, reason = "its floors are for the benchmarks")]
mod samples;

use std::hint::black_box;

use allocation_counter::measure;
use shared::{
    codec::{pack, unpack},
    json,
    mapping::{Outcome, builtin, parse_rule},
    phone::{self, Region},
    signature::canonical_json,
};

use samples::{CALL_ENDED, SECRET, Sample, now, request, signed};

/// Allocations by what makes them. Lower a number with what lowers it; raise one only where the commit says why.
const ACCEPTED: [(&str, u64); 16] = [
    ("verify sarah_ai", 1),
    ("verify payment_processor", 1),
    ("verify stripe", 1),
    ("verify external_crm", 3),
    ("map sarah_ai", 23),
    ("map payment_processor", 45),
    ("map stripe", 41),
    ("map external_crm", 28),
    ("compile sarah_ai", 2099),
    ("compile payment_processor", 2054),
    ("compile stripe", 4388),
    ("compile external_crm", 7315),
    ("parse", 141),
    ("canonical form", 43),
    ("pack and unpack", 3),
    ("phone numbers", 24),
];

const SAMPLES: [&str; 4] = [
    CALL_ENDED,
    include_str!("../../events/payment_processor/payment_succeeded.json"),
    include_str!("../../events/stripe/payment_intent_succeeded.json"),
    include_str!("../../events/external_crm/contact_created.json"),
];

#[test]
fn no_rule_allocates_more_than_before() {
    let samples = SAMPLES.map(Sample::read);
    let mut counted = Vec::new();
    let mut count = |name: String, work: &dyn Fn()| {
        work(); // what is made once, is made here
        counted.push((name, measure(work).count_total));
    };
    let system = |sample: &Sample| sample.integration.system_id.to_string();
    for sample in &samples {
        let scheme = &sample.integration.scheme;
        let headers = signed(scheme, sample.body.as_bytes());
        let request = request(&headers, sample.body.as_bytes());
        count(format!("verify {}", system(sample)), &|| {
            scheme.verify(&request, &[SECRET], now()).expect("authentic");
        });
    }
    for sample in &samples {
        count(format!("map {}", system(sample)), &|| {
            let outcome = sample.map(&sample.payload, &Region::default());
            assert!(matches!(black_box(outcome), Outcome::Mapped(_)));
        });
    }
    for sample in &samples {
        count(format!("compile {}", system(sample)), &|| {
            let text = builtin(&system(sample)).expect("a built-in rule");
            let rule = serde_json::from_str(text).expect("JSON");
            assert!(black_box(parse_rule(&rule).and_then(|rule| rule.compile())).is_ok());
        });
    }
    let body = &samples[0].body;
    count("parse".into(), &|| drop(black_box(json::parse(body))));
    count("canonical form".into(), &|| drop(black_box(canonical_json(body.as_bytes()))));
    count("pack and unpack".into(), &|| drop(black_box(unpack(&pack(body.as_bytes()), body.len()))));
    count("phone numbers".into(), &|| {
        for (raw, region) in [("(415) 555-0132", "US"), ("020 7946 0958", "GB"), ("0999999999999", "US")] {
            drop(black_box(phone::parse(raw, &region.parse().expect("a region"))));
        }
    });
    let accepted: Vec<_> = ACCEPTED.map(|(name, count)| (name.to_owned(), count)).into();
    // One more is noticed: these counts are the same in every run.
    let is_as_before =
        |((name, now), (accepted_name, most)): (&(String, u64), &(String, u64))| name == accepted_name && now <= most;
    let is_good = counted.len() == accepted.len() && counted.iter().zip(&accepted).all(is_as_before);
    assert!(is_good, "allocations are now {counted:#?}");
}
