//! `cargo local`: the whole bundle in one process.
//!
//! [`Server`] is all of it, started:
//!
//! * [`template`] reads what `infra/template.yaml` deploys.
//! * [`gateway`] takes HTTP requests and calls functions.
//! * [`triggers`] call functions for what is in queues and a table's stream, and on schedules.
//! * [`lambda`] runs the [`functions`].
//! * [`receiver`] takes outgoing webhooks, for whoever has no endpoint.
//! * [`aws`] is what the functions use: tables, queues and secrets, embedded.

pub mod aws;
pub mod bundle;
pub mod demo;
pub mod functions;
pub mod gateway;
mod ids;
pub mod lambda;
pub mod options;
pub mod receiver;
mod server;
pub mod template;
#[cfg(test)]
mod testing;
pub mod triggers;

use std::sync::Arc;
use std::time::SystemTime;

pub use server::{Server, StartError};

/// A client for this machine's own ports.
pub(crate) fn client() -> reqwest::Client {
    // reqwest panics without, even where nothing is encrypted.
    shared::outgoing::install_tls();
    reqwest::Client::new()
}

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;
