//! Tokens by OAuth 2 client credentials (RFC 6749 §4.4), remembered by the copy until shortly before they end.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use form_urlencoded::{Serializer, byte_serialize};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Mutex;

use super::{
    JSON, OUR_USER_AGENT,
    config::Oauth2,
    error::{CallError, TokenError},
    said::Said,
};
use crate::{
    cache::Cache,
    hub::Hub,
    ids::{SystemId, TenantId, derived},
    json,
    outgoing::{Answer, Reply, Request, is_header_value, is_success},
};

/// A token is renewed so long before its end, which then can't come while it travels.
const BEFORE_END: Duration = Duration::from_secs(30);
/// How long a token is used whose answer doesn't say how long it lives. Short: RFC 6749 §5.1 leaves it to the server.
const LIFE_UNKNOWN: Duration = Duration::from_mins(5);
/// How long one is used at most, whatever its answer says.
const LIFE_MAX: Duration = Duration::from_hours(24);
/// Most bytes of a token endpoint's answer. A token that is a JWT has one or two thousand.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

/// A token and until when it is used.
pub struct Token {
    access: String,
    until: Timestamp,
}

impl Token {
    /// The token itself.
    pub(super) fn access(&self) -> &str {
        &self.access
    }
}

// Tokens never reach a log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(until {})", self.until)
    }
}

/// Whose token it is, and of which client: a hash, so that changed credentials count at once.
type Holder = (TenantId, SystemId, String);
/// The tokens that a copy remembers.
pub type Tokens = Cache<Holder, Arc<Token>>;

/// Gets the tokens of one system, one request at a time.
pub(super) struct Client<'a> {
    hub: &'a Hub,
    oauth2: &'a Oauth2,
    secret: &'a str,
    timeout: Duration,
    holder: Holder,
    /// Counts requests. Whoever waits for another's request sees that there was one.
    requests: AtomicU64,
    /// Held while a token is got; why the last request gave none.
    failure: Mutex<Option<TokenError>>,
}

impl<'a> Client<'a> {
    pub(super) fn new(
        hub: &'a Hub,
        (tenant, system): (&TenantId, &SystemId),
        (oauth2, secret): (&'a Oauth2, &'a str),
        timeout: Duration,
    ) -> Self {
        let Oauth2 { token_url, client_id, scope, in_body } = oauth2;
        let scope = scope.as_deref().unwrap_or_default();
        let parts = [token_url.as_str(), client_id, secret, scope, if *in_body { "body" } else { "basic" }];
        let holder = (tenant.clone(), system.clone(), derived("client", &parts));
        Self { hub, oauth2, secret, timeout, holder, requests: AtomicU64::new(0), failure: Mutex::new(None) }
    }

    /// The remembered token, if it isn't about to end.
    pub(super) fn known(&self) -> Option<Arc<Token>> {
        let (since, token) = self.hub.tokens.get(&self.holder)?;
        let now = self.hub.now();
        // A clock that was set back says nothing about when it ends.
        (since <= now && now < token.until).then_some(token)
    }

    /// A token, another one than `refused`. Of those who ask at once, one gets it for all.
    pub(super) async fn token(&self, refused: Option<&Token>) -> Result<Arc<Token>, CallError> {
        let usable = || self.known().filter(|known| refused.is_none_or(|refused| refused.access != known.access));
        if let Some(token) = usable() {
            return Ok(token);
        }
        let requests = self.requests.load(Ordering::SeqCst);
        let mut failure = self.failure.lock().await;
        if let Some(token) = usable() {
            return Ok(token);
        }
        if let Some(error) = &*failure
            && self.requests.load(Ordering::SeqCst) > requests
        {
            return Err(CallError::NoToken(error.clone()));
        }
        let outcome = self.request().await;
        self.requests.fetch_add(1, Ordering::SeqCst);
        *failure = outcome.as_ref().err().cloned();
        outcome.map_err(CallError::NoToken)
    }

    async fn request(&self) -> Result<Arc<Token>, TokenError> {
        let asked = self.hub.now();
        let reply = (self.hub.send)(self.message()).await.map_err(TokenError::NoAnswer)?;
        let token = Arc::new(self.read(&reply, asked)?);
        self.hub.tokens.put(self.holder.clone(), Arc::clone(&token), token.access.len(), asked);
        Ok(token)
    }

    fn message(&self) -> Request {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = &self.oauth2.scope {
            form.append_pair("scope", scope);
        }
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(OUR_USER_AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if self.oauth2.in_body {
            form.append_pair("client_id", &self.oauth2.client_id).append_pair("client_secret", self.secret);
        } else {
            // RFC 6749 §2.3.1: each is form-encoded first.
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            headers.extend(basic(&encoded(&self.oauth2.client_id), &encoded(self.secret)));
        }
        Request {
            method: Method::POST,
            endpoint: self.oauth2.token_url.clone(),
            headers,
            body: form.finish().into(),
            timeout: self.timeout,
            answer: Answer::Whole(ANSWER_BYTES_MAX),
        }
    }

    /// RFC 6749 §5.1 and §5.2.
    fn read(&self, reply: &Reply, asked: Timestamp) -> Result<Token, TokenError> {
        let answer = std::str::from_utf8(&reply.body).ok().and_then(|text| json::parse(text).ok()).unwrap_or_default();
        if !is_success(reply.status) {
            let said = Said::of(&answer, &[self.secret.to_owned()]);
            return Err(TokenError::Status { status: reply.status, said, retry_after: reply.retry_after });
        }
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let access = text("access_token").filter(|access| !access.is_empty() && is_header_value(access));
        let is_bearer = text("token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        let access = access.filter(|_| is_bearer).ok_or(TokenError::Unusable)?.to_owned();
        // Some servers give the number as text.
        let seconds = answer.get("expires_in").and_then(|life| life.as_u64().or_else(|| life.as_str()?.parse().ok()));
        let life = seconds.map_or(LIFE_UNKNOWN, Duration::from_secs).min(LIFE_MAX);
        // One that lives for less than a minute is used for half of it.
        let until = asked.saturating_add(life.saturating_sub(BEFORE_END.min(life / 2))).unwrap_or(asked);
        Ok(Token { access, until })
    }
}

/// `Authorization: Basic …` (RFC 7617), in UTF-8.
pub(super) fn basic(name: &str, password: &str) -> Option<(HeaderName, HeaderValue)> {
    secret_header(AUTHORIZATION, &format!("Basic {}", BASE64.encode(format!("{name}:{password}"))))
}

/// A header whose value `{:?}` doesn't show.
pub(super) fn secret_header(name: HeaderName, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_shown() {
        let token = Token { access: "secret".into(), until: Timestamp::UNIX_EPOCH };
        assert_eq!(format!("{token:?}"), "Token(until 1970-01-01T00:00:00Z)");
    }
}
