//! The body of an outgoing webhook and its headers (contract §6). Pure.
//!
//! Every attempt is signed anew, because it says how many there were before and when it was signed; `webhook-id` and
//! `X-Webhook-Signature` stay the same.

use std::{fmt::Write, sync::LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;

use crate::{
    event::{Event, SOURCE_SYSTEM},
    ids::TenantId,
    signature::{Scheme, SignError, SignatureConfig, UnsignedRequest},
};

/// Contract §6.
const USER_AGENT: HeaderValue = HeaderValue::from_static("SMRT-CRM-Webhooks/1.0");
const VERSION: &str = "1.0";

/// `None` can't be: the scheme has no settings that could be wrong.
static STANDARD: LazyLock<Option<Scheme>> = LazyLock::new(|| SignatureConfig::Standard {}.compile().ok());
static CUSTOM: LazyLock<Option<Scheme>> = LazyLock::new(|| SignatureConfig::Custom {}.compile().ok());

/// The body and `X-Webhook-Signature`, that is also in it. `secrets` are those that count, the newest first.
#[must_use]
pub fn build(tenant: &TenantId, id: &str, event: &Event, retry_count: u32, secrets: &[&str]) -> (String, String) {
    let signature = signature_of(&event.data, secrets);
    let mut body = String::with_capacity(event.data.len() + 400);
    // Nothing but `data`, that is JSON already, could need escaping: ids, types, times and hex digits.
    let _ = write!(
        body,
        "{{\"event_id\":\"{id}\",\"event_type\":\"{}\",\"timestamp\":\"{}\",\"source_system\":\"{SOURCE_SYSTEM}\",\
         \"tenant_id\":\"{tenant}\",\"data\":{},\
         \"metadata\":{{\"retry_count\":{retry_count},\"signature\":\"{signature}\",\"version\":\"{VERSION}\"}}}}",
        event.event_type.as_str(),
        event.at,
        event.data,
    );
    (body, signature)
}

/// `sha256=<hex>` of the canonical form of `data`, keyed with the whole of the newest secret.
fn signature_of(data: &str, secrets: &[&str]) -> String {
    let request = UnsignedRequest { method: "POST", url: "", body: data.as_bytes() };
    let newest = secrets.get(..1).unwrap_or_default();
    let signed = CUSTOM.as_ref().map(|scheme| scheme.sign(&request, "", newest, Timestamp::UNIX_EPOCH));
    let header = signed.and_then(Result::ok).and_then(|headers| headers.into_iter().next());
    header.and_then(|(_, value)| Some(value.to_str().ok()?.to_owned())).unwrap_or_default()
}

/// The headers: the subscription's own, then those that say what it is and sign the exact `body`.
///
/// # Errors
/// [`SignError`] where no secret can be a key.
pub fn headers(
    own: &HeaderMap,
    id: &str,
    event: &Event,
    (body, signature): (&str, &str),
    (secrets, now): (&[&str], Timestamp),
) -> Result<HeaderMap, SignError> {
    let mut headers = own.clone();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(HeaderName::from_static("x-webhook-event"), HeaderValue::from_static(event.event_type.as_str()));
    headers.insert(HeaderName::from_static("x-webhook-signature"), HeaderValue::from_str(signature)?);
    let request = UnsignedRequest { method: "POST", url: "", body: body.as_bytes() };
    let scheme = STANDARD.as_ref().ok_or(SignError::UnusableSecret)?;
    headers.extend(scheme.sign(&request, id, secrets, now)?);
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::EventType;

    const OLD: &str = "whsec_b2xkIHNlY3JldCBvZiAyNCBieXRlcyEh";
    const NEW: &str = "whsec_bmV3IHNlY3JldCBvZiAyNCBieXRlcyEh";

    fn signed(secrets: &[&str], now: Timestamp) -> (String, HeaderMap) {
        let tenant = TenantId::parse("tenant_abc123").unwrap();
        let event =
            Event::transient(EventType::PhoneNumberCreated, now, &json!({"phone_number": "+14155550132", "ß": 1.50}));
        let (body, signature) = build(&tenant, "evt_1", &event, 2, secrets);
        let own = HeaderMap::from_iter([(HeaderName::from_static("x-own"), HeaderValue::from_static("1"))]);
        let headers = headers(&own, "evt_1", &event, (&body, &signature), (secrets, now)).unwrap();
        (body, headers)
    }

    /// The second opinion: <https://crates.io/crates/standardwebhooks>. It has its own clock, so the time is the present.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the library reads the clock itself")]
    fn the_reference_library_verifies_with_either_secret_of_a_rotation() {
        let (body, headers) = signed(&[NEW, OLD], Timestamp::now());
        for secret in [NEW, OLD] {
            standardwebhooks::Webhook::new(secret).unwrap().verify(body.as_bytes(), &headers).unwrap();
        }
        let (body, headers) = signed(&[NEW], Timestamp::now());
        assert!(standardwebhooks::Webhook::new(OLD).unwrap().verify(body.as_bytes(), &headers).is_err());
    }

    #[test]
    fn body_and_headers_are_what_the_contract_says() {
        let at: Timestamp = "2024-01-15T10:30:00Z".parse().unwrap();
        let (body, headers) = signed(&[NEW, OLD], at);
        let body: Value = serde_json::from_str(&body).unwrap();
        let signature = headers["x-webhook-signature"].to_str().unwrap();
        assert_eq!(
            body,
            json!({"event_id": "evt_1", "event_type": "phone_number.created", "timestamp": "2024-01-15T10:30:00Z",
                "source_system": "smrt_crm", "tenant_id": "tenant_abc123",
                "data": {"phone_number": "+14155550132", "ß": 1.5},
                "metadata": {"retry_count": 2, "signature": signature, "version": "1.0"}})
        );
        // Python: hmac.new(NEW.encode(), json.dumps(data, sort_keys=True, separators=(',', ':')).encode(), 'sha256')
        assert_eq!(signature, "sha256=f733bbb4e89d4abeab2ea88d5a24bec95dd88bebbe023fd6ce27d34f49c835ee");
        let header = |name: &str| headers[name].to_str().unwrap();
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("user-agent"), "SMRT-CRM-Webhooks/1.0");
        assert_eq!(header("x-webhook-event"), "phone_number.created");
        assert_eq!((header("webhook-id"), header("webhook-timestamp")), ("evt_1", "1705314600"));
        assert_eq!(header("webhook-signature").split(' ').filter(|s| s.starts_with("v1,")).count(), 2);
        assert_eq!(header("x-own"), "1");
    }
}
