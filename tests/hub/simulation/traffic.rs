//! What third-party systems send, and how.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use futures_util::future::join;
use http::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    crm::CrmPlan,
    journal::{Journal, Reply},
    plan::Plan,
};
use crate::world::{Signer, Tenant, World};

/// One thing that happened over there.
pub struct Event {
    pub tenant: usize,
    /// Of a phone, among [`number`]'s.
    pub number: usize,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    CallStarted { call: u32 },
    CallTransferred { call: u32, transfer: u32 },
    CallEnded { call: u32, seconds: u32, interested: bool },
    Recording { call: u32 },
    Payment { payment: u32, amount: u32, succeeded: bool },
    Push { push: u32 },
    Ticket { ticket: u32 },
}

/// A retry policy and a limit a minute, as configured.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub max_attempts: u32,
    pub base_seconds: f64,
    pub factor: f64,
    pub per_minute: usize,
    pub queues: bool,
}

pub const SYSTEMS: [&str; 4] = ["sarah_ai", "payment_processor", "github", "helpdesk"];

/// What each system is configured with; of the contract's defaults where that doesn't matter.
pub fn terms(system: &str) -> Terms {
    match system {
        "sarah_ai" => Terms { max_attempts: 3, base_seconds: 10.0, factor: 2.0, per_minute: 10, queues: false },
        "payment_processor" => {
            Terms { max_attempts: 5, base_seconds: 10.0, factor: 1.5, per_minute: 30, queues: false }
        }
        "github" => Terms { max_attempts: 3, base_seconds: 10.0, factor: 2.0, per_minute: 1000, queues: true },
        _ => Terms { max_attempts: 2, base_seconds: 1200.0, factor: 1.5, per_minute: 3, queues: true },
    }
}

impl Terms {
    /// An integration with these.
    pub fn config(self, system: &str) -> Value {
        let Self { max_attempts, base_seconds, factor, per_minute, queues } = self;
        json!({
            "system_id": system,
            "limits": {"per_minute": per_minute, "per_day": 100_000, "when_exceeded": if queues { "queue" } else { "reject" }},
            "retry": {"max_attempts": max_attempts, "base_delay_seconds": base_seconds, "backoff_factor": factor},
        })
    }
}

pub fn number(index: usize) -> String {
    format!("+1415555013{index}")
}

/// A mark that is in every payload of a tenant and nowhere else.
pub fn mark(tenant: usize) -> &'static str {
    ["mark-of-alpha", "mark-of-beta"][tenant]
}

pub async fn provision(world: &World, crm: Option<&CrmPlan>) -> Vec<Tenant> {
    let mut tenants = Vec::new();
    for (index, name) in ["alpha", "beta"].into_iter().enumerate() {
        let systems = SYSTEMS.map(|system| {
            let mut config = terms(system).config(system);
            if system == "helpdesk" {
                config["signature"] = json!({"scheme": "standard"});
                config["mapping"] = json!({"system_id": system, "event_id": "id", "event_type": "type", "key": "ticket.id",
                    "events": {"ticket.created": {"interaction_type": "support_ticket", "fields": {
                        "phone_number": {"path": "ticket.phone", "transform": "phone", "required": true},
                        "outcome": {"transform": {"constant": "open"}}}}}});
            }
            config
        });
        let mut systems = systems.to_vec();
        systems.extend(crm.map(|plan| plan.config(index, name)));
        tenants.push(world.provision(name, &systems).await);
    }
    tenants
}

