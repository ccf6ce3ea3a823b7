//! The sample events of `events/`, as their senders would send them.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use sha2::Sha256;
use shared::{
    ids::SystemId,
    integration::{Integration, IntegrationConfig},
    mapping::Outcome,
    phone::Region,
    signature::{Scheme, SignedRequest, UnsignedRequest},
};

/// The secret that everything here is signed with; base64, because Standard Webhooks wants that.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The URL of the schemes that sign one.
const URL: &str = "https://hub.example/webhooks/tenant_demo/sarah_ai";

/// The 2 KiB event that the targets are set for.
pub(crate) const CALL_ENDED: &str = include_str!("../../../events/sarah_ai/call_ended.json");

/// One sample, with what its integration needs.
pub(crate) struct Sample {
    pub(crate) integration: Integration,
    pub(crate) headers: BTreeMap<String, String>,
    /// The body in the sender's order, without the white space of the file.
    pub(crate) body: String,
    pub(crate) payload: Value,
}

#[derive(Deserialize)]
struct File<'a> {
    system_id: String,
    headers: BTreeMap<String, String>,
    #[serde(borrow)]
    body: &'a RawValue,
}

impl Sample {
    /// Reads a file of `events/`.
    pub(crate) fn read(text: &str) -> Self {
        let file: File<'_> = serde_json::from_str(text).expect("a sample");
        let system = SystemId::parse(&file.system_id).expect("a sample names a system");
        let Ok(integration) = Integration::compile(system, IntegrationConfig::default()) else {
            panic!("the built-in rules compile")
        };
        let body = compact(file.body.get());
        let payload = serde_json::from_str(&body).expect("a sample's body is JSON");
        Self { integration, headers: file.headers, body, payload }
    }

    /// The event mapped, with its type found first.
    pub(crate) fn map(&self, payload: &Value, region: &Region) -> Outcome {
        let header = |name: &str| self.headers.get(name).map(String::as_str);
        let rule = &self.integration.rule;
        let event_type = rule.event_type(payload, &header);
        rule.map(event_type.as_deref(), payload, region)
    }
}

/// JSON without white space between its tokens.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        let kept = in_string || !c.is_ascii_whitespace();
        in_string ^= *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        kept
    };
    json.chars().filter(keep).collect()
}

/// When everything here is signed and received.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_768_473_000).expect("a time")
}

/// The headers with which a sender signs `body`.
pub(crate) fn signed(scheme: &Scheme, body: &[u8]) -> HeaderMap {
    let request = UnsignedRequest { method: "POST", url: URL, body };
    scheme.sign(&request, "msg_1", &[SECRET], now()).expect("the secret suits every scheme").into_iter().collect()
}

/// The request that those headers came with.
pub(crate) fn request<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> SignedRequest<'a> {
    SignedRequest { method: "POST", url: URL, headers, body }
}

/// The floor of every signature: the HMAC alone.
pub(crate) fn hmac_sha256(body: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes any key");
    mac.update(body);
    mac.finalize().into_bytes().into()
}
