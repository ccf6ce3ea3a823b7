use serde_json::{Value, json};

use super::*;

fn parse(config: Value) -> Result<SignatureConfig, serde_json::Error> {
    serde_json::from_value(config)
}

/// The fields that are wrong in a template configuration.
fn wrong_fields(config: Value) -> Vec<&'static str> {
    let config = SignatureConfig::Template(serde_json::from_value(config).expect("known fields"));
    let errors = config.compile().err().unwrap_or_default();
    errors.into_iter().map(|error| error.field).collect()
}

#[test]
fn what_serde_reads_it_writes_again() {
    let configs = [
        json!({"scheme": "auto"}),
        json!({"scheme": "custom"}),
        json!({"scheme": "github"}),
        json!({"scheme": "stripe"}),
        json!({"scheme": "standard"}),
        json!({"scheme": "template", "preset": "hubspot_v3", "tolerance_seconds": 60}),
        json!({
            "scheme": "template", "algorithm": "sha512", "template": "{id}.{timestamp}.{body}", "signature_header": "X-Sig",
            "signature_pair": "s", "prefix": "v1:", "encoding": "base64", "secret_encoding": "base64", "id_header": "X-Id",
            "timestamp_header": "X-Sig", "timestamp_pair": "t", "timestamp_unit": "milliseconds", "tolerance_seconds": 0,
        }),
    ];
    for config in configs {
        let parsed = parse(config.clone()).expect("a configuration");
        assert!(parsed.compile().is_ok(), "{config}");
        assert_eq!(serde_json::to_value(parsed).expect("JSON"), config);
    }
}

#[test]
fn unknown_names_are_refused() {
    let configs = [
        json!({}),
        json!({"preset": "slack"}),
        json!({"scheme": "gitlab"}),
        json!({"scheme": "github", "preset": "slack"}),
        json!({"scheme": "auto", "tolerance_seconds": 600}),
        json!({"scheme": "template", "preset": "hubspot"}),
        json!({"scheme": "template", "algorithm": "md5"}),
        json!({"scheme": "template", "header": "x-signature"}),
        json!("github"),
    ];
    for config in configs {
        assert!(parse(config.clone()).is_err(), "{config}");
    }
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let cases: [(Value, &[&str]); 20] = [
        (json!({}), &["signature_header", "template"]),
        (json!({"signature_header": "x y", "template": ""}), &["signature_header", "template"]),
        (json!({"signature_header": "", "template": "{body}"}), &["signature_header"]),
        (json!({"signature_header": "x-sig", "template": "{timestamp}"}), &["template"]),
        (json!({"signature_header": "x-sig", "template": "{body}{nonce}"}), &["template"]),
        (json!({"signature_header": "x-sig", "template": "{body}}"}), &["template"]),
        (json!({"signature_header": "x-sig", "template": "{body}{"}), &["template"]),
        (json!({"signature_header": "x-sig", "template": "{bo{body}dy}"}), &["template"]),
        (json!({"signature_header": "x-sig", "template": format!("{{body}}{}", "x".repeat(1024))}), &["template"]),
        (
            json!({"signature_header": "x-sig", "template": "{body}", "prefix": "a b", "signature_pair": "a=b"}),
            &["signature_pair", "prefix"],
        ),
        (json!({"signature_header": "x-sig", "template": "{body}", "prefix": "x".repeat(65)}), &["prefix"]),
        // What is signed needs its header, and a header that isn't signed proves nothing.
        (json!({"signature_header": "x-sig", "template": "{id}{timestamp}{body}"}), &["timestamp_header", "id_header"]),
        (
            json!({"signature_header": "x-sig", "template": "{body}", "id_header": "x-id", "timestamp_header": "x-time"}),
            &["timestamp_header", "id_header"],
        ),
        (
            json!({"signature_header": "x-sig", "template": "{body}", "signature_pair": "s", "timestamp_pair": "t"}),
            &["timestamp_pair"],
        ),
        (json!({"preset": "slack", "template": "{body}"}), &["timestamp_header"]),
        (
            json!({"preset": "slack", "timestamp_header": "x time", "tolerance_seconds": -1}),
            &["timestamp_header", "tolerance_seconds"],
        ),
        (json!({"preset": "slack", "tolerance_seconds": 86_401}), &["tolerance_seconds"]),
        // Two things in one header need names.
        (json!({"preset": "slack", "timestamp_header": "X-Slack-Signature"}), &["timestamp_header"]),
        (json!({"preset": "retell", "timestamp_pair": "d"}), &["timestamp_pair"]),
        (
            json!({"preset": "retell", "signature_header": "?", "timestamp_pair": "", "tolerance_seconds": i64::MIN}),
            &["signature_header", "timestamp_pair", "tolerance_seconds"],
        ),
    ];
    for (config, fields) in cases {
        assert_eq!(wrong_fields(config.clone()), fields, "{config}");
    }
}

#[test]
fn given_fields_take_the_place_of_the_presets() {
    for config in [
        json!({"preset": "slack", "tolerance_seconds": 86_400}),
        json!({"preset": "slack", "signature_header": "X-Other", "algorithm": "sha512", "encoding": "base64"}),
        json!({"preset": "retell", "timestamp_header": "x-time"}),
        json!({"preset": "shopify", "template": "{id}{body}", "id_header": "X-Shopify-Webhook-Id"}),
    ] {
        assert_eq!(wrong_fields(config.clone()), [""; 0], "{config}");
    }
}

#[test]
fn an_error_reads_as_a_sentence() {
    let config =
        TemplateConfig { preset: Some(Preset::Slack), tolerance_seconds: Some(-1), ..TemplateConfig::default() };
    let errors = SignatureConfig::Template(config).compile().expect_err("a negative tolerance");
    assert_eq!(errors[0].to_string(), "`tolerance_seconds` must be from 0 to 86400");
}
