//! The HTTP client for everything that we call and that isn't AWS.
//!
//! The other side is a stranger: it may lie in the DNS, send us elsewhere, answer for ever or not at all. So redirects
//! aren't followed, names are resolved here and only allowed addresses are connected to, every wait has an end and
//! every answer a size. Of a webhook's answer the status decides as soon as it is there, and of the body a little is kept
//! for people to read; a CRM's answer is kept whole.
//!
//! Whoever calls takes a [`Sender`] as an argument, like the clock, so that tests answer in its place.

mod client;
mod error;
mod headers;
mod resolve;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode, header::RETRY_AFTER};
use jiff::Timestamp;

pub use self::{
    client::{client, client_with, install_tls},
    error::SendError,
    headers::{RESERVED, header_name, is_header_value},
    resolve::{Lookup, system},
};
use crate::{
    endpoint::{Endpoint, Reach},
    hub::Clock,
};

/// What is kept of an answer's body, in bytes.
pub const BODY_BYTES_KEPT: usize = 1_024;
/// What an answer's `Retry-After` may ask for at most, the longest wait of any retry (contract §4).
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// Sends one request. An argument everywhere, so that tests decide what is answered.
pub type Sender = Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Reply, SendError>> + Send + Sync>;

/// The sender of a function that calls nobody: it refuses every request.
#[must_use]
pub fn nobody(_reach: Reach, _clock: Clock) -> Sender {
    Arc::new(|_| Box::pin(async { Err(SendError::CallsNobody) }))
}

/// What is to be sent. `Host` and `Content-Length` are added, `Accept: */*` where there is none, and nothing else.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to.
    pub endpoint: Endpoint,
    /// The headers, `User-Agent` among them where there is to be one.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long the answer may take, connecting included: its status and headers, or all of it. 30 s for webhooks.
    pub timeout: Duration,
    /// What is kept of the answer.
    pub answer: Answer,
}

/// What is kept of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its beginning, at most [`BODY_BYTES_KEPT`], as far as it comes soon. The status counts whatever becomes of it.
    Beginning,
    /// All of it, at most so many bytes: an answer that is larger, cut off or late is an error.
    Whole(usize),
}

/// What was answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status. A redirect is one like any other.
    pub status: StatusCode,
    /// How long the other side asks us to wait, at most [`RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
    /// The body, as far as the request's [`Answer`] asks for it. Of a beginning the rest may have been late or never have
    /// come. As it was sent: it is not decompressed.
    pub body: Vec<u8>,
}

/// Whether the other side took what was sent: any 2xx.
#[must_use]
pub fn is_success(status: StatusCode) -> bool {
    status.is_success()
}

/// Whether another try can help (contract §4: "Retried: time-outs, connection errors, HTTP 408, 425, 429 and 5xx"). Of
/// webhooks everything but 410 is tried again, whatever this says.
#[must_use]
pub fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error()
}

/// The wait that a `Retry-After` asks for, in seconds or until a date in any of HTTP's three forms
/// (<https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>). At most [`RETRY_AFTER_MAX`]; a date that is over is no
/// wait; `None` where there is no such header or it can't be read.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are a very long time.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)).min(RETRY_AFTER_MAX));
    }
    // HTTP's dates go a day further than ours.
    let until = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).unwrap_or(Timestamp::MAX);
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default().min(RETRY_AFTER_MAX))
}

// Neither bodies nor headers reach a log, by no way of `{:?}`.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, endpoint, timeout) = (&self.method, &self.endpoint, self.timeout);
        write!(f, "Request({method} {endpoint:?}, {} bytes, within {timeout:?})", self.body.len())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {} bytes kept, wait {:?})", self.status, self.body.len(), self.retry_after)
    }
}
