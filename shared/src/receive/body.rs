//! Reading a verified body (contract §2): an object, or with `batch` an array of them; or a form.

use serde_json::{Value, value::RawValue};

use crate::json::{self, JsonError};

/// Contract §2: events in one batch.
const BATCH_MAX: usize = 100;

/// The events of one body.
#[derive(Clone, Debug, PartialEq)]
pub enum Events {
    /// The body is one event.
    One(Event),
    /// The body is an array of events.
    Batch(Vec<Event>),
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its text: JSON, or a form.
    pub body: String,
    /// Whether it is a form.
    pub form: bool,
    /// The text parsed: an object.
    pub payload: Value,
}

/// Why a body is refused with 400. The text is for the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// Not JSON that we take.
    #[error("the body is {0}")]
    Json(#[from] JsonError),
    /// JSON, but neither an object nor a batch.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// A batch with no events or too many.
    #[error("a batch holds 1 to {BATCH_MAX} events")]
    BatchSize,
    /// An event of a batch isn't an object.
    #[error("every event of a batch must be a JSON object")]
    BatchElement,
}

/// Splits a body into its events.
///
/// # Errors
/// [`BodyError`] where it isn't of the form above.
pub fn read(body: &[u8], content_type: &str, batch: bool) -> Result<Events, BodyError> {
    let text = std::str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(Events::One(Event { body: text.to_owned(), form: true, payload: form(text) }));
    }
    match json::parse(text)? {
        payload @ Value::Object(_) => Ok(Events::One(Event { body: text.to_owned(), form: false, payload })),
        Value::Array(items) if batch => split(text, items).map(Events::Batch),
        _ => Err(BodyError::NotAnObject),
    }
}

/// The fields of a form as an object of strings; of doubled ones the last counts, as in JSON.
#[must_use]
pub fn form(text: &str) -> Value {
    let pairs = form_urlencoded::parse(text.as_bytes());
    Value::Object(pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect())
}

/// Each event keeps the text that the sender wrote: its hash may be its identity.
fn split(text: &str, items: Vec<Value>) -> Result<Vec<Event>, BodyError> {
    if !(1..=BATCH_MAX).contains(&items.len()) {
        return Err(BodyError::BatchSize);
    }
    if !items.iter().all(Value::is_object) {
        return Err(BodyError::BatchElement);
    }
    let texts: Vec<&RawValue> = serde_json::from_str(text).map_err(|e| JsonError::NotJson(e.to_string()))?;
    let event = |(raw, payload): (&RawValue, Value)| Event { body: raw.get().to_owned(), form: false, payload };
    Ok(texts.into_iter().zip(items).map(event).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
    }

    #[test]
    fn bodies_and_their_answers() {
        let ok = |body: &str| assert!(read(body.as_bytes(), "application/json", false).is_ok(), "{body:.60}");
        let bad = |body: &[u8], error: &str| {
            let answer = read(body, "application/json", false).unwrap_err().to_string();
            assert!(answer.contains(error), "{answer}");
        };
        ok("{}");
        ok(&nested(128));
        ok(r#"{"n":123456789012345678901234567890,"s":"\u0000\ud83d\ude00 [{[","e":1e308}"#);
        ok(r#"{"a":1,"a":2}"#);
        bad(b"", "not JSON");
        bad(b"\xff{}", "not UTF-8");
        bad(b"{", "not JSON");
        bad(b"{} x", "not JSON");
        bad(b"3", "must be a JSON object");
        bad(b"null", "must be a JSON object");
        bad(b"[{}]", "must be a JSON object");
        bad(nested(129).as_bytes(), "nested over 128");
        bad("[".repeat(10_000).as_bytes(), "nested over 128");
        bad(br#"{"n":1e400}"#, "number out of range");
        bad(br#"{"s":"\ud800"}"#, "not JSON");
        bad(br#"{"n":NaN}"#, "not JSON");
        bad(b"\xef\xbb\xbf{}", "not JSON");
    }

    #[test]
    fn batches() {
        let read = |body: &str| read(body.as_bytes(), "application/json", true);
        let Ok(Events::Batch(events)) = read(r#"[ {"a":1} , {"b" : 2}]"#) else { panic!("not a batch") };
        let texts: Vec<&str> = events.iter().map(|e| e.body.as_str()).collect();
        assert_eq!(texts, [r#"{"a":1}"#, r#"{"b" : 2}"#]);
        assert!(matches!(read("{}"), Ok(Events::One(_))));
        assert_eq!(read("[]"), Err(BodyError::BatchSize));
        assert_eq!(read("[{},1]"), Err(BodyError::BatchElement));
        assert_eq!(read(&format!("[{}{{}}]", "{},".repeat(100))), Err(BodyError::BatchSize));
    }

    #[test]
    fn a_form_is_an_event() {
        let events = read(b"a=1&b=x%20y", "application/x-www-form-urlencoded; charset=utf-8", false);
        let payload = serde_json::json!({"a": "1", "b": "x y"});
        assert_eq!(events, Ok(Events::One(Event { body: "a=1&b=x%20y".into(), form: true, payload })));
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(body in prop::collection::vec(any::<u8>(), 0..200), batch: bool) {
            let _ = read(&body, "application/json", batch);
        }
    }
}
