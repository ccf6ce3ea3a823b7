//! What a seed decides: the weather, the events and the moods of their senders.

use std::{ops::Range, time::Duration};

use fastrand::Rng;
use local::aws::Service;

use super::{
    crm::CrmPlan,
    hooks::{Hook, hooks},
    traffic::{Event, What},
};

/// Everything that a seed decides in advance.
pub struct Plan {
    pub seed: u64,
    /// The share of calls to AWS that fail in some way.
    pub faults: f64,
    /// The share of calls to AWS before or after which the function dies.
    pub kills: f64,
    /// The longest usual latency of a call, in milliseconds.
    pub latency_ms: u64,
    /// The share of calls that take seconds.
    pub slow: f64,
    /// The share of dead functions after which all copies begin anew.
    pub restarts: f64,
    /// When which service fails altogether, from the beginning.
    pub outages: Vec<(Range<Duration>, Service)>,
    /// When all clocks jump by how many seconds, back and forth.
    pub jumps: Vec<(Duration, i64)>,
    /// The share of messages that are delivered twice.
    pub twice: f64,
    /// The longest time that a message is held back, in seconds.
    pub late_seconds: u64,
    /// The share of messages whose deletion fails.
    pub undeleted: f64,
    /// The share of runs of schedules that are left out, and of those that happen twice.
    pub unpunctual: f64,
    /// How long the senders send.
    pub span: Duration,
    pub events: Vec<Event>,
    /// The tenants' subscriptions.
    pub hooks: Vec<Hook>,
    /// The share of the stream's records that are lost for good.
    pub lost: f64,
    /// The tenants' CRMs.
    pub crm: Option<CrmPlan>,
}

/// How often a number is, mostly: half of the seeds have none of it.
fn share(rng: &mut Rng, most: f64) -> f64 {
    if rng.bool() { 0.0 } else { rng.f64() * most }
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let rng = &mut Rng::with_seed(seed);
        let span = Duration::from_secs(rng.u64(120..1800));
        let within = |rng: &mut Rng| Duration::from_secs(rng.u64(0..span.as_secs()));
        let mut outages = Vec::new();
        for service in [Service::DynamoDb, Service::DynamoDb, Service::Sqs, Service::SecretsManager] {
            if rng.u8(0..3) == 0 {
                let start = within(rng);
                outages.push((start..start + Duration::from_secs(rng.u64(5..1200)), service));
            }
        }
        let mut jumps = Vec::new();
        if rng.u8(0..3) == 0 {
            for _ in 0..rng.usize(1..4) {
                let most = if rng.bool() { 100 } else { 4000 };
                jumps.push((within(rng), rng.i64(-most..most)));
            }
            jumps.sort_unstable();
        }
        // Out of a sequence of its own, so that the rest of a seed is the same with and without.
        let outgoing = &mut Rng::with_seed(seed.wrapping_add(0x1000_0000));
        let hooks = hooks(outgoing);
        // A clock that goes back makes events of a time that was swept already.
        let may_lose = jumps.is_empty() && !hooks.is_empty() && outgoing.u8(0..3) == 0;
        Self {
            seed,
            lost: if may_lose { outgoing.f64() * 0.5 } else { 0.0 },
            hooks,
            crm: CrmPlan::of(seed, span),
            faults: share(rng, 0.2),
            kills: share(rng, 0.05),
            latency_ms: if rng.bool() { 0 } else { rng.u64(1..100) },
            slow: share(rng, 0.02),
            restarts: rng.f64(),
            outages,
            jumps,
            twice: share(rng, 0.3),
            late_seconds: if rng.bool() { 0 } else { rng.u64(1..400) },
            undeleted: share(rng, 0.2),
            unpunctual: share(rng, 0.3),
            span,
            events: events(rng),
        }
    }
}

/// What happens to both tenants: the same ids and numbers, but told apart by marks in the payloads.
fn events(rng: &mut Rng) -> Vec<Event> {
    let mut events = Vec::new();
    for tenant in 0..2 {
        for call in 0..rng.u32(2..8) {
            let number = rng.usize(0..4);
            let mut add = |what| events.push(Event { tenant, number, what });
            for _ in 0..rng.u32(0..2) {
                add(What::CallStarted { call });
            }
            for transfer in 0..rng.u32(0..3) {
                add(What::CallTransferred { call, transfer });
            }
            if rng.u8(0..5) > 0 {
                add(What::CallEnded { call, seconds: rng.u32(1..500), interested: rng.bool() });
            }
            if rng.bool() {
                add(What::Recording { call });
            }
        }
        for payment in 0..rng.u32(0..6) {
            // The last number is nobody's: its payments can't be applied.
            let number = rng.usize(0..5);
            let amount = rng.u32(1..100_000);
            if rng.bool() {
                events.push(Event { tenant, number, what: What::Payment { payment, amount, succeeded: false } });
            }
            if rng.u8(0..4) > 0 {
                events.push(Event { tenant, number, what: What::Payment { payment, amount, succeeded: true } });
            }
        }
        for push in 0..rng.u32(0..4) {
            events.push(Event { tenant, number: 0, what: What::Push { push } });
        }
        for ticket in 0..rng.u32(0..12) {
            events.push(Event { tenant, number: rng.usize(0..4), what: What::Ticket { ticket } });
        }
    }
    rng.shuffle(&mut events);
    events
}
