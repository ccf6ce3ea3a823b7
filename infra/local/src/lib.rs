//! `cargo local`: the whole bundle in one process.
//!
//! [`Server`] is all of it, started:
//!
//! * [`template`] reads what `infra/template.yaml` deploys.
//! * [`gateway`] takes HTTP requests and calls functions.
//! * [`triggers`] call functions for what is in queues and a table's stream, and on schedules.
//! * [`lambda`] runs the [`functions`].
//! * [`aws`] is what the functions use: tables, queues and secrets, embedded.

pub mod aws;
pub mod bundle;
pub mod demo;
pub mod functions;
pub mod gateway;
mod ids;
pub mod lambda;
pub mod options;
mod server;
pub mod template;
#[cfg(test)]
mod testing;
pub mod triggers;

use std::sync::Arc;
use std::time::SystemTime;

pub use server::{Server, StartError};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;
