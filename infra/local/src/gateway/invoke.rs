//! Lambda's own door: `POST /2015-03-31/functions/{name}/invocations`
//! (<https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::answer::json_answer;
use super::routes::decoded;
use crate::aws::{ACCOUNT_ID, REGION};
use crate::lambda::{InvokeError, Lambda};

/// The largest event (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;

/// An error of the door itself, which the AWS SDKs know by its code.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// The name of the function, if the path is that of an invocation. It may be given as a name, an ARN or a part of
/// one, each with or without a version or alias.
pub(super) fn function_name(path: &str) -> Option<String> {
    let name = decoded(path.strip_prefix("/2015-03-31/functions/")?.strip_suffix("/invocations")?);
    let mut parts = name.split(':').skip_while(|part| *part != "function").skip(1);
    let name = parts.next().or_else(|| name.split(':').next())?;
    Some(name.to_owned())
}

/// Invokes the function as the request's `X-Amz-Invocation-Type` says.
pub(super) async fn handle(lambda: &Arc<Lambda>, name: &str, request: &Request<Bytes>) -> Response<Bytes> {
    invoke(lambda, name, request).await.unwrap_or_else(Refusal::response)
}

async fn invoke(lambda: &Arc<Lambda>, name: &str, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
    if request.method() != Method::POST {
        let message = "Functions are invoked with POST.".to_owned();
        return Err(Refusal { status: StatusCode::METHOD_NOT_ALLOWED, code: "InvalidRequestException", message });
    }
    if !lambda.has(name) {
        return Err(unknown(name));
    }
    let event = event(request.body())?;
    let kind = request.headers().get("x-amz-invocation-type").map_or(&b"RequestResponse"[..], HeaderValue::as_bytes);
    match kind {
        b"RequestResponse" => answered(lambda.invoke(name, event).await),
        b"Event" => {
            tokio::spawn(in_background(Arc::clone(lambda), name.to_owned(), event));
            Ok(empty(StatusCode::ACCEPTED))
        }
        b"DryRun" => Ok(empty(StatusCode::NO_CONTENT)),
        _ => {
            let message = "X-Amz-Invocation-Type is one of RequestResponse, Event and DryRun.".to_owned();
            Err(Refusal { status: StatusCode::BAD_REQUEST, code: "InvalidParameterValueException", message })
        }
    }
}

fn event(body: &Bytes) -> Result<Value, Refusal> {
    if body.len() > EVENT_BYTES_MAX {
        let message = format!("Request must be smaller than {EVENT_BYTES_MAX} bytes for the InvokeFunction operation");
        return Err(Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, code: "RequestTooLargeException", message });
    }
    if body.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("Could not parse request body into json: {error}");
        Refusal { status: StatusCode::BAD_REQUEST, code: "InvalidRequestContentException", message }
    })
}

/// What the caller gets: 200 either way, a failure of the function marked by a header.
fn answered(result: Result<Value, InvokeError>) -> Result<Response<Bytes>, Refusal> {
    match result {
        Ok(answer) => Ok(executed(json_answer(StatusCode::OK, &answer))),
        Err(InvokeError::Failed(error)) => {
            let body = json!({"errorMessage": error.message, "errorType": error.error_type});
            let mut response = executed(json_answer(StatusCode::OK, &body));
            let header = HeaderName::from_static("x-amz-function-error");
            response.headers_mut().insert(header, HeaderValue::from_static("Unhandled"));
            Ok(response)
        }
        Err(InvokeError::UnknownFunction(name)) => Err(unknown(&name)),
    }
}

fn unknown(name: &str) -> Refusal {
    let message = format!("Function not found: arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{name}");
    Refusal { status: StatusCode::NOT_FOUND, code: "ResourceNotFoundException", message }
}

async fn in_background(lambda: Arc<Lambda>, name: String, event: Value) {
    if let Err(error) = lambda.invoke(&name, event).await {
        tracing::error!(function = name, %error, "a function failed in the background");
    }
}

fn executed(mut response: Response<Bytes>) -> Response<Bytes> {
    let header = HeaderName::from_static("x-amz-executed-version");
    response.headers_mut().insert(header, HeaderValue::from_static("$LATEST"));
    response
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

impl Refusal {
    fn response(self) -> Response<Bytes> {
        let mut response = json_answer(self.status, &json!({"Type": "User", "Message": self.message}));
        let header = HeaderName::from_static("x-amzn-errortype");
        response.headers_mut().insert(header, HeaderValue::from_static(self.code));
        response
    }
}
