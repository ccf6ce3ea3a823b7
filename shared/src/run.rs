//! Running a function on Lambda: each `main.rs` calls one of these and nothing else.

use lambda_http::tracing::subscriber::{filter::LevelFilter, fmt, fmt::MakeWriter};
use lambda_runtime::{Error, service_fn};

use crate::{
    administer, api, authorize, deliver,
    endpoint::Reach,
    hub::{Clock, Edge},
    outgoing::{self, Sender},
    provision, publish, release, retry, sync, webhook,
};

/// Serves the webhooks of one system, or with `None` of any that a tenant registered.
///
/// # Errors
/// Where the environment lacks a setting, or the runtime ends.
pub async fn webhooks(only: Option<&str>) -> Result<(), Error> {
    let edge = start(outgoing::nobody)?;
    lambda_http::run(service_fn(|request| webhook::handle(&edge, only, request))).await
}

/// Serves the management API.
///
/// # Errors
/// As [`webhooks`].
pub async fn management_api() -> Result<(), Error> {
    let edge = start(outgoing::client)?;
    lambda_http::run(service_fn(|request| api::handle(&edge, request))).await
}

/// Serves the gateway's authorizer.
///
/// # Errors
/// As [`webhooks`].
pub async fn authorizer() -> Result<(), Error> {
    let edge = start(outgoing::nobody)?;
    lambda_runtime::run(service_fn(|event| authorize::handle(&edge, event))).await
}

/// Serves operators who make tenants.
///
/// # Errors
/// As [`webhooks`].
pub async fn provisioning() -> Result<(), Error> {
    let edge = start(outgoing::client)?;
    lambda_runtime::run(service_fn(|event| provision::handle(&edge, event))).await
}

/// Serves operators who look after tenants.
///
/// # Errors
/// As [`webhooks`].
pub async fn administration() -> Result<(), Error> {
    let edge = start(outgoing::client)?;
    lambda_runtime::run(service_fn(|event| administer::handle(&edge, event))).await
}

/// Works off the retry queue.
///
/// # Errors
/// As [`webhooks`].
pub async fn retries() -> Result<(), Error> {
    let edge = start(outgoing::client)?;
    lambda_runtime::run(service_fn(|event| retry::handle(&edge, event))).await
}

/// Releases, every minute, what waited for longer than SQS can delay.
///
/// # Errors
/// As [`webhooks`].
pub async fn releases() -> Result<(), Error> {
    let edge = start(outgoing::client)?;
    lambda_runtime::run(service_fn(|event| release::handle(&edge, event))).await
}

/// Publishes what the table's stream hands over.
///
/// # Errors
/// As [`webhooks`].
pub async fn publishing() -> Result<(), Error> {
    let edge = start(outgoing::client)?;
    lambda_runtime::run(service_fn(|event| publish::handle(&edge, event))).await
}

/// Makes deliveries.
///
/// # Errors
/// As [`webhooks`].
pub async fn deliveries() -> Result<(), Error> {
    let edge = start(outgoing::client)?;
    lambda_runtime::run(service_fn(|event| deliver::handle(&edge, event))).await
}

/// Finds, every hour, events that were left behind.
///
/// # Errors
/// As [`webhooks`].
pub async fn sweeps() -> Result<(), Error> {
    let edge = start(outgoing::client)?;
    lambda_runtime::run(service_fn(|event| publish::sweep(&edge, event))).await
}

/// Works off jobs of syncs, of contacts, companies or interactions: the queue decides.
///
/// # Errors
/// As [`webhooks`].
pub async fn syncs() -> Result<(), Error> {
    let edge = start(outgoing::client)?;
    lambda_runtime::run(service_fn(|event| sync::job::handle(&edge, event))).await
}

/// Makes, every five minutes, a job for each sync with something to send.
///
/// # Errors
/// As [`webhooks`].
pub async fn sync_schedule() -> Result<(), Error> {
    let edge = start(outgoing::client)?;
    lambda_runtime::run(service_fn(|event| sync::schedule::handle(&edge, event))).await
}

/// `send` makes what the function calls others with; one that calls nobody does without an HTTP client in its binary.
fn start(send: fn(Reach, Clock) -> Sender) -> Result<Edge, Error> {
    init_log();
    Ok(Edge::from_env(send)?)
}

/// Begins the log: JSON where Lambda asks for it, as it does when deployed. Not by the runtime's own subscriber, whose filter
/// of `RUST_LOG` brings a regex engine into every binary.
#[expect(clippy::disallowed_methods, reason = "the log begins before there is anything to be told of the environment")]
fn init_log() {
    let var = |name: &str| std::env::var(name).ok();
    // Lambda drops what is below its own level, metrics too; so there may be one for our lines alone.
    let level = ["LOG_LEVEL", "AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"].iter().find_map(|name| var(name)?.parse().ok());
    let level = level.unwrap_or(LevelFilter::INFO);
    // Both fail only where there is a log already.
    let _ = if var("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format == "JSON") {
        tracing::subscriber::set_global_default(json_log(level, std::io::stdout))
    } else {
        let lines = fmt().with_target(false).without_time().with_max_level(level);
        tracing::subscriber::set_global_default(lines.finish())
    };
}

/// A log of one JSON object a line with its fields at the top, as those of [`crate::metrics`] have them, so that one query
/// finds both; and with a time, without which Lambda takes every line for INFO.
pub fn json_log<W>(level: LevelFilter, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt().json().flatten_event(true).with_target(false);
    // Lambda's span has its request id; once is enough.
    lines.with_span_list(false).with_max_level(level).with_writer(writer).finish()
}
