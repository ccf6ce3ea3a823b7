//! Template configurations of well-known senders, as their documentation gives them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    config::TemplateConfig,
    header::TimestampUnit,
    mac::{Algorithm, Encoding},
};

/// A sender with a known template. Fields given beside a preset take the place of the preset's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// `HubSpot`'s signature v3, keyed with the app's client secret. Some escapes of the URL are decoded first
    /// (<https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation>).
    HubspotV3,
    /// Slack's signing secret, version 0 (<https://docs.slack.dev/authentication/verifying-requests-from-slack>).
    Slack,
    /// Shopify, keyed with the app's client secret
    /// (<https://shopify.dev/docs/apps/build/webhooks/subscribe/https#step-2-validate-the-origin-of-your-webhook>).
    Shopify,
    /// Square, keyed with the subscription's signature key
    /// (<https://developer.squareup.com/docs/webhooks/step3validate>).
    Square,
    /// Retell AI, keyed with the API key, as its SDK does it
    /// (<https://github.com/RetellAI/retell-typescript-sdk/blob/main/src/lib/webhook_auth.ts>).
    Retell,
    /// Vapi's custom credential of the type HMAC (<https://docs.vapi.ai/server-url/server-authentication>), set to
    /// SHA-256, signature header `x-vapi-signature`, hex, and a payload of the body alone. A credential that keeps
    /// Vapi's own defaults needs `"signature_header":"x-signature"`, `"timestamp_header":"x-timestamp"` and
    /// `"template":"{timestamp}.{body}"` beside the preset; Vapi doesn't say in which unit its time is.
    ///
    /// The plain `X-Vapi-Secret` header is not taken: it is no signature, it says nothing about the body.
    Vapi,
}

impl Preset {
    /// The template fields of this sender.
    pub(super) fn config(self) -> TemplateConfig {
        let body = TemplateConfig {
            algorithm: Some(Algorithm::Sha256),
            template: text("{body}"),
            ..TemplateConfig::default()
        };
        match self {
            Self::HubspotV3 => TemplateConfig {
                template: text("{method}{url}{body}{timestamp}"),
                signature_header: text("x-hubspot-signature-v3"),
                encoding: Some(Encoding::Base64),
                timestamp_header: text("x-hubspot-request-timestamp"),
                timestamp_unit: Some(TimestampUnit::Milliseconds),
                ..body
            },
            Self::Slack => TemplateConfig {
                template: text("v0:{timestamp}:{body}"),
                signature_header: text("x-slack-signature"),
                prefix: text("v0="),
                timestamp_header: text("x-slack-request-timestamp"),
                ..body
            },
            Self::Shopify => TemplateConfig {
                signature_header: text("x-shopify-hmac-sha256"),
                encoding: Some(Encoding::Base64),
                ..body
            },
            Self::Square => TemplateConfig {
                template: text("{url}{body}"),
                signature_header: text("x-square-hmacsha256-signature"),
                encoding: Some(Encoding::Base64),
                ..body
            },
            Self::Retell => TemplateConfig {
                template: text("{body}{timestamp}"),
                signature_header: text("x-retell-signature"),
                signature_pair: text("d"),
                timestamp_pair: text("v"),
                timestamp_unit: Some(TimestampUnit::Milliseconds),
                ..body
            },
            Self::Vapi => TemplateConfig { signature_header: text("x-vapi-signature"), ..body },
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every field that it fills is optional")]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}