impl Event {
    pub fn system(&self) -> &'static str {
        match self.what {
            What::CallStarted { .. }
            | What::CallTransferred { .. }
            | What::CallEnded { .. }
            | What::Recording { .. } => "sarah_ai",
            What::Payment { .. } => "payment_processor",
            What::Push { .. } => "github",
            What::Ticket { .. } => "helpdesk",
        }
    }

    /// The sender's id of it. GitHub's events have none that is signed.
    fn id(&self) -> String {
        match self.what {
            What::CallStarted { call } => format!("started-{call}"),
            What::CallTransferred { call, transfer } => format!("transferred-{call}-{transfer}"),
            What::CallEnded { call, .. } => format!("ended-{call}"),
            What::Recording { call } => format!("recording-{call}"),
            What::Payment { payment, succeeded, .. } => format!("payment-{payment}-{succeeded}"),
            What::Push { push } => format!("push-{push}"),
            What::Ticket { ticket } => format!("ticket-{ticket}"),
        }
    }

    /// What the hub tells it from others by.
    pub fn identity(&self) -> String {
        match self.what {
            What::Push { .. } => format!("sha256:{}", shared::ids::sha256_hex(self.body().to_string().as_bytes())),
            _ => self.id(),
        }
    }

    pub fn body(&self) -> Value {
        let (id, phone, mark) = (self.id(), number(self.number), mark(self.tenant));
        let call = |kind: &str, call: u32, second: u32| {
            json!({"event_id": id, "event_type": kind, "timestamp": format!("2026-01-15T10:00:{second:02}Z"),
                "call": {"id": format!("call-{call}"), "destination_number": phone}, "agent": {"name": mark}})
        };
        match self.what {
            What::CallStarted { call: n } => call("call.started", n, 0),
            What::CallTransferred { call: n, transfer } => {
                let mut body = call("call.transferred", n, 1);
                body["transfer"] = json!({"to": format!("agent {transfer}"), "at": "2026-01-15T10:00:01Z"});
                body
            }
            What::CallEnded { call: n, seconds, interested } => {
                let mut body = call("call.ended", n, 2);
                body["call"]["duration_seconds"] = seconds.into();
                body["call"]["disposition"] = if interested { "INTERESTED" } else { "BUSY" }.into();
                body
            }
            What::Recording { call: n } => {
                let mut body = call("recording.available", n, 3);
                body["recording"] = json!({"url": "https://recordings.example/1"});
                body
            }
            What::Payment { payment, amount, succeeded } => json!({
                "id": id,
                "type": if succeeded { "payment.succeeded" } else { "payment.failed" },
                "created": 1_768_000_000 + u32::from(succeeded),
                "data": {"object": {"id": format!("pay-{payment}"), "amount": amount, "currency": "USD",
                    "metadata": {"customer_phone": phone, "note": mark}}},
            }),
            What::Push { push } => json!({"ref": format!("refs/heads/{push}"), "pusher": {"name": mark}}),
            What::Ticket { ticket } => {
                json!({"id": id, "type": "ticket.created", "ticket": {"id": format!("t-{ticket}"),
                "phone": phone, "subject": mark}})
            }
        }
    }
}

/// One event's sender: it tries until it has an answer that satisfies it, or gives up.
pub struct Sender {
    world: Arc<World>,
    journal: Arc<Journal>,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    index: usize,
    sign: Signer,
    rng: Rng,
    span: Duration,
}

impl Sender {
    pub fn new(world: &Arc<World>, tenants: &[Tenant], plan: &Plan, index: usize, journal: &Arc<Journal>) -> Self {
        let event = &plan.events[index];
        let (tenant, system) = (&tenants[event.tenant], event.system());
        let kind = ("x-github-event".to_owned(), "push".to_owned());
        Self {
            world: Arc::clone(world),
            journal: Arc::clone(journal),
            path: format!("/webhooks/{}/{system}", tenant.id),
            headers: if system == "github" { vec![kind] } else { Vec::new() },
            body: event.body().to_string(),
            index,
            sign: tenant.signer(system),
            rng: Rng::with_seed(plan.seed ^ ((index as u64 + 1) << 32)),
            span: plan.span,
        }
    }

    pub async fn run(mut self) {
        // Some events come at the same moment.
        let seconds = self.span.as_secs();
        let start = if self.rng.u8(0..4) == 0 { seconds / 2 } else { self.rng.u64(0..seconds) };
        sleep(Duration::from_secs(start)).await;
        for attempt in 0..self.rng.u32(1..8) {
            let taken = if self.rng.u8(0..8) == 0 {
                let (first, second) = join(self.send(), self.send()).await;
                first || second
            } else {
                self.send().await
            };
            // Some send again although they were told that all is well.
            if taken && self.rng.u8(0..5) > 0 {
                return;
            }
            sleep(Duration::from_secs(self.rng.u64(1..60) << attempt.min(4))).await;
        }
    }

    /// Whether the answer was a 2xx.
    async fn send(&self) -> bool {
        let start = self.journal.time();
        let signed = (self.sign)(&self.body, start);
        let own = self.headers.iter().chain(&signed).map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<_> = std::iter::once(("content-type", "application/json")).chain(own).collect();
        let answer = self.world.request(Method::POST, &self.path, &headers, self.body.clone()).await;
        let taken = answer.status.is_success();
        self.journal.reply(Reply { event: self.index, start, end: self.journal.time(), answer });
        taken
    }
}
