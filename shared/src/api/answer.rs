//! What a call is answered.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use lambda_http::Body;
use serde_json::Value;

use crate::{ids::sha256_hex, problem::json_response};

/// An answer that isn't a problem.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, headers: Vec::new() }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    pub(super) fn created(body: Value) -> Self {
        Self::new(StatusCode::CREATED, body)
    }

    pub(super) fn accepted(body: Value) -> Self {
        Self::new(StatusCode::ACCEPTED, body)
    }

    pub(super) fn no_content() -> Self {
        Self::new(StatusCode::NO_CONTENT, Value::Null)
    }

    /// Something that people edit, with its tag.
    pub(super) fn tagged(body: Value) -> Self {
        Self::ok(body).with_tag()
    }

    pub(super) fn with_tag(self) -> Self {
        let tag = HeaderValue::from_str(&tag(&self.body));
        match tag {
            Ok(tag) => self.with_headers([(header::ETAG, tag)]),
            Err(_) => self,
        }
    }

    pub(super) fn with_headers(mut self, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        self.headers.extend(headers);
        self
    }

    /// With a field, if there is one, that isn't part of what is tagged.
    pub(super) fn besides(mut self, name: &str, value: Option<String>) -> Self {
        if let (Some(fields), Some(value)) = (self.body.as_object_mut(), value) {
            fields.insert(name.to_owned(), value.into());
        }
        self
    }

    /// 304 in its place, where the caller knows what carries its tag.
    pub(super) fn unless(self, is_known: impl FnOnce(&str) -> bool) -> Self {
        let tag = self.headers.iter().find(|(name, _)| name == header::ETAG).and_then(|(_, tag)| tag.to_str().ok());
        if tag.is_some_and(is_known) { Self { status: StatusCode::NOT_MODIFIED, ..self } } else { self }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = if self.status == StatusCode::NO_CONTENT || self.status == StatusCode::NOT_MODIFIED {
            let mut empty = Response::new(Body::Empty);
            *empty.status_mut() = self.status;
            empty
        } else {
            json_response(self.status, &self.body)
        };
        response.headers_mut().extend(self.headers);
        response
    }
}

/// The entity tag of something as it is shown (RFC 9110, 8.8.3): a strong one, made of all that is shown but secrets.
pub(super) fn tag(shown: &Value) -> String {
    let mut hash = sha256_hex(shown.to_string().as_bytes());
    hash.truncate(24);
    format!("\"{hash}\"")
}
