//! An outgoing webhook, from the event to its signed headers. The floor is its two HMACs. And the wait before a retry; the floor
//! raises the factor to its power.

use std::hint::black_box;

use criterion::Criterion;
use http::HeaderMap;
use shared::{
    deliver::payload,
    event::{Event, EventType},
    ids::TenantId,
    integration::RetryPolicy,
    schedule,
};

use crate::samples::{CALL_ENDED, SECRET, Sample, hmac_sha256, now};

const ID: &str = "evt_01kf1d0x8000000000000000000";

pub(crate) fn bench(c: &mut Criterion) {
    let tenant = TenantId::parse("tenant_demo").expect("a tenant's name");
    let event = Event::transient(EventType::InteractionCreated, now(), &Sample::read(CALL_ENDED).payload);
    let mut group = c.benchmark_group("delivery");
    group.bench_function("floor: two HMAC-SHA256", |b| {
        b.iter(|| (hmac_sha256(black_box(event.data.as_bytes())), hmac_sha256(black_box(event.data.as_bytes()))));
    });
    group.bench_function("build and sign", |b| {
        b.iter(|| {
            let (body, signature) = payload::build(&tenant, ID, black_box(&event), 0, &[SECRET]);
            payload::headers(&HeaderMap::new(), ID, &event, (&body, &signature), (&[SECRET], now())).expect("a key")
        });
    });
    group.finish();

    let policy = RetryPolicy { max_attempts: 5, backoff_factor: 1.5, base_delay_seconds: 10.0 };
    let mut group = c.benchmark_group("retry");
    group.bench_function("floor: a power", |b| b.iter(|| black_box(1.5_f64).powi(black_box(4))));
    group.bench_function("wait before the fifth retry", |b| {
        b.iter(|| schedule::delay(black_box(&policy), black_box(4), None, black_box(12_345)));
    });
    group.finish();
}
