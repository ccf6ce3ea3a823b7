//! How we show a system who calls. The secret parts are kept in Secrets Manager, the others with the configuration.

use std::fmt;

use http::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::part::Part;
use crate::{
    endpoint::{Endpoint, Reach},
    integration::FieldError,
    outgoing::{RESERVED, header_name, is_header_value},
};

/// Longest name, id and scope, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// Longest secret, in bytes; tokens in the form of a JWT are often over one thousand.
const SECRET_BYTES_MAX: usize = 4_096;
/// Headers of our own on calls to a CRM.
const OWN_HEADERS: [&str; 2] = ["accept", "idempotency-key"];

/// How calls are authenticated, without what is secret of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// By a key in this header.
    ApiKey {
        /// The header.
        header: HeaderName,
    },
    /// By a token that doesn't end: `Authorization: Bearer …`.
    Bearer,
    /// By name and password (RFC 7617).
    Basic {
        /// The name.
        username: String,
    },
    /// By a token that client credentials get (RFC 6749 §4.4).
    Oauth2(Oauth2),
}

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oauth2 {
    /// The token endpoint.
    pub token_url: Endpoint,
    /// Who we are there.
    pub client_id: String,
    /// What the token is for.
    pub scope: Option<String>,
    /// Whether id and secret stand in the body, and not in a Basic header (RFC 6749 §2.3.1).
    pub in_body: bool,
}

/// The secret part of a system's `auth`, as it is kept in Secrets Manager.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Credentials {
    /// Of `api_key`.
    ApiKey {
        /// The key.
        value: String,
    },
    /// Of `bearer`.
    Bearer {
        /// The token.
        token: String,
    },
    /// Of `basic`.
    Basic {
        /// The password.
        password: String,
    },
    /// Of `oauth2`.
    Oauth2 {
        /// The client's secret.
        client_secret: String,
    },
}

impl Credentials {
    /// The secret itself.
    #[must_use]
    pub fn secret(&self) -> &str {
        match self {
            Self::ApiKey { value } => value,
            Self::Bearer { token } => token,
            Self::Basic { password } => password,
            Self::Oauth2 { client_secret } => client_secret,
        }
    }

    /// The field of `auth` that they are.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::ApiKey { .. } => "value",
            Self::Bearer { .. } => "token",
            Self::Basic { .. } => "password",
            Self::Oauth2 { .. } => "client_secret",
        }
    }
}

// Secrets never reach a log: not even by way of `{:?}`.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Takes the secret part out of the `auth` of an `outbound`, so that it can be stored apart. `None` where there is none.
///
/// # Errors
/// The secret can't be used.
pub fn take_credentials(outbound: &mut Value) -> Result<Option<Credentials>, Vec<FieldError>> {
    let Some(auth) = outbound.get_mut("auth").and_then(Value::as_object_mut) else { return Ok(None) };
    // Of another type, the configuration is refused, and nothing of it stored.
    let Some(name) = auth.get("type").and_then(Value::as_str).and_then(secret_name) else { return Ok(None) };
    let form = match name {
        "password" => "0 to 4096 bytes without control characters",
        "client_secret" => "1 to 4096 bytes without control characters",
        _ => "1 to 4096 visible ASCII characters",
    };
    let fits = |text: &str| {
        let characters = match name {
            "password" | "client_secret" => !text.chars().any(char::is_control),
            _ => is_header_value(text) && text.trim() == text,
        };
        characters && text.len() <= SECRET_BYTES_MAX && (name == "password" || !text.is_empty())
    };
    match auth.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(secret)) if fits(&secret) => Ok(Some(match name {
            "value" => Credentials::ApiKey { value: secret },
            "token" => Credentials::Bearer { token: secret },
            "password" => Credentials::Basic { password: secret },
            _ => Credentials::Oauth2 { client_secret: secret },
        })),
        Some(_) => Err(vec![FieldError::new(format!("outbound.auth.{name}"), format!("must be text of {form}"))]),
    }
}

/// The name of a type's secret part.
fn secret_name(auth_type: &str) -> Option<&'static str> {
    match auth_type {
        "api_key" => Some("value"),
        "bearer" => Some("token"),
        "basic" => Some("password"),
        "oauth2" => Some("client_secret"),
        _ => None,
    }
}

impl Auth {
    /// Reads `auth` without its secret part.
    pub(super) fn compile(place: &str, json: &Value, faults: &mut Vec<FieldError>) -> Option<Self> {
        const TYPES: &str = "must be one of api_key, bearer, basic, oauth2";
        let Some(fields) = json.as_object() else {
            faults.push(FieldError::new(place, "must be an object with a `type`"));
            return None;
        };
        let known: &[&str] = match fields.get("type").and_then(Value::as_str) {
            Some("api_key") => &["type", "header"],
            Some("bearer") => &["type"],
            Some("basic") => &["type", "username"],
            Some("oauth2") => &["type", "token_url", "client_id", "scope", "client_auth"],
            _ => {
                faults.push(FieldError::new(format!("{place}.type"), TYPES));
                return None;
            }
        };
        let mut part = Part::of(place, json, known, faults)?;
        match known {
            ["type"] => Some(Self::Bearer),
            ["type", "header"] => {
                let name = header_name(part.required("header", TEXT_BYTES_MAX)?);
                let own = |name: &HeaderName| OWN_HEADERS.contains(&name.as_str());
                let name = name.and_then(|name| if own(&name) { Err(RESERVED) } else { Ok(name) });
                part.take("header", name).map(|header| Self::ApiKey { header })
            }
            ["type", "username"] => {
                let username = part.required("username", TEXT_BYTES_MAX)?;
                // RFC 7617 §2.
                let username = if username.contains(':') { Err("must not have a colon") } else { Ok(username) };
                part.take("username", username).map(|username| Self::Basic { username: username.to_owned() })
            }
            _ => Oauth2::compile(part).map(Self::Oauth2),
        }
    }

    /// The name of the secret part that it needs, as it stands in `auth`.
    #[must_use]
    pub fn secret_field(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::ApiKey { .. } => Some("value"),
            Self::Bearer => Some("token"),
            Self::Basic { .. } => Some("password"),
            Self::Oauth2(_) => Some("client_secret"),
        }
    }
}

impl Oauth2 {
    fn compile(mut part: Part<'_>) -> Option<Self> {
        let token_url = part.required("token_url", crate::endpoint::URL_BYTES_MAX);
        let token_url = token_url.map(|url| Endpoint::parse(url, Reach::Any).map_err(|error| error.to_string()));
        let token_url = token_url.and_then(|url| part.take("token_url", url));
        let client_id = part.required("client_id", TEXT_BYTES_MAX);
        let scope = part.text("scope", TEXT_BYTES_MAX).map(str::to_owned);
        let in_body = match part.get("client_auth").map(Value::as_str) {
            None | Some(Some("basic")) => false,
            Some(Some("body")) => true,
            Some(_) => part.take("client_auth", Err("must be \"basic\" or \"body\""))?,
        };
        Some(Self { token_url: token_url?, client_id: client_id?.to_owned(), scope, in_body })
    }
}
