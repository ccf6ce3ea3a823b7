//! What `events/` holds was made by these tests, which fail where it isn't what they make. To write it anew:
//! `UPDATE_SAMPLES=1 cargo test samples`.

mod lambda;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::signature::SignedRequest;

use super::*;

/// Where `cargo local` serves. No sample's scheme signs it, but one that does can be added.
const URL: &str = "http://127.0.0.1:9000";
/// When a sample that doesn't say so is signed.
const SIGNED_AT: &str = "2026-01-15T18:00:00Z";

/// A sample's file, with everything that isn't computed as it was written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(borrow)]
    system_id: &'a RawValue,
    description: &'a RawValue,
    method: &'a RawValue,
    headers: &'a RawValue,
    signed: Option<Signed>,
    body: &'a RawValue,
}

/// What a sender adds to a request at one time.
#[derive(Deserialize)]
struct Signed {
    at: String,
}

impl File<'_> {
    /// The file with the headers that sign its body.
    fn with(&self, at: &str, headers: &[(String, String)]) -> String {
        let headers: Vec<String> =
            headers.iter().map(|(name, value)| format!("      {}: {}", json!(name), json!(value))).collect();
        format!(
            "{{\n  \"system_id\": {},\n  \"description\": {},\n  \"method\": {},\n  \"headers\": {},\n  \"signed\": {{\n    \
             \"at\": {},\n    \"headers\": {{\n{}\n    }}\n  }},\n  \"body\": {}\n}}\n",
            self.system_id,
            self.description,
            self.method,
            self.headers,
            json!(at),
            headers.join(",\n"),
            self.body
        )
    }
}

/// Fails unless the file at `path` holds `expected`. With `UPDATE_SAMPLES` set, makes it hold that.
#[expect(clippy::disallowed_methods, reason = "a test has no other argument than its environment")]
fn keep(path: &Path, expected: &str) {
    if std::fs::read_to_string(path).unwrap_or_default() == expected {
        return;
    }
    let update = std::env::var_os("UPDATE_SAMPLES").is_some();
    assert!(update, "{} is out of date; run `UPDATE_SAMPLES=1 cargo test samples`", path.display());
    std::fs::write(path, expected).unwrap();
}

#[test]
fn samples_are_signed_as_their_senders_sign() {
    let readme = std::fs::read_to_string(events().join("README.md")).unwrap();
    for system in SYSTEMS {
        let scheme = compiled(system).unwrap();
        for (name, sample) in samples(system).unwrap() {
            let path = events().join(system).join(format!("{name}.json"));
            let text = std::fs::read_to_string(&path).unwrap();
            let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(sample["system_id"], system, "{}", path.display());
            assert!(
                readme.contains(&format!("({system}/{name}.json)")),
                "{} isn't in events/README.md",
                path.display()
            );
            let at = file.signed.as_ref().map_or(SIGNED_AT, |signed| signed.at.as_str());
            let now: Timestamp = at.parse().unwrap();
            let body = sample["body"].to_string();
            let headers = signed(&scheme, URL, &body, &name, now).unwrap();
            verify(&scheme, &headers, &body, now);
            keep(&path, &file.with(at, &headers));
        }
    }
}

/// The function that receives the sample takes its signature, at that time.
fn verify(integration: &Integration, headers: &[(String, String)], body: &str, now: Timestamp) {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect();
    let url = format!("{URL}/webhooks/{TENANT}/{}", integration.system_id);
    let request = SignedRequest { method: "POST", url: &url, headers: &headers, body: body.as_bytes() };
    let verified = integration.scheme.verify(&request, &[&secret(integration.system_id.as_str())], now);
    assert!(verified.is_ok(), "{}: {verified:?}", integration.system_id);
}
