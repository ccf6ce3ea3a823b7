//! An outage on purpose: which services fail for the moment, and how a running `cargo local` is told.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, put};
use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::{Aws, Service, error};

/// Where the services' port takes it; they themselves are at `/`.
const PATH: &str = "/_local/outage";

/// The services by the names of their endpoints.
const NAMES: [(&str, Service); 3] =
    [("dynamodb", Service::DynamoDb), ("sqs", Service::Sqs), ("secretsmanager", Service::SecretsManager)];

/// What is wanted of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// This service fails from now on.
    On(Service),
    /// All services answer again.
    Off,
    /// Nothing but to know.
    Show,
}

/// Why a running `cargo local` can't be told.
#[derive(Debug, thiserror::Error)]
#[error("No `cargo local` answers on port {port} ({source}). Start one, or give its port with --aws-port.")]
pub struct OutageError {
    port: u16,
    source: reqwest::Error,
}

impl Service {
    /// The service of this name: `dynamodb`, `sqs` or `secretsmanager`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, service)| *service)
    }

    fn name(self) -> &'static str {
        NAMES.iter().find(|(_, service)| *service == self).map_or("", |(name, _)| *name)
    }
}

/// The services that fail. At first, none do.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Vec<Service>>);

impl Outage {
    fn failing(&self) -> MutexGuard<'_, Vec<Service>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a failing service answers to any call: the error for it that AWS's services have in common
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html>).
    pub(super) fn refusal(&self, service: Service) -> Option<Response<Bytes>> {
        let message = "This is an outage on purpose. `cargo local outage off` ends it.";
        let refusal = || error(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message);
        self.failing().contains(&service).then(refusal)
    }

    /// Does what is wanted, and says which services fail then.
    pub(super) fn switch(&self, switch: Switch) -> String {
        let mut failing = self.failing();
        match switch {
            Switch::On(service) if !failing.contains(&service) => failing.push(service),
            Switch::Off => failing.clear(),
            Switch::On(_) | Switch::Show => {}
        }
        if failing.is_empty() {
            return "No outage: all services answer.\n".to_owned();
        }
        let names: Vec<_> = failing.iter().map(|service| service.name()).collect();
        format!("Outage of {}: every call is refused.\n", names.join(", "))
    }
}

/// The route that [`tell`] calls.
pub(super) fn route() -> Router<Aws> {
    let all = get(async |State(aws): State<Aws>| aws.outage(Switch::Show))
        .put(async |State(aws): State<Aws>| aws.outage(Switch::On(Service::DynamoDb)))
        .delete(async |State(aws): State<Aws>| aws.outage(Switch::Off));
    let one = put(async |State(aws): State<Aws>, Path(name): Path<String>| match Service::named(&name) {
        Some(service) => (StatusCode::OK, aws.outage(Switch::On(service))),
        None => (StatusCode::NOT_FOUND, format!("There is no service {name}.\n")),
    });
    Router::new().route(PATH, all).route(&format!("{PATH}/{{service}}"), one)
}

/// Tells the `cargo local` whose services are on `port`, and gives what it says.
///
/// # Errors
/// When there is none.
pub async fn tell(port: u16, switch: Switch) -> Result<String, OutageError> {
    let (method, service) = match switch {
        Switch::On(service) => (Method::PUT, format!("/{}", service.name())),
        Switch::Off => (Method::DELETE, String::new()),
        Switch::Show => (Method::GET, String::new()),
    };
    let request = crate::client().request(method, format!("http://127.0.0.1:{port}{PATH}{service}"));
    let answer = async { request.send().await?.error_for_status()?.text().await };
    answer.await.map_err(|source| OutageError { port, source })
}

#[cfg(test)]
mod tests;
