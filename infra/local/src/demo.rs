//! `cargo local --demo`: a tenant with every system, every sample of `events/` sent over HTTP, what came of it, and what an
//! endpoint was told.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

mod deliveries;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use shared::ids::SystemId;
use shared::integration::{Integration, IntegrationConfig};
use shared::signature::UnsignedRequest;

use self::deliveries::Receiver;

/// The tenant that the demo makes.
pub const TENANT: &str = "tenant_demo";
/// The number that the samples are about.
const NUMBER: &str = "+14155550132";
/// The systems in the order in which their samples go out: calls first, because payments need the number known.
const SYSTEMS: [&str; 6] = ["sarah_ai", "helpdesk", "external_crm", "payment_processor", "stripe", "github"];

/// Why the demo can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The folder `events` isn't where the binary was built.
    #[error("The sample {path} can't be read: {reason}. Run `cargo local --demo` in the repository.")]
    Sample {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The hub didn't answer.
    #[error("The hub didn't answer: {0}")]
    Http(#[from] reqwest::Error),
    /// The hub answered something else than the demo expects.
    #[error("The hub refused the demo: {0}")]
    Refused(String),
}

/// The webhook secret of a demo tenant's system. Known to everybody, so that a signed sample can be kept in a file and a
/// `curl` line be pasted twice; nobody but this machine can reach what it opens.
#[must_use]
pub fn secret(system: &str) -> String {
    let text = format!("{system:-<24}demo-secret-of-cargo-local");
    format!("whsec_{}", BASE64.encode(text))
}

/// Makes the tenant, sends every sample to the hub at `url`, whose AWS services are at `aws_url`, and gives what a person
/// should read.
///
/// # Errors
/// When a sample can't be read, or the hub doesn't answer as it should.
pub async fn run(url: &str, aws_url: &str, now: impl Fn() -> Timestamp) -> Result<String, DemoError> {
    let client = crate::client();
    let key = provision(&client, url).await?;
    let mut receiver = Receiver::subscribe(&client, url, aws_url, &key).await?;
    let (mut text, mut told) = (String::new(), String::new());
    let _ = writeln!(text, "\n{:<18} {:<30} {:<14} what came of it", "system", "event", "answer");
    for system in SYSTEMS {
        let integration = compiled(system)?;
        for (name, sample) in &samples(system)? {
            let body = sample["body"].to_string();
            let mut request = client.post(format!("{url}/webhooks/{TENANT}/{system}")).body(body.clone());
            for (header, value) in sample["headers"].as_object().into_iter().flatten() {
                request = request.header(header, value.as_str().unwrap_or_default());
            }
            for (header, value) in signed(&integration, url, &body, name, now())? {
                request = request.header(header, value);
            }
            let response = request.send().await?;
            let (status, answer) = (response.status().as_u16(), response.json::<Value>().await?);
            let outcome = format!("{status} {}", answer.get("status").and_then(Value::as_str).unwrap_or_default());
            let _ = writeln!(text, "{system:<18} {name:<30} {outcome:<14} {}", came_of_it(&answer));
            told.push_str(&receiver.lines(name).await?);
        }
    }
    let _ = writeln!(text, "\nWhat the built-in receiver at {aws_url}{} was told:\n", crate::receiver::PATH);
    let _ = writeln!(text, "{:<30} {:<34} {:<42} event id\n{told}", "of sample", "webhook", "signatures");
    let phone: Value = get(&client, &format!("{url}/v1/phone-numbers/{NUMBER}"), &key).await?;
    let _ = writeln!(text, "\nWhat the CRM knows of {NUMBER} now:\n{phone:#}");
    let _ = writeln!(text, "\n{}", invitation(url, &key, now())?);
    Ok(text)
}

/// Makes the tenant, or finds it, and gives a key of it.
async fn provision(client: &reqwest::Client, url: &str) -> Result<String, DemoError> {
    let mut integrations = Vec::new();
    for system in SYSTEMS {
        let mut integration = own_integration(system)?.unwrap_or_default();
        integration.insert("system_id".into(), system.into());
        integration.insert("webhook_secret".into(), secret(system).into());
        integrations.push(Value::Object(integration));
    }
    let request = json!({"tenant_id": TENANT, "name": "Demo", "default_region": "US", "reissue_api_key": true, "integrations": integrations});
    let invoke = format!("{url}/2015-03-31/functions/provision-tenant/invocations");
    let answer: Value = client.post(invoke).json(&request).send().await?.json().await?;
    let key = answer.get("api_key").and_then(Value::as_str);
    key.map(str::to_owned).ok_or_else(|| DemoError::Refused(answer.to_string()))
}

async fn get(client: &reqwest::Client, url: &str, key: &str) -> Result<Value, DemoError> {
    Ok(client.get(url).bearer_auth(key).send().await?.json().await?)
}

/// The interesting part of an answer, short.
fn came_of_it(answer: &Value) -> String {
    let data = answer["data"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, id)| format!("{name} {}", id.as_str().unwrap_or_default()));
    let error = ["error", "detail"].iter().filter_map(|field| answer[*field].as_str()).map(str::to_owned);
    let ignored = (answer["status"] == "ignored").then(|| "kept; no mapping names this event".to_owned());
    data.chain(error).chain(ignored).collect::<Vec<_>>().join(", ")
}

