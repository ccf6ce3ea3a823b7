//! `Idempotency-Key`: a POST that is sent again with the same key is done once, and answered as the first time (contract §7;
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>).
//!
//! The key is written down before the work and its answer after it. A copy that dies between the two leaves the key taken for
//! a minute; then the work is done again. An answer is kept without its secrets, and only if it is a success: what was
//! refused may be sent again, mended, with the same key.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::{answer::Answer, call::Call, invalid, route::Route};
use crate::{
    ids::sha256_hex,
    problem::{Code, Problem},
    store::{Item, Key},
};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is an earlier one; Stripe's name for it.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const KEY_BYTES_MAX: usize = 255;
/// Contract §7.
const KEPT: Duration = Duration::from_hours(24);
/// No call takes longer: the function's own time-out is shorter.
const WORK: Duration = Duration::from_mins(1);
/// Larger answers aren't kept: a repeat is then told that it was done.
const ANSWER_BYTES_MAX: usize = 100_000;
/// Fields that are shown once.
const SECRETS: [&str; 3] = ["secret", "webhook_secret", "key"];

/// Does the work of a call, unless the call says that it is a repeat.
pub(super) async fn once<F>(
    call: &Call<'_>,
    route: &Route,
    path: &str,
    work: impl FnOnce() -> F,
) -> Result<Answer, Problem>
where
    F: Future<Output = Result<Answer, Problem>>,
{
    let Some(given) = call.request.headers().get(&HEADER).filter(|_| route.method == Method::POST) else {
        return work().await;
    };
    let is_key = |text: &&str| (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let text = given.to_str().ok().filter(is_key);
    let text = text.ok_or_else(|| invalid("Idempotency-Key", "must be 1 to 255 visible ASCII characters"))?;
    let entry = Entry::of(call, text, path);
    if let Some(earlier) = entry.take(call).await? {
        return entry.repeated(&earlier, call);
    }
    let answer = work().await;
    entry.note(call, answer.as_ref().ok()).await;
    answer
}

/// The item of a key.
struct Entry {
    key: Key,
    /// Of all that the caller asked for.
    content: String,
}

impl Entry {
    fn of(call: &Call<'_>, text: &str, path: &str) -> Self {
        let body: &[u8] = call.request.body().as_ref();
        let content = sha256_hex(&[path.as_bytes(), b"\n", body].concat());
        Self { key: Key::of(call.tenant(), "idem", sha256_hex(text.as_bytes())), content }
    }

    fn item(&self, call: &Call<'_>) -> Item {
        let end = call.hub.now().saturating_add(KEPT).unwrap_or(jiff::Timestamp::MAX);
        let end = end.as_second();
        Item::new(&self.key).text("content", self.content.as_str()).number("kept_end", end).number("ttl", end)
    }

    /// Takes the key; gives its item where another call has it.
    async fn take(&self, call: &Call<'_>) -> Result<Option<Item>, Problem> {
        let now = call.hub.now().as_second();
        let item = self.item(call).number("work_end", now.saturating_add_unsigned(WORK.as_secs()));
        // Items outlive their time, by up to two days: docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html
        let condition = "attribute_not_exists(pk) OR kept_end < :now OR work_end < :now";
        let values = vec![(":now", AttributeValue::N(now.to_string()))];
        match call.hub.store.put(item, condition, values).await? {
            Ok(()) => Ok(None),
            Err(Some(earlier)) => Ok(Some(earlier)),
            Err(None) => Err(in_progress()),
        }
    }

    fn repeated(&self, earlier: &Item, call: &Call<'_>) -> Result<Answer, Problem> {
        if earlier.get_text("content") != Some(&self.content) {
            let detail = "this Idempotency-Key was used for another request in the last 24 hours; use a new one";
            return Err(Problem::new(Code::IdempotencyKeyReused, detail));
        }
        let status = earlier.get_number("status").and_then(|n| StatusCode::from_u16(u16::try_from(n).ok()?).ok());
        let Some(status) = status else { return Err(in_progress()) };
        tracing::debug!(tenant = %call.tenant(), "a repeat is answered as the first time");
        let body = earlier.get_text("answer").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Ok(Answer::new(status, body).with_headers([(REPLAYED, HeaderValue::from_static("true"))]))
    }

    /// Keeps the answer of a success; lets the key go after anything else. Where that fails, the key ends by itself.
    async fn note(&self, call: &Call<'_>, answer: Option<&Answer>) {
        let noted = match answer {
            Some(answer) => {
                let text = without_secrets(&answer.body).to_string();
                let text = if text.len() > ANSWER_BYTES_MAX { "null".to_owned() } else { text };
                let item = self.item(call).number("status", answer.status.as_u16().into()).text("answer", text);
                call.hub.store.put(item, "", Vec::new()).await.map(drop)
            }
            None => call.hub.store.delete(&self.key).await,
        };
        if let Err(error) = noted {
            tracing::warn!(tenant = %call.tenant(), %error, "the answer to an Idempotency-Key couldn't be kept");
        }
    }
}

fn without_secrets(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|name, _| !SECRETS.contains(&name.as_str()));
    }
    body
}

fn in_progress() -> Problem {
    let detail = "a request with this Idempotency-Key is being worked on; send it again in a moment";
    Problem::new(Code::IdempotencyInProgress, detail).retry_after(1)
}
