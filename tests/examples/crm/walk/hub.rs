//! The hub, as a tenant's engineer reaches it.

use http::Method;
use serde_json::{Value, json};
use shared::{hub::Clock, signature::SignatureConfig};

use super::Unmet;
use crate::webhook::{Receiver, client};

pub struct Hub {
    client: reqwest::Client,
    clock: Clock,
    address: String,
    key: String,
    /// Its tenant's systems, as `provision-tenant` answered them.
    systems: Vec<Value>,
}

/// An answer over HTTP.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Hub {
    /// Makes the tenant.
    pub async fn provision(address: &str, tenant: &str, integrations: &[Value], clock: &Clock) -> Result<Self, Unmet> {
        let (client, clock, address) = (client(), clock.clone(), address.to_owned());
        let mut hub = Self { client, clock, address, key: String::new(), systems: vec![] };
        let order = json!({"tenant_id": tenant, "name": "Walk", "default_region": "US", "integrations": integrations});
        let answer = hub.call(Method::POST, "/2015-03-31/functions/provision-tenant/invocations", Some(&order)).await?;
        let key = answer.body["api_key"].as_str().ok_or_else(|| answer.unmet("Make a tenant", "an api_key"))?;
        key.clone_into(&mut hub.key);
        hub.systems = answer.body["integrations"].as_array().cloned().unwrap_or_default();
        Ok(hub)
    }

    /// Where the hub takes the webhooks of a system.
    pub fn receiver(&self, system: &str) -> Result<Receiver, Unmet> {
        let found = self.systems.iter().find(|found| found["system_id"] == system);
        let text = |name: &str| found.and_then(|found| found[name].as_str()).map(str::to_owned);
        let receiver = text("webhook_url").zip(text("webhook_secret")).map(|(url, secret)| Receiver { url, secret });
        let expected = || format!("a webhook_url and a webhook_secret of {system}");
        receiver.ok_or_else(|| Unmet::new("Make a tenant", expected(), Value::from(self.systems.clone())))
    }

    /// Sends events of a system as one webhook, and gives what came of each.
    pub async fn send(&self, receiver: &Receiver, id: &str, events: &[Value]) -> Result<Vec<Value>, Unmet> {
        let expected = || format!("200 with {} results, each processed", events.len());
        let body = json!(events).to_string();
        let now = (self.clock)();
        let sent = receiver.post(&self.client, &SignatureConfig::Standard {}, id, body, now).await;
        let (status, text) = sent.map_err(|error| Unmet::new("Send records", expected(), error))?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let results = body["results"].as_array().cloned().unwrap_or_default();
        if status != 200 || results.len() != events.len() {
            return Err(Unmet::new("Send records", expected(), format!("{status} {text}")));
        }
        match results.iter().find(|result| result["status"] != "processed") {
            Some(result) => Err(Unmet::new("Send records", expected(), result)),
            None => Ok(results),
        }
    }

    pub async fn get(&self, path: &str) -> Result<Answer, Unmet> {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str) -> Result<Answer, Unmet> {
        self.call(Method::POST, path, None).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer, Unmet> {
        self.call(Method::PUT, path, Some(body)).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Unmet> {
        let request = self.client.request(method, format!("{}{path}", self.address)).bearer_auth(&self.key);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let failed = |error: reqwest::Error| {
            let reason = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
            Unmet::new("Reach the hub", format!("an answer to {path}"), format!("{error}{reason}"))
        };
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(failed)?;
        // What isn't JSON is shown as it is.
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }
}

impl Answer {
    /// The answer, if it has this status.
    pub fn expect(self, status: u16, step: &'static str, what: &str) -> Result<Value, Unmet> {
        if self.status == status { Ok(self.body) } else { Err(self.unmet(step, &format!("{status} to {what}"))) }
    }

    pub fn unmet(&self, step: &'static str, expected: &str) -> Unmet {
        Unmet::new(step, expected, format!("{} {}", self.status, self.body))
    }
}