/// Two lines to paste: one more webhook, and a look at what it did.
fn invitation(url: &str, key: &str, now: Timestamp) -> Result<String, DemoError> {
    let stamp = now.as_millisecond();
    let body = json!({"event_id": format!("evt_{stamp}"), "event_type": "call.ended", "timestamp": now.strftime("%FT%TZ").to_string(),
        "call": {"id": format!("call_{stamp}"), "destination_number": NUMBER, "duration_seconds": 65, "disposition": "SALE"},
        "agent": {"name": "Sarah"}})
    .to_string();
    let headers = signed(&compiled("sarah_ai")?, url, &body, "", now)?;
    let headers = headers.iter().map(|(name, value)| format!("-H '{name}: {value}'")).collect::<Vec<_>>().join(" ");
    Ok(format!(
        "Send one more (and once again: it stays one):\n\n  curl -s {url}/webhooks/{TENANT}/sarah_ai -H 'content-type: application/json' {headers} -d '{body}'\n\n\
         See what it did:\n\n  curl -s {url}/v1/phone-numbers/{NUMBER} -H 'authorization: Bearer {key}'\n"
    ))
}

/// The headers with which `system`'s sender signs `body`.
///
/// # Errors
/// When the integration's scheme can't sign with its secret.
pub fn signed(
    integration: &Integration,
    url: &str,
    body: &str,
    id: &str,
    now: Timestamp,
) -> Result<Vec<(String, String)>, DemoError> {
    let system = &integration.system_id;
    let url = format!("{url}/webhooks/{TENANT}/{system}");
    let request = UnsignedRequest { method: "POST", url: &url, body: body.as_bytes() };
    let signed = integration.scheme.sign(&request, &format!("msg_{id}"), &[&secret(system.as_str())], now);
    let signed = signed.map_err(|error| DemoError::Refused(error.to_string()))?;
    Ok(signed
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect())
}

/// The demo tenant's integration with `system`.
///
/// # Errors
/// When the system's `integration.json` isn't one.
pub fn compiled(system: &str) -> Result<Integration, DemoError> {
    let refused = |reason: String| DemoError::Sample { path: events().join(system).join("integration.json"), reason };
    let config = Value::Object(own_integration(system)?.unwrap_or_default());
    let config: IntegrationConfig = serde_json::from_value(config).map_err(|error| refused(error.to_string()))?;
    let system_id = SystemId::parse(system).map_err(|error| refused(error.to_string()))?;
    Integration::compile(system_id, config).map_err(|errors| refused(format!("{errors:?}")))
}

/// What `events/SYSTEM/integration.json` says, where there is one.
fn own_integration(system: &str) -> Result<Option<Map<String, Value>>, DemoError> {
    let path = events().join(system).join("integration.json");
    if path.exists() { read(&path).map(|value| value.as_object().cloned()) } else { Ok(None) }
}

/// The samples of a system by name, in the order of what they say happened.
fn samples(system: &str) -> Result<Vec<(String, Value)>, DemoError> {
    let folder = events().join(system);
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| DemoError::Sample { path: folder.clone(), reason: error.to_string() })?;
    let mut samples = Vec::new();
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let sample = read(&path)?;
        if sample.get("body").is_some() {
            samples.push((name, sample));
        }
    }
    let at = |sample: &Value| {
        let body = sample.get("body")?;
        ["timestamp", "created_at", "occurred_at"].iter().find_map(|field| body.get(field)?.as_str().map(str::to_owned))
    };
    samples.sort_by_key(|(name, sample)| (at(sample), name.clone()));
    Ok(samples)
}

fn read(path: &Path) -> Result<Value, DemoError> {
    let failed = |reason: String| DemoError::Sample { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}

fn events() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events")
}

#[cfg(test)]
mod tests;
