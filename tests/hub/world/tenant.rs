//! A tenant and its third-party systems.

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::{
    operation::{Operation, Reason, Waiting},
    signature::{SignatureConfig, UnsignedRequest},
};

use super::PUBLIC_URL;

/// Signs a body at a time.
pub type Signer = Box<dyn Fn(&str, Timestamp) -> Vec<(String, String)> + Send + Sync>;

/// A tenant as its engineer sees it: key and secrets.
#[derive(Clone)]
pub struct Tenant {
    pub id: String,
    pub answer: Value,
    pub(super) configs: Vec<(String, Value)>,
}

impl Tenant {
    /// With one more system, registered over the API as `config`.
    pub fn with(mut self, system: &str, secret: &Value, config: &Value) -> Self {
        let systems = self.answer["integrations"].as_array_mut().unwrap();
        systems.push(json!({"system_id": system, "webhook_secret": secret}));
        self.configs.push((system.to_owned(), config.clone()));
        self
    }

    pub fn key(&self) -> &str {
        self.answer["api_key"].as_str().unwrap()
    }

    pub fn secret(&self, system: &str) -> &str {
        let systems = self.answer["integrations"].as_array().unwrap();
        systems.iter().find(|s| s["system_id"] == system).unwrap()["webhook_secret"].as_str().unwrap()
    }

    /// The headers with which the system's sender signs `body`.
    pub fn sign(&self, system: &str, body: &str, now: Timestamp) -> Vec<(String, String)> {
        self.signer(system)(body, now)
    }

    /// The system's sender: gives the headers for a body at a time.
    pub fn signer(&self, system: &str) -> Signer {
        let config = &self.configs.iter().find(|(name, _)| name == system).unwrap().1;
        let (scheme, secret) = (scheme(system, config), self.secret(system).to_owned());
        let url = format!("{PUBLIC_URL}/webhooks/{}/{system}", self.id);
        Box::new(move |body, now| sign(&scheme, &secret, &url, body, now))
    }
}

/// The scheme that an integration uses, the built-in systems' by default.
fn scheme(system: &str, config: &Value) -> SignatureConfig {
    match (config.get("signature"), system) {
        (Some(signature), _) => serde_json::from_value(signature.clone()).unwrap(),
        (None, "stripe") => SignatureConfig::Stripe {},
        (None, "github") => SignatureConfig::Github {},
        (None, "sarah_ai" | "payment_processor") => SignatureConfig::Custom {},
        (None, _) => SignatureConfig::Standard {},
    }
}

pub fn sign(config: &SignatureConfig, secret: &str, url: &str, body: &str, now: Timestamp) -> Vec<(String, String)> {
    let request = UnsignedRequest { method: "POST", url, body: body.as_bytes() };
    let id = format!("msg_{}", shared::ids::sha256_hex(body.as_bytes()).split_at(16).0);
    let headers = config.compile().unwrap().sign(&request, &id, &[secret], now).unwrap();
    headers.into_iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

/// A sample of `events/`, as text of the file.
pub fn sample(system: &str, name: &str) -> Value {
    let path = format!("{}/../events/{system}/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))).unwrap()
}

/// The body of a sample.
pub fn sample_body(system: &str, name: &str) -> Value {
    sample(system, name)["body"].clone()
}

/// A `call.ended` of Sarah AI.
pub fn call_ended(event: &str, call: &str, number: &str) -> Value {
    json!({
        "event_id": event,
        "event_type": "call.ended",
        "timestamp": "2026-01-15T10:30:00Z",
        "call": {"id": call, "destination_number": number, "duration_seconds": 180, "disposition": "INTERESTED"},
        "agent": {"name": "Sarah"},
    })
}

/// A payment of a customer, whom the CRM knows or doesn't.
pub fn payment(n: u32, amount: u32, number: &str) -> Value {
    json!({"id": format!("p{n}"), "type": "payment.succeeded", "data": {"object": {"id": format!("pay_{n}"),
        "amount": amount, "currency": "USD", "metadata": {"customer_phone": number}}}})
}

/// The message of an event that waits until `due`.
pub fn waiting(event: Value, attempt: u32, reason: Reason, due: Timestamp) -> String {
    let event = serde_json::from_value(event).unwrap();
    Operation::Inbound(Waiting { event, attempt, reason, due }).to_message().body
}
