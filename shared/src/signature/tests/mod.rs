//! Tests of whole schemes: what verifies, and above all what doesn't.

mod malformed;
mod schemes;
mod vectors;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;

/// Every scheme and preset, and templates that use what those don't.
fn all_configs() -> Vec<Value> {
    let mut configs: Vec<_> =
        ["auto", "custom", "github", "stripe", "standard"].map(|name| json!({"scheme": name})).into();
    configs.extend(
        ["hubspot_v3", "slack", "shopify", "square", "retell", "vapi"]
            .map(|name| json!({"scheme": "template", "preset": name})),
    );
    configs.push(json!({
        "scheme": "template", "template": "{id}\n{timestamp}\n{method} {url}\n{body}", "algorithm": "sha512", "prefix": "v9=",
        "signature_header": "x-signature", "encoding": "base64", "id_header": "x-id", "timestamp_header": "x-time",
        "timestamp_pair": "at", "secret_encoding": "base64",
    }));
    configs.push(json!({
        "scheme": "template", "template": "{body}", "algorithm": "sha1", "signature_header": "x-signature",
        "signature_pair": "sig",
    }));
    configs
}

fn scheme(config: &Value) -> Scheme {
    let config: SignatureConfig = serde_json::from_value(config.clone()).expect("a configuration");
    config.compile().expect("a valid configuration")
}

/// A request that can be changed before it is verified.
#[derive(Clone)]
struct Request {
    method: String,
    url: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    fn new(body: &[u8]) -> Self {
        let url = "https://hooks.example.com/webhooks/tenant_demo/other".to_owned();
        Self { method: "POST".to_owned(), url, headers: HeaderMap::new(), body: body.to_vec() }
    }

    fn signed(body: &[u8], scheme: &Scheme, secrets: &[&str], now: Timestamp) -> Self {
        let mut request = Self::new(body);
        let Self { method, url, body, .. } = &request;
        let headers = scheme.sign(&UnsignedRequest { method, url, body }, "msg_1", secrets, now).expect("a signature");
        request.headers = headers.into_iter().collect();
        request
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.append(name, value.parse().expect("a header value"));
        self
    }

    fn verify(&self, scheme: &Scheme, secrets: &[&str], now: Timestamp) -> Result<Verified, SignatureError> {
        let Self { method, url, headers, body } = self;
        scheme.verify(&SignedRequest { method, url, headers, body }, secrets, now)
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

const NOW: i64 = 1_700_000_000;

/// Base64, so that it fits every scheme.
const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw==";
