//! What processing an event gives, and where failures are kept.

use serde_json::{Map, Value};

use super::Status;
use crate::{ids::TenantId, store::Key};

/// The answer to one event. Everything but an error of [`process`](super::process()) is a 2xx (contract §2).
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What became of it.
    pub status: Status,
    /// The sender's identity of the event.
    pub event_id: String,
    /// The event's type, as the sender names it; for the log.
    pub event_type: String,
    /// The inbound event's record.
    pub inbound_id: String,
    /// What it made, of the first time where it is a repeat.
    pub data: Map<String, Value>,
    /// Why it failed: a stable code and a sentence.
    pub failure: Option<Failure>,
}

/// Why an event can't be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The failure's id, `fail_…`.
    pub id: String,
    /// A stable, machine-readable code.
    pub code: String,
    /// A sentence for people.
    pub error: String,
}

/// The key of a failure.
#[must_use]
pub fn failure_key(tenant: &TenantId, id: &str) -> Key {
    Key::of(tenant, "fail", id)
}

/// The list of a tenant's failures on the index by time.
#[must_use]
pub fn failure_list(tenant: &TenantId) -> String {
    format!("{tenant}#fail")
}
