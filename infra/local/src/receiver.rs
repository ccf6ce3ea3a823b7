//! A built-in endpoint for outgoing webhooks: takes everything, and shows the latest. For the demo, and for trying things
//! out without an endpoint of one's own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::{get, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

/// Where the services' port takes webhooks, and shows them.
pub const PATH: &str = "/_local/receiver";

/// Webhooks that are kept.
const KEPT: usize = 1_000;

/// A webhook as it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Webhook {
    /// Counts all that came, from 1.
    pub number: u64,
    /// All headers that are text.
    pub headers: Vec<(String, String)>,
    /// The exact body.
    pub body: String,
}

impl Webhook {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Inbox(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    count: u64,
    webhooks: VecDeque<Webhook>,
    /// Whether it refuses all.
    is_broken: bool,
}

/// The endpoint. `POST` takes a webhook, `GET` gives the latest, the oldest first. `PUT …/broken` lets it answer 500 until
/// `DELETE …/broken`.
pub(crate) fn route() -> Router {
    let inbox = Arc::new(Inbox::default());
    let router = Router::new().route(PATH, get(show).post(take));
    router.route(&format!("{PATH}/broken"), put(break_it).delete(mend)).with_state(inbox)
}

async fn break_it(State(inbox): State<Arc<Inbox>>) -> &'static str {
    inbox.0.lock().unwrap_or_else(PoisonError::into_inner).is_broken = true;
    "The receiver answers 500 from now on.\n"
}

async fn mend(State(inbox): State<Arc<Inbox>>) -> &'static str {
    inbox.0.lock().unwrap_or_else(PoisonError::into_inner).is_broken = false;
    "The receiver takes everything.\n"
}

async fn take(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let mut inbox = inbox.0.lock().unwrap_or_else(PoisonError::into_inner);
    if inbox.is_broken {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    inbox.count += 1;
    let webhook = Webhook { number: inbox.count, headers, body: String::from_utf8_lossy(&body).into_owned() };
    inbox.webhooks.push_back(webhook);
    if inbox.webhooks.len() > KEPT {
        inbox.webhooks.pop_front();
    }
    StatusCode::NO_CONTENT
}

async fn show(State(inbox): State<Arc<Inbox>>) -> Json<Vec<Webhook>> {
    let inbox = inbox.0.lock().unwrap_or_else(PoisonError::into_inner);
    Json(inbox.webhooks.iter().cloned().collect())
}
