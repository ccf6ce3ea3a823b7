//! What processing an event gives.

use serde_json::{Map, Value};

use super::{Failure, Status};

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
    /// What its log lines are found by: the id of the record that the sender's identity of the event stands for.
    pub correlation_id: String,
    /// What it made, of the first time where it is a repeat.
    pub data: Map<String, Value>,
    /// Why it failed: a stable code and a sentence.
    pub failure: Option<Failure>,
}
