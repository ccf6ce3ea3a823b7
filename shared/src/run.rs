//! Running a function on Lambda: each `main.rs` calls one of these and nothing else.

use lambda_http::tracing::{
    init_default_subscriber,
    subscriber::{filter::LevelFilter, fmt, fmt::MakeWriter},
};
use lambda_runtime::{Error, service_fn};

use crate::{administer, api, authorize, deliver, hub::Edge, provision, publish, release, retry, sync, webhook};

/// Serves the webhooks of one system, or with `None` of any that a tenant registered.
///
/// # Errors
/// Where the environment lacks a setting, or the runtime ends.
pub async fn webhooks(only: Option<&str>) -> Result<(), Error> {
    let edge = start().await?;
    lambda_http::run(service_fn(|request| webhook::handle(&edge, only, request))).await
}

/// Serves the management API.
///
/// # Errors
/// As [`webhooks`].
pub async fn management_api() -> Result<(), Error> {
    let edge = start().await?;
    lambda_http::run(service_fn(|request| api::handle(&edge, request))).await
}

/// Serves the gateway's authorizer.
///
/// # Errors
/// As [`webhooks`].
pub async fn authorizer() -> Result<(), Error> {
    let edge = start().await?;
    lambda_runtime::run(service_fn(|event| authorize::handle(&edge, event))).await
}

/// Serves operators who make tenants.
///
/// # Errors
/// As [`webhooks`].
pub async fn provisioning() -> Result<(), Error> {
    let edge = start().await?;
    lambda_runtime::run(service_fn(|event| provision::handle(&edge, event))).await
}

/// Serves operators who look after tenants.
///
/// # Errors
/// As [`webhooks`].
pub async fn administration() -> Result<(), Error> {
    let edge = start().await?;
    lambda_runtime::run(service_fn(|event| administer::handle(&edge, event))).await
}

/// Works off the retry queue.
///
/// # Errors
/// As [`webhooks`].
pub async fn retries() -> Result<(), Error> {
    let edge = start().await?;
    lambda_runtime::run(service_fn(|event| retry::handle(&edge, event))).await
}

/// Releases, every minute, what waited for longer than SQS can delay.
///
/// # Errors
/// As [`webhooks`].
pub async fn releases() -> Result<(), Error> {
    let edge = start().await?;
    lambda_runtime::run(service_fn(|event| release::handle(&edge, event))).await
}

/// Publishes what the table's stream hands over.
///
/// # Errors
/// As [`webhooks`].
pub async fn publishing() -> Result<(), Error> {
    let edge = start().await?;
    lambda_runtime::run(service_fn(|event| publish::handle(&edge, event))).await
}

/// Makes deliveries.
///
/// # Errors
/// As [`webhooks`].
pub async fn deliveries() -> Result<(), Error> {
    let edge = start().await?;
    lambda_runtime::run(service_fn(|event| deliver::handle(&edge, event))).await
}

/// Finds, every hour, events that were left behind.
///
/// # Errors
/// As [`webhooks`].
pub async fn sweeps() -> Result<(), Error> {
    let edge = start().await?;
    lambda_runtime::run(service_fn(|event| publish::sweep(&edge, event))).await
}

/// Works off jobs of syncs, of contacts, companies or interactions: the queue decides.
///
/// # Errors
/// As [`webhooks`].
pub async fn syncs() -> Result<(), Error> {
    let edge = start().await?;
    lambda_runtime::run(service_fn(|event| sync::job::handle(&edge, event))).await
}

/// Makes, every five minutes, a job for each sync with something to send.
///
/// # Errors
/// As [`webhooks`].
pub async fn sync_schedule() -> Result<(), Error> {
    let edge = start().await?;
    lambda_runtime::run(service_fn(|event| sync::schedule::handle(&edge, event))).await
}

async fn start() -> Result<Edge, Error> {
    init_log();
    Ok(Edge::from_env().await?)
}

/// Begins the log: JSON where Lambda asks for it, as it does when deployed.
#[expect(clippy::disallowed_methods, reason = "the log begins before there is anything to be told of the environment")]
fn init_log() {
    let var = |name: &str| std::env::var(name).ok();
    if var("AWS_LAMBDA_LOG_FORMAT").is_none_or(|format| format != "JSON") {
        return init_default_subscriber();
    }
    // Lambda drops what is below its own level, metrics too; so there may be one for our lines alone.
    let level = var("LOG_LEVEL").or_else(|| var("AWS_LAMBDA_LOG_LEVEL")).and_then(|level| level.parse().ok());
    // Fails only where there is a log already.
    let _ = tracing::subscriber::set_global_default(json_log(level.unwrap_or(LevelFilter::INFO), std::io::stdout));
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
