//! One call: counted, authenticated, sent; and once more with a new token where the old one is refused.

use std::sync::Arc;

use bytes::Bytes;
use form_urlencoded::byte_serialize;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use serde_json::Value;

use super::{
    Auth, Connector, Credentials, JSON, OUR_USER_AGENT, PAGE_BYTES_MAX,
    error::CallError,
    token::{self, Token, basic, secret_header},
};
use crate::outgoing::{Answer, Reply, Request, SendError};

/// <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>, as Stripe and others take it.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What is asked of a system.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a Method,
    /// The path after the base URL, filled in.
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Value>,
    /// The `Idempotency-Key`.
    pub(super) key: Option<&'a str>,
    /// A longer answer is an error.
    pub(super) answer_bytes_max: usize,
}

impl<'a> Ask<'a> {
    /// For a page of records.
    pub(super) fn page(method: &'a Method, path: &'a str) -> Self {
        Self { method, path, body: None, key: None, answer_bytes_max: PAGE_BYTES_MAX }
    }
}

impl Connector<'_> {
    /// Makes a call. The answer may be anything but, twice, a 401 to a token.
    pub(super) async fn call(&self, ask: Ask<'_>) -> Result<Reply, CallError> {
        let (headers, token) = self.authorization(None).await?;
        let reply = self.send(ask, headers).await?;
        let Some(token) = token.filter(|_| reply.status == StatusCode::UNAUTHORIZED) else { return Ok(reply) };
        let (headers, _) = self.authorization(Some(&token)).await?;
        self.send(ask, headers).await
    }

    /// The headers by which the system knows us, and the token in them, another one than `refused`.
    pub(super) async fn authorization(
        &self,
        refused: Option<&Token>,
    ) -> Result<(HeaderMap, Option<Arc<Token>>), CallError> {
        let (header, token) = match (self.outbound.auth(), self.credentials) {
            (Auth::None, _) => return Ok((HeaderMap::new(), None)),
            (Auth::ApiKey { header }, Some(Credentials::ApiKey { value })) => {
                (secret_header(header.clone(), value), None)
            }
            (Auth::Bearer, Some(Credentials::Bearer { token })) => (bearer(token), None),
            (Auth::Basic { username }, Some(Credentials::Basic { password })) => (basic(username, password), None),
            (Auth::Oauth2(_), Some(Credentials::Oauth2 { .. })) => {
                let token = self.tokens.as_ref().ok_or(CallError::NoCredentials)?.token(refused).await?;
                (bearer(token.access()), Some(token))
            }
            _ => return Err(CallError::NoCredentials),
        };
        Ok((header.into_iter().collect(), token))
    }

    async fn send(&self, ask: Ask<'_>, mut headers: HeaderMap) -> Result<Reply, CallError> {
        let endpoint = self.outbound.endpoint(ask.path).map_err(|_| CallError::BadId)?;
        headers.insert(USER_AGENT, HeaderValue::from_static(OUR_USER_AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        if let Some(key) = ask.key {
            let key = HeaderValue::from_str(key).map_err(|_| CallError::NoAnswer(SendError::NotBuildable))?;
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        let mut body = Bytes::new();
        if let Some(json) = ask.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
            body = json.to_string().into();
        }
        let request = Request {
            method: ask.method.clone(),
            endpoint,
            headers,
            body,
            timeout: self.outbound.timeout(),
            answer: Answer::Whole(ask.answer_bytes_max),
        };
        self.quota.take().await?;
        (self.hub.send)(request).await.map_err(|error| match error {
            SendError::TooLarge(max) => CallError::TooLarge(max),
            other => CallError::NoAnswer(other),
        })
    }

    /// What is to be taken out of the other side's words, should it repeat it.
    pub(super) fn secrets(&self) -> Vec<String> {
        let Some(secret) = self.credentials.map(Credentials::secret) else { return Vec::new() };
        let mut secrets = vec![secret.to_owned(), byte_serialize(secret.as_bytes()).collect()];
        if let Auth::Basic { username } = self.outbound.auth() {
            let value = basic(username, secret).and_then(|(_, value)| value.to_str().map(str::to_owned).ok());
            secrets.extend(value.and_then(|value| value.strip_prefix("Basic ").map(str::to_owned)));
        }
        let token = self.tokens.as_ref().and_then(token::Client::known);
        secrets.extend(token.map(|token| token.access().to_owned()));
        secrets
    }
}

fn bearer(token: &str) -> Option<(HeaderName, HeaderValue)> {
    secret_header(AUTHORIZATION, &format!("Bearer {token}"))
}
