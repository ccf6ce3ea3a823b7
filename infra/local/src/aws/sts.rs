//! STS, as much of it as `AssumeRole` with session tags takes. It gives a session to whoever asks, and remembers whose it is.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

/// What a session was asked for with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The role that it takes on.
    pub role_arn: String,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// How long it counts.
    pub seconds: String,
}

/// The sessions that were given out, by the order of their access keys.
#[derive(Default)]
pub(super) struct Engine(Mutex<Vec<Session>>);

/// What access keys of sessions begin with.
const KEY_PREFIX: &str = "ASIALOCAL";

impl Engine {
    fn sessions(&self) -> MutexGuard<'_, Vec<Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn session(&self, access_key: &str) -> Option<Session> {
        let number: usize = access_key.strip_prefix(KEY_PREFIX)?.parse().ok()?;
        self.sessions().get(number).cloned()
    }

    /// Carries out one operation of the query protocol.
    pub(super) fn call(&self, operation: &str, body: &[u8]) -> Response<Bytes> {
        if operation != "AssumeRole" {
            return error(StatusCode::BAD_REQUEST, "InvalidAction", "cargo local's STS knows AssumeRole only.");
        }
        let text = |name: &str| field(body, name).unwrap_or_default();
        let tag = |n: usize| {
            Some((field(body, &format!("Tags.member.{n}.Key"))?, field(body, &format!("Tags.member.{n}.Value"))?))
        };
        let session = Session {
            role_arn: text("RoleArn"),
            name: text("RoleSessionName"),
            tags: (1..).map_while(tag).collect(),
            seconds: text("DurationSeconds"),
        };
        let mut sessions = self.sessions();
        sessions.push(session);
        let key = format!("{KEY_PREFIX}{}", sessions.len() - 1);
        answer(
            StatusCode::OK,
            format!(
                r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>local</SecretAccessKey><SessionToken>local</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"#
            ),
        )
    }
}

/// A field of a request of the query protocol, which is a form.
pub(super) fn field(body: &[u8], name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(body);
    fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// An error answer in the query protocol.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    let body = format!(
        r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>local</RequestId></ErrorResponse>"#
    );
    answer(status, body)
}

fn answer(status: StatusCode, body: String) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}
