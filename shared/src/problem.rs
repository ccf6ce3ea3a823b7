//! Errors as people and programs get them: RFC 9457 problem details, with a `code` that doesn't change.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use lambda_http::Body;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::integration::FieldError;

macro_rules! codes {
    ($($variant:ident $name:literal $status:ident $doc:literal,)*) => {
        /// What went wrong, for programs: a code never changes its name, its status or its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $doc] $variant,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As answers name it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status of an answer with it.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// What it says, in a sentence.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

codes! {
    InvalidRequest "invalid_request" BAD_REQUEST "Something in the request is wrong; `errors` says what, field by field.",
    InvalidBody "invalid_body" BAD_REQUEST "A webhook's body is not JSON, or not within the bounds of what is taken.",
    InvalidApiKey "invalid_api_key" UNAUTHORIZED "There is no API key, or none that is good.",
    InvalidSignature "invalid_signature" UNAUTHORIZED "A webhook's signature is missing, wrong or too old.",
    MissingScope "missing_scope" FORBIDDEN "The API key is not for this: it lacks the scope `read` or `write`.",
    NotFound "not_found" NOT_FOUND "There is no such thing, or it is another tenant's.",
    NoSuchRoute "no_such_route" NOT_FOUND "There is nothing at this address.",
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "The address doesn't take this method; `Allow` names those that it takes.",
    IdempotencyInProgress "idempotency_in_progress" CONFLICT "A request with this `Idempotency-Key` is being worked on; send it again in a moment.",
    SubscriptionDisabled "subscription_disabled" CONFLICT "The subscription is disabled; enable it first.",
    TooManyApiKeys "too_many_api_keys" CONFLICT "The tenant has as many API keys as it may have.",
    TooManyIntegrations "too_many_integrations" CONFLICT "The tenant has as many integrations as it may have.",
    TooManySubscriptions "too_many_subscriptions" CONFLICT "The tenant has as many subscriptions as it may have.",
    PreconditionFailed "precondition_failed" PRECONDITION_FAILED "It isn't as `If-Match` or `If-None-Match` says; read it again.",
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE "The body is larger than 256 KiB.",
    IdempotencyKeyReused "idempotency_key_reused" UNPROCESSABLE_ENTITY "The `Idempotency-Key` was used for another request in the last 24 hours.",
    RateLimited "rate_limited" TOO_MANY_REQUESTS "Too many calls in this minute; `Retry-After` says when to go on.",
    SourceRateLimited "source_rate_limited" TOO_MANY_REQUESTS "Too many webhooks from this source address; `Retry-After` says when to go on.",
    Internal "internal" INTERNAL_SERVER_ERROR "Something is wrong on our side; it was logged.",
    Unavailable "unavailable" SERVICE_UNAVAILABLE "AWS can't be reached for the moment; send the request again after `Retry-After`.",
    Busy "busy" SERVICE_UNAVAILABLE "Other calls change the same at the moment; send the request again after `Retry-After`.",
}

impl JsonSchema for Code {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = Self::ALL.iter().map(|code| code.as_str()).collect();
        json_schema!({"type": "string", "enum": names})
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One error answer.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Problem {
    /// The HTTP status, also in the body.
    #[serde(serialize_with = "as_number")]
    #[schemars(with = "u16")]
    pub status: StatusCode,
    /// Stable and machine-readable.
    pub code: Code,
    /// The status in words.
    pub title: &'static str,
    /// A sentence that says what to do.
    pub detail: String,
    /// What is wrong field by field, where fields are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Headers of the answer besides its content type.
    #[serde(skip)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem with its code's status, and that status' title.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = code.status();
        let title = status.canonical_reason().unwrap_or("Error");
        Self { status, code, title, detail: detail.into(), errors: Vec::new(), headers: Vec::new() }
    }

    /// With what is wrong field by field.
    #[must_use]
    pub fn with_errors(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }

    /// With a `Retry-After`.
    #[must_use]
    pub fn retry_after(self, seconds: i64) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// With another header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer, `application/problem+json`.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let mut response = json_response(self.status, &self);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers);
        response
    }
}

/// A JSON answer.
#[must_use]
pub fn json_response(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_string(body).unwrap_or_default();
    let mut response = Response::new(Body::Text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
