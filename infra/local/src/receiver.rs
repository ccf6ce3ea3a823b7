//! A built-in endpoint for outgoing webhooks: takes everything, and shows the latest. For the demo, and for trying things
//! out without an endpoint of one's own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::get;
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
struct Inbox(Mutex<(u64, VecDeque<Webhook>)>);

/// The endpoint. `POST` takes a webhook, `GET` gives the latest, the oldest first.
pub(crate) fn route() -> Router {
    let inbox = Arc::new(Inbox::default());
    Router::new().route(PATH, get(show).post(take)).with_state(inbox)
}

async fn take(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let mut inbox = inbox.0.lock().unwrap_or_else(PoisonError::into_inner);
    inbox.0 += 1;
    let webhook = Webhook { number: inbox.0, headers, body: String::from_utf8_lossy(&body).into_owned() };
    inbox.1.push_back(webhook);
    if inbox.1.len() > KEPT {
        inbox.1.pop_front();
    }
    StatusCode::NO_CONTENT
}

async fn show(State(inbox): State<Arc<Inbox>>) -> Json<Vec<Webhook>> {
    let inbox = inbox.0.lock().unwrap_or_else(PoisonError::into_inner);
    Json(inbox.1.iter().cloned().collect())
}
