//! Answers: from a function, and the gateway's own.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

/// One of the gateway's own answers, `{"message": …}`.
pub(super) fn message(status: StatusCode, text: &str) -> Response<Bytes> {
    json_answer(status, &json!({"message": text}))
}

/// A JSON answer.
pub(super) fn json_answer(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer to a request whose function failed, or answered something that is no HTTP response.
pub(super) fn internal_error() -> Response<Bytes> {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

/// A function's answer as HTTP. One without a status is the body of a 200, as in payload format 2.0.
pub(super) fn from_function(answer: &Value) -> Response<Bytes> {
    let Some(status) = answer.get("statusCode") else {
        return json_answer(StatusCode::OK, answer);
    };
    response(status, answer).unwrap_or_else(internal_error)
}

fn response(status: &Value, answer: &Value) -> Option<Response<Bytes>> {
    let status = status.as_u64().or_else(|| status.as_str()?.parse().ok())?;
    let mut response = Response::new(body(answer)?);
    *response.status_mut() = StatusCode::from_u16(u16::try_from(status).ok()?).ok()?;
    let headers = response.headers_mut();
    for (name, value) in fields(answer, "headers") {
        headers.insert(header_name(name)?, header_value(value)?);
    }
    for (name, values) in fields(answer, "multiValueHeaders") {
        replace(headers, &header_name(name)?, values.as_array()?)?;
    }
    for cookie in answer.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        headers.append(SET_COOKIE, header_value(cookie)?);
    }
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain;charset=utf-8"));
    Some(response)
}

fn body(answer: &Value) -> Option<Bytes> {
    let encoded = answer.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or(false);
    match answer.get("body") {
        None | Some(Value::Null) => Some(Bytes::new()),
        Some(Value::String(body)) if encoded => Some(BASE64_STANDARD.decode(body).ok()?.into()),
        Some(Value::String(body)) => Some(Bytes::from(body.clone())),
        Some(_) => None,
    }
}

/// A name in `multiValueHeaders` has all its values there, whatever `headers` says.
fn replace(headers: &mut HeaderMap, name: &HeaderName, values: &[Value]) -> Option<()> {
    headers.remove(name);
    for value in values {
        headers.append(name, header_value(value)?);
    }
    Some(())
}

fn fields<'a>(answer: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    answer.get(name).and_then(Value::as_object).map(Map::iter).into_iter().flatten()
}

fn header_name(name: &str) -> Option<HeaderName> {
    name.parse().ok()
}

fn header_value(value: &Value) -> Option<HeaderValue> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(_) | Value::Bool(_) => value.to_string().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(response: &Response<Bytes>) -> Vec<String> {
        let text = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        response.headers().iter().map(text).collect()
    }

    #[test]
    fn answers_become_http() {
        let table = [
            (json!({"statusCode": 204}), 204, "", vec!["content-type: text/plain;charset=utf-8"]),
            (
                json!({"statusCode": 200, "headers": {"content-type": "a/b", "X-N": 5, "X-B": true}, "body": "hi"}),
                200,
                "hi",
                vec!["content-type: a/b", "x-n: 5", "x-b: true"],
            ),
            (
                json!({"statusCode": "201", "headers": {"content-type": "x", "a": "1"},
                       "multiValueHeaders": {"a": ["1", "2"]}, "cookies": ["c=1", "d=2"], "body": null}),
                201,
                "",
                vec!["content-type: x", "a: 1", "a: 2", "set-cookie: c=1", "set-cookie: d=2"],
            ),
            (
                json!({"statusCode": 200, "headers": {"content-type": "x"}, "body": "aGk=", "isBase64Encoded": true}),
                200,
                "hi",
                vec!["content-type: x"],
            ),
            (json!({"any": "thing"}), 200, r#"{"any":"thing"}"#, vec!["content-type: application/json"]),
            (json!("text"), 200, "\"text\"", vec!["content-type: application/json"]),
        ];
        for (answer, status, body, expected_headers) in table {
            let response = from_function(&answer);
            assert_eq!(response.status(), status, "{answer}");
            assert_eq!(response.body(), body, "{answer}");
            let mut found = headers(&response);
            let mut expected: Vec<_> = expected_headers.iter().map(ToString::to_string).collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{answer}");
        }
    }

    #[test]
    fn what_is_no_http_response_is_an_internal_error() {
        let table = [
            json!({"statusCode": "ok"}),
            json!({"statusCode": 99}),
            json!({"statusCode": 70000}),
            json!({"statusCode": 200, "headers": {"a b": "c"}}),
            json!({"statusCode": 200, "headers": {"a": "b\nc"}}),
            json!({"statusCode": 200, "headers": {"a": {}}}),
            json!({"statusCode": 200, "multiValueHeaders": {"a": "b"}}),
            json!({"statusCode": 200, "body": {}}),
            json!({"statusCode": 200, "body": "%", "isBase64Encoded": true}),
        ];
        for answer in table {
            let response = from_function(&answer);
            assert_eq!(response.status(), 500, "{answer}");
            assert_eq!(response.body(), r#"{"message":"Internal Server Error"}"#);
        }
    }
}
