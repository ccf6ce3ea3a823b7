//! One signed post, and how it ended, by what the endpoint answered.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use jiff::Timestamp;

use super::{payload, record::Attempt};
use crate::{
    event::Event,
    hub::Hub,
    outgoing::{Answer, Reply, Request, SendError, is_success},
    signature::SignError,
    subscription::Subscription,
    tenant::TenantContext,
};

/// How an attempt ended.
pub(super) struct Outcome {
    pub(super) attempt: Attempt,
    pub(super) succeeded: bool,
    pub(super) gone: bool,
    pub(super) retry_after: Option<Duration>,
}

/// Posts an event to a subscription's endpoint, signed now with `secrets`, after `made` attempts before.
pub(super) async fn post(
    hub: &Hub,
    context: &TenantContext,
    subscription: &Subscription,
    (id, event, made): (&str, &Event, u32),
    (secrets, timeout): (&[&str], Duration),
) -> Result<Outcome, SignError> {
    let now = hub.now();
    let (body, signature) = payload::build(context.tenant(), id, event, made, secrets);
    let headers = payload::headers(&subscription.headers, id, event, (&body, &signature), (secrets, now))?;
    let endpoint = subscription.endpoint.clone();
    let (body, answer) = (Bytes::from(body), Answer::Beginning);
    let request = Request { method: Method::POST, endpoint, headers, body, timeout, answer };
    Ok(Outcome::new((hub.send)(request).await, now, hub.now()))
}

impl Outcome {
    fn new(answer: Result<Reply, SendError>, began: Timestamp, ended: Timestamp) -> Self {
        let duration_ms = ended.duration_since(began).as_millis().try_into().unwrap_or(i64::MAX);
        let mut attempt = Attempt { at: began, status_code: None, error: None, duration_ms, response: None };
        match answer {
            Ok(reply) => {
                let (status, succeeded) = (reply.status, is_success(reply.status));
                attempt.status_code = Some(status.as_u16());
                attempt.response = shown(&reply.body);
                attempt.error = (!succeeded).then(|| format!("http_status: the endpoint answered {}", status.as_u16()));
                Self { attempt, succeeded, gone: status == StatusCode::GONE, retry_after: reply.retry_after }
            }
            Err(error) => {
                attempt.error = Some(format!("{}: {error}", error.code()));
                Self { attempt, succeeded: false, gone: false, retry_after: None }
            }
        }
    }
}

/// The beginning of an answer's body as text, for people; without what a terminal or a log could take for its own.
fn shown(body: &[u8]) -> Option<String> {
    const CHARS_MAX: usize = 500;
    let text = String::from_utf8_lossy(body);
    let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).take(CHARS_MAX).collect();
    (!text.is_empty()).then_some(text)
}
