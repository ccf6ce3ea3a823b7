//! Errors as people and programs get them: RFC 9457 problem details, with a `code` that doesn't change.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use lambda_http::Body;
use serde::Serialize;

use crate::integration::FieldError;

/// One error answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// The HTTP status, also in the body.
    #[serde(serialize_with = "as_number")]
    pub status: StatusCode,
    /// Stable and machine-readable.
    pub code: &'static str,
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
    /// A problem with the status' own title.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
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
