//! Who may call the API: bearers of the fixed token, or of one that the OAuth 2 token endpoint gave (RFC 6749, section
//! 4.4).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// What opens the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// A token that never expires.
    pub token: Option<String>,
    pub client_id: String,
    pub client_secret: String,
    /// How long a token of the token endpoint is good for.
    pub token_seconds: u32,
}

pub struct Access {
    credentials: Credentials,
    /// The tokens that the token endpoint gave, with their ends, and how many it gave ever.
    given: Mutex<(HashMap<String, Timestamp>, u64)>,
}

impl Access {
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, given: Mutex::default() }
    }

    /// Whether a call with these headers may be made.
    pub fn admits(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        let Some(token) = of_scheme(headers, "bearer") else { return false };
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        self.credentials.token.as_deref() == Some(token) || given.0.get(token).is_some_and(|end| *end > now)
    }

    /// Answers the token endpoint.
    pub fn give(&self, headers: &HeaderMap, form: &Bytes, now: Timestamp) -> (StatusCode, Value) {
        let form: BTreeMap<_, _> = form_urlencoded::parse(form).collect();
        let field = |name: &str| form.get(name).map(ToString::to_string);
        let client = basic(headers).or_else(|| Some((field("client_id")?, field("client_secret")?)));
        let known = (self.credentials.client_id.clone(), self.credentials.client_secret.clone());
        if client != Some(known) {
            return (StatusCode::UNAUTHORIZED, json!({"error": "invalid_client"}));
        }
        if form.get("grant_type").is_none_or(|grant| grant != "client_credentials") {
            return (StatusCode::BAD_REQUEST, json!({"error": "unsupported_grant_type"}));
        }
        let seconds = self.credentials.token_seconds;
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.1 += 1;
        let token = format!("crm_token_{}_{}", given.1, now.as_millisecond());
        given.0.retain(|_, end| *end > now);
        given.0.insert(token.clone(), now + SignedDuration::from_secs(seconds.into()));
        (StatusCode::OK, json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds}))
    }

    /// Makes void what the token endpoint gave so far.
    pub fn revoke(&self) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).0.clear();
    }

    /// How many tokens the token endpoint gave.
    pub fn given(&self) -> u64 {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// The credentials of `Authorization`, if they are of this scheme.
fn of_scheme<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (name, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Client id and secret of HTTP Basic, each form-encoded (RFC 6749, section 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64.decode(of_scheme(headers, "basic")?).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decoded = |part: &str| form_urlencoded::parse(part.as_bytes()).next().map(|(name, _)| name.into_owned());
    Some((decoded(id)?, decoded(secret)?))
}
