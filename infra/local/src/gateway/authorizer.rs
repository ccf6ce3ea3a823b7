//! Asking a function who may call
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html>).
//!
//! Deployed, a verdict is remembered for the template's `ReauthorizeEvery`. Here it is asked for each time, so that a
//! change of a key shows at once.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{API_ID, answer};
use crate::aws::{ACCOUNT_ID, REGION};
use crate::lambda::Lambda;
use crate::template::Authorizer;

/// Why a caller doesn't get through to the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request doesn't say who the caller is.
    Unauthorized,
    /// The authorizer said no.
    Forbidden,
    /// The authorizer failed, or said neither yes nor no.
    Failed,
}

impl Refusal {
    /// The caller's answer.
    pub(super) fn response(self) -> Response<Bytes> {
        match self {
            Self::Unauthorized => answer::message(StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Forbidden => answer::message(StatusCode::FORBIDDEN, "Forbidden"),
            Self::Failed => answer::internal_error(),
        }
    }
}

/// What the authorizer says about a caller whom it lets in.
pub(super) async fn ask(
    lambda: &Lambda,
    authorizer: &Authorizer,
    event: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let identity: Option<Vec<_>> = authorizer.identity_headers.iter().map(|name| identity(event, name)).collect();
    let identity = identity.ok_or(Refusal::Unauthorized)?;
    let verdict = lambda.invoke(&authorizer.function, question(event, &identity)).await.map_err(|error| {
        tracing::error!(function = authorizer.function, %error, "the authorizer failed");
        Refusal::Failed
    })?;
    match verdict.get("isAuthorized").and_then(Value::as_bool) {
        Some(true) => Ok(verdict.get("context").cloned().unwrap_or(Value::Null)),
        Some(false) => Err(Refusal::Forbidden),
        None => Err(Refusal::Failed),
    }
}

/// The header's value, unless it is missing or empty.
fn identity<'a>(event: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    event.get("headers")?.get(name)?.as_str().filter(|value| !value.is_empty())
}

fn question(event: &Map<String, Value>, identity: &[&str]) -> Value {
    let http = event.get("requestContext").and_then(|context| context.get("http"));
    let part = |name| http.and_then(|http| http.get(name)).and_then(Value::as_str).unwrap_or_default();
    let (method, path) = (part("method"), part("path"));
    let arn = format!("arn:aws:execute-api:{REGION}:{ACCOUNT_ID}:{API_ID}/$default/{method}{path}");
    let mut question = event.clone();
    question.insert("type".to_owned(), "REQUEST".into());
    question.insert("routeArn".to_owned(), arn.into());
    question.insert("identitySource".to_owned(), json!(identity));
    question.into()
}
