//! The rules of the schemes that need no configuration (public contract, §2).

use http::HeaderName;
use jiff::SignedDuration;

use super::{
    header::TimestampUnit,
    mac::{Algorithm, Encoding},
    rule::{Layout, Rewriting, Rule, SecretEncoding, SignatureField, TimestampField},
    template::{Part, Template},
};

/// How far past or future a signed time may be by default, inclusive: what Stripe's and the Standard Webhooks libraries
/// take too.
pub const TOLERANCE_SECONDS_DEFAULT: i64 = 300;

/// `X-Webhook-Signature: sha256=<hex>` of the raw body, or of its canonical form.
pub(super) fn custom() -> Rule {
    Rule { rewriting: Rewriting::CanonicalBody, ..body_in_hex("x-webhook-signature") }
}

/// `X-Hub-Signature-256: sha256=<hex>`
/// (<https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>).
pub(super) fn github() -> Rule {
    body_in_hex("x-hub-signature-256")
}

fn body_in_hex(header: &'static str) -> Rule {
    Rule {
        algorithm: Algorithm::Sha256,
        secret_encoding: SecretEncoding::Utf8,
        template: Template::new(vec![Part::Body]),
        signature: SignatureField {
            header: HeaderName::from_static(header),
            layout: Layout::Single,
            prefix: "sha256=".to_owned(),
            encoding: Encoding::Hex,
        },
        id_header: None,
        timestamp: None,
        rewriting: Rewriting::None,
    }
}

/// `Stripe-Signature: t=…,v1=<hex>[,v1=<hex>]` of `t.body`, keyed with the whole `whsec_…`; other versions, such as the
/// `v0` of test events, are passed over (<https://docs.stripe.com/webhooks/signature>).
pub(super) fn stripe() -> Rule {
    let header = HeaderName::from_static("stripe-signature");
    Rule {
        algorithm: Algorithm::Sha256,
        secret_encoding: SecretEncoding::Utf8,
        template: Template::new(vec![Part::Timestamp, Part::Literal(".".to_owned()), Part::Body]),
        signature: SignatureField {
            header: header.clone(),
            layout: Layout::Pairs("v1".to_owned()),
            prefix: String::new(),
            encoding: Encoding::Hex,
        },
        id_header: None,
        timestamp: Some(timestamp_in_seconds(header, Some("t".to_owned()))),
        rewriting: Rewriting::None,
    }
}

/// Standard Webhooks with its own header names, or with Svix's: names of the two are not mixed in one request.
pub(super) fn standard() -> [Rule; 2] {
    [
        standard_with(["webhook-id", "webhook-timestamp", "webhook-signature"]),
        standard_with(["svix-id", "svix-timestamp", "svix-signature"]),
    ]
}

/// A list of `v1,<base64>` of `id.timestamp.body`, keyed with the base64 after `whsec_`; other versions are passed over
/// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
fn standard_with(headers: [&'static str; 3]) -> Rule {
    let [id, timestamp, signature] = headers.map(HeaderName::from_static);
    let dot = || Part::Literal(".".to_owned());
    Rule {
        algorithm: Algorithm::Sha256,
        secret_encoding: SecretEncoding::Base64,
        template: Template::new(vec![Part::Id, dot(), Part::Timestamp, dot(), Part::Body]),
        signature: SignatureField {
            header: signature,
            layout: Layout::List,
            prefix: "v1,".to_owned(),
            encoding: Encoding::Base64,
        },
        id_header: Some(id),
        timestamp: Some(timestamp_in_seconds(timestamp, None)),
        rewriting: Rewriting::None,
    }
}

fn timestamp_in_seconds(header: HeaderName, pair: Option<String>) -> TimestampField {
    let tolerance = SignedDuration::from_secs(TOLERANCE_SECONDS_DEFAULT);
    TimestampField { header, pair, unit: TimestampUnit::Seconds, tolerance }
}
