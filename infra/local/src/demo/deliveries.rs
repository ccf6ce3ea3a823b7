//! The demo's outgoing webhooks: a subscription of the built-in receiver, and what it was told of each sample.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Client;
use serde_json::{Value, json};
use shared::signature::{SignatureConfig, SignedRequest, canonical_json};

use super::{DemoError, get};
use crate::receiver::{self, Webhook};

/// So long nothing more may come, so that all of a sample has come; a delivery takes some milliseconds.
const QUIET: Duration = Duration::from_millis(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What the demo's subscription is known by when the demo is run again.
const DESCRIPTION: &str = "the built-in receiver of `cargo local --demo`";

/// The built-in receiver, subscribed to everything.
pub(super) struct Receiver {
    client: Client,
    endpoint: String,
    secret: String,
    /// The last webhook that was shown.
    seen: u64,
}

impl Receiver {
    /// Subscribes it, in the place of the subscription that an earlier demo left: its secret was shown only then.
    pub(super) async fn subscribe(client: &Client, url: &str, aws_url: &str, key: &str) -> Result<Self, DemoError> {
        let list = format!("{url}/v1/subscriptions");
        let all = get(client, &format!("{list}?limit=100"), key).await?;
        let is_old = |s: &&Value| s.get("description").is_some_and(|description| description == DESCRIPTION);
        for old in all.get("data").and_then(Value::as_array).into_iter().flatten().filter(is_old) {
            let id = old.get("id").and_then(Value::as_str).unwrap_or_default();
            client.delete(format!("{list}/{id}")).bearer_auth(key).send().await?;
        }
        let endpoint = format!("{aws_url}{}", receiver::PATH);
        let body = json!({"url": endpoint, "event_types": ["*"], "description": DESCRIPTION});
        let answer: Value = client.post(list).bearer_auth(key).json(&body).send().await?.json().await?;
        let secret = answer.get("secret").and_then(Value::as_str).map(str::to_owned);
        let secret = secret.ok_or_else(|| DemoError::Refused(answer.to_string()))?;
        let mut receiver = Self { client: client.clone(), endpoint, secret, seen: 0 };
        receiver.news().await?; // the test
        Ok(receiver)
    }

    /// What came since the last look, once nothing more comes: a line each, for the sample `name`.
    pub(super) async fn lines(&mut self, name: &str) -> Result<String, DemoError> {
        let mut lines = String::new();
        for webhook in self.news().await? {
            let (kind, id) = (webhook.header("x-webhook-event"), webhook.header("webhook-id"));
            let verified = self.verified(&webhook);
            let _ = writeln!(lines, "{name:<30} {kind:<34} {verified:<42} {id}");
        }
        Ok(lines)
    }

    async fn news(&mut self) -> Result<Vec<Webhook>, DemoError> {
        let mut news: Vec<Webhook> = Vec::new();
        let mut quiet = Duration::ZERO;
        while quiet < QUIET {
            tokio::time::sleep(LOOK_EVERY).await;
            let all: Vec<Webhook> = self.client.get(&self.endpoint).send().await?.json().await?;
            let before = news.len();
            news.extend(all.into_iter().filter(|webhook| webhook.number > self.seen));
            self.seen = news.last().map_or(self.seen, |webhook| webhook.number);
            quiet = if news.len() > before { Duration::ZERO } else { quiet + LOOK_EVERY };
        }
        Ok(news)
    }

    /// Verified as a receiver would: by the Standard Webhooks library, and by the original description's rule.
    fn verified(&self, webhook: &Webhook) -> &'static str {
        let headers: HeaderMap = webhook
            .headers
            .iter()
            .filter_map(|(name, value)| {
                Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.as_str()).ok()?))
            })
            .collect();
        let standard = standardwebhooks::Webhook::new(&self.secret)
            .is_ok_and(|library| library.verify(webhook.body.as_bytes(), &headers).is_ok());
        match (standard, self.verified_by_description(webhook, &headers)) {
            (true, true) => "webhook- and X-Webhook-Signature verified",
            (true, false) => "X-Webhook-Signature WRONG",
            (false, _) => "webhook-signature WRONG",
        }
    }

    /// HMAC-SHA256 of the canonical form of `data`, keyed with the whole secret.
    fn verified_by_description(&self, webhook: &Webhook, headers: &HeaderMap) -> bool {
        let body: Value = serde_json::from_str(&webhook.body).unwrap_or_default();
        let data = body.get("data").unwrap_or(&Value::Null).to_string();
        let Ok(data) = canonical_json(data.as_bytes()) else { return false };
        let request = SignedRequest { method: "POST", url: "", headers, body: &data };
        let scheme = SignatureConfig::Custom {}.compile();
        scheme.is_ok_and(|scheme| scheme.verify(&request, &[&self.secret], jiff::Timestamp::UNIX_EPOCH).is_ok())
    }
}
