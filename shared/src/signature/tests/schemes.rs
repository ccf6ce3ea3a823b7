//! What is particular to a scheme, and that each verifies what it signs.

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{collection::vec, prelude::*, test_runner::Config};

use super::*;

#[test]
fn every_scheme_verifies_what_it_signs_and_nothing_else() {
    for config in all_configs() {
        let scheme = scheme(&config);
        let request = Request::signed(b"{\"a\":1}", &scheme, &[SECRET], at(NOW));
        assert!(request.verify(&scheme, &[SECRET], at(NOW)).is_ok(), "{config}");
        let forged = Request { body: b"{\"a\":2}".to_vec(), ..request.clone() };
        assert_eq!(forged.verify(&scheme, &[SECRET], at(NOW)), Err(SignatureError::Mismatch), "{config}");
        let stranger = STANDARD.encode("another secret");
        assert_eq!(request.verify(&scheme, &[&stranger], at(NOW)), Err(SignatureError::Mismatch), "{config}");
        assert_eq!(request.verify(&scheme, &[], at(NOW)), Err(SignatureError::Mismatch), "{config}");
        for name in request.headers.keys() {
            let mut without = request.clone();
            without.headers.remove(name);
            let missing = Err(SignatureError::Missing { header: name.clone() });
            assert_eq!(without.verify(&scheme, &[SECRET], at(NOW)), missing, "{config}");
        }
    }
}

#[test]
fn during_a_rotation_both_secrets_verify() {
    let (old, new) = (SECRET, "whsec_bmV3IHNlY3JldA==");
    for config in all_configs() {
        let scheme = scheme(&config);
        for secrets in [[old, new], [new, old]] {
            let by_old = Request::signed(b"{}", &scheme, &[old], at(NOW));
            assert!(by_old.verify(&scheme, &secrets, at(NOW)).is_ok(), "{config}");
        }
        // A sender that rotates signs with both where its header has room for two.
        let by_both = Request::signed(b"{}", &scheme, &[new, old], at(NOW));
        assert!(by_both.verify(&scheme, &[new], at(NOW)).is_ok(), "{config}");
        let has_room = ["auto", "stripe", "standard"].map(Value::from).contains(&config["scheme"])
            || config["preset"] == "retell"
            || config["signature_pair"] == "sig";
        assert_eq!(by_both.verify(&scheme, &[old], at(NOW)).is_ok(), has_room, "{config}");
    }
}

#[test]
fn an_empty_or_unusable_secret_neither_verifies_nor_signs() {
    for config in all_configs() {
        let scheme = scheme(&config);
        let needs_base64 =
            ["auto", "standard"].map(Value::from).contains(&config["scheme"]) || config["secret_encoding"] == "base64";
        let unusable: &[&str] = if needs_base64 { &["", "whsec_", "not base64!"] } else { &[""] };
        for secret in unusable {
            let unsigned = UnsignedRequest { method: "POST", url: "https://example.com", body: b"{}" };
            let signed = scheme.sign(&unsigned, "msg_1", &[secret], at(NOW));
            assert!(matches!(signed, Err(SignError::UnusableSecret)), "{config} {secret}");
            let request = Request::signed(b"{}", &scheme, &[SECRET], at(NOW));
            assert_eq!(request.verify(&scheme, &[secret], at(NOW)), Err(SignatureError::Mismatch));
            assert!(request.verify(&scheme, &[secret, SECRET], at(NOW)).is_ok(), "{config} {secret}");
        }
    }
}

#[test]
fn what_is_signed_is_reported() {
    let standard = scheme(&json!({"scheme": "standard"}));
    let request = Request::signed(b"{}", &standard, &[SECRET], at(NOW));
    let expected = Verified { signed_id: Some("msg_1".to_owned()), signed_at: Some(at(NOW)) };
    assert_eq!(request.verify(&standard, &[SECRET], at(NOW)), Ok(expected));
    // An id that nobody signed is worth nothing.
    let github = scheme(&json!({"scheme": "github"}));
    let request = Request::signed(b"{}", &github, &[SECRET], at(NOW)).with("webhook-id", "msg_2");
    assert_eq!(request.verify(&github, &[SECRET], at(NOW)), Ok(Verified { signed_id: None, signed_at: None }));
}

#[test]
fn custom_takes_the_canonical_form_too() {
    // hmac.new(b"secret", json.dumps(json.loads(body), sort_keys=True, separators=(',', ':')).encode(), "sha256")
    let signature = "sha256=d0145c6558b3bf7792c4d175f1f094a3e30275347ce43a45935c09ccd4f44a37";
    let custom = scheme(&json!({"scheme": "custom"}));
    let bodies =
        ["{\"b\": 1e16, \"a\": \"é\"}", "{\"a\":\"\\u00e9\",\"b\":1e+16}", "\n{\"a\":\"\\u00E9\",\"b\":1,\"b\":1E16}"];
    for body in bodies {
        let request = Request::new(body.as_bytes()).with("X-Webhook-Signature", signature);
        assert!(request.verify(&custom, &["secret"], at(NOW)).is_ok(), "{body}");
        assert!(request.verify(&custom, &["new", "secret"], at(NOW)).is_ok(), "{body}");
        assert_eq!(request.verify(&custom, &["other"], at(NOW)), Err(SignatureError::Mismatch), "{body}");
    }
    let other = Request::new(b"{\"a\": \"\\u00e9\", \"b\": 1e15}").with("X-Webhook-Signature", signature);
    assert_eq!(other.verify(&custom, &["secret"], at(NOW)), Err(SignatureError::Mismatch));
}

#[test]
fn github_signs_no_canonical_form() {
    let canonical = Request::signed(b"{\"a\":1}", &scheme(&json!({"scheme": "github"})), &[SECRET], at(NOW));
    let spaced = Request { body: b"{\"a\": 1}".to_vec(), ..canonical };
    let verified = spaced.verify(&scheme(&json!({"scheme": "github"})), &[SECRET], at(NOW));
    assert_eq!(verified, Err(SignatureError::Mismatch));
}

#[test]
fn hexadecimal_digits_may_be_capitals() {
    let custom = scheme(&json!({"scheme": "custom"}));
    let mut request = Request::signed(b"{}", &custom, &[SECRET], at(NOW));
    let signature = request.headers["x-webhook-signature"].to_str().expect("text").to_ascii_uppercase();
    request.headers.clear();
    let lower_prefix = request.with("x-webhook-signature", &signature.replace("SHA256", "sha256"));
    assert!(lower_prefix.verify(&custom, &[SECRET], at(NOW)).is_ok());
}

#[test]
fn auto_goes_by_the_header_and_timed_schemes_come_first() {
    let auto = scheme(&json!({"scheme": "auto"}));
    let sign = |name: &str| Request::signed(b"{}", &scheme(&json!({"scheme": name})), &[SECRET], at(NOW));
    for name in ["custom", "github", "stripe", "standard"] {
        assert!(sign(name).verify(&auto, &[SECRET], at(NOW)).is_ok(), "{name}");
        assert!(sign(name).verify(&auto, &["another"], at(NOW)).is_err(), "{name}");
    }
    let mut both = sign("github");
    both.headers.extend(sign("stripe").headers);
    assert!(both.verify(&auto, &[SECRET], at(NOW)).is_ok());
    assert!(matches!(both.verify(&auto, &[SECRET], at(NOW + 301)), Err(SignatureError::Stale { .. })));
    let missing = SignatureError::Missing { header: HeaderName::from_static("webhook-signature") };
    assert_eq!(Request::new(b"{}").verify(&auto, &[SECRET], at(NOW)), Err(missing));
}

#[test]
fn svix_names_do_as_well_but_are_not_mixed_with_the_standard_ones() {
    let standard = scheme(&json!({"scheme": "standard"}));
    let request = Request::signed(b"{}", &standard, &[SECRET], at(NOW));
    let renamed = |part: &str| {
        let value = request.headers[format!("webhook-{part}")].to_str().expect("text");
        (format!("svix-{part}"), value.to_owned())
    };
    let svix = ["id", "timestamp", "signature"].map(renamed);
    let svix_only = svix.iter().fold(Request::new(b"{}"), |request, (name, value)| request.with(name, value));
    assert!(svix_only.verify(&standard, &[SECRET], at(NOW)).is_ok());
    let mut mixed = svix_only;
    mixed.headers.remove("svix-id");
    let missing = SignatureError::Missing { header: HeaderName::from_static("svix-id") };
    assert_eq!(mixed.with("webhook-id", "msg_1").verify(&standard, &[SECRET], at(NOW)), Err(missing));
}

#[test]
fn a_secret_of_standard_is_base64_with_or_without_its_prefix() {
    let standard = scheme(&json!({"scheme": "standard"}));
    let request = Request::signed(b"{}", &standard, &[SECRET], at(NOW));
    let bare = SECRET.strip_prefix("whsec_").expect("a prefix");
    assert!(request.verify(&standard, &[bare], at(NOW)).is_ok());
}

#[test]
fn hubspot_signs_the_url_with_some_escapes_decoded() {
    let hubspot = scheme(&json!({"scheme": "template", "preset": "hubspot_v3"}));
    let sign = |url: &str| {
        let unsigned = UnsignedRequest { method: "POST", url, body: b"{}" };
        hubspot.sign(&unsigned, "", &["secret"], at(NOW)).expect("a signature")
    };
    let escaped = "https://a.example/%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B%3a?q=%20%26%25%zz%e2%82%ac%2";
    let decoded = "https://a.example/:/?@!$'()*,;:?q=%20%26%25%zz%e2%82%ac%2";
    assert_eq!(sign(escaped), sign(decoded));
    assert_ne!(sign("https://a.example/%26"), sign("https://a.example/&"));
    let square = scheme(&json!({"scheme": "template", "preset": "square"}));
    let sign =
        |url: &str| square.sign(&UnsignedRequest { method: "", url, body: b"" }, "", &["x"], at(NOW)).expect("one");
    assert_ne!(sign(escaped), sign(decoded));
}

#[test]
fn vapi_can_be_set_to_its_own_defaults() {
    let vapi = scheme(&json!({
        "scheme": "template", "preset": "vapi", "signature_header": "x-signature", "timestamp_header": "x-timestamp",
        "template": "{timestamp}.{body}",
    }));
    let request = Request::signed(b"{}", &vapi, &["secret"], at(NOW));
    assert_eq!(request.headers["x-timestamp"], NOW.to_string());
    assert_eq!(request.verify(&vapi, &["secret"], at(NOW)).map(|verified| verified.signed_at), Ok(Some(at(NOW))));
}

#[test]
fn only_slack_has_a_challenge() {
    let payload = json!({"type": "url_verification", "token": "t", "challenge": "c1"});
    for config in all_configs() {
        let expected = (config["preset"] == "slack").then_some("c1");
        assert_eq!(scheme(&config).challenge(&payload), expected, "{config}");
    }
    let slack = scheme(&json!({"scheme": "template", "preset": "slack"}));
    for other in [
        json!({"type": "event_callback", "challenge": "c1"}),
        json!({"challenge": "c1"}),
        json!([]),
        json!({"type": "url_verification", "challenge": 1}),
    ] {
        assert_eq!(slack.challenge(&other), None, "{other}");
    }
}

#[test]
fn an_id_that_no_header_can_hold_is_an_error() {
    let unsigned = UnsignedRequest { method: "POST", url: "https://example.com", body: b"{}" };
    let signed = scheme(&json!({"scheme": "standard"})).sign(&unsigned, "a\nb", &[SECRET], at(NOW));
    assert!(matches!(signed, Err(SignError::UnusableId(_))));
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, cases: 64, ..Config::default() })]

    /// The reference implementation as a second opinion. Its `verify` reads the clock, so its `sign` is asked.
    #[test]
    fn the_standardwebhooks_crate_signs_the_same(key in vec(any::<u8>(), 1..80), id in "[a-zA-Z0-9_]{1,40}", body in ".{0,200}", second in 0..4_000_000_000_i64) {
        let secret = format!("whsec_{}", STANDARD.encode(key));
        let theirs = standardwebhooks::Webhook::new(&secret).expect("a secret").sign(&id, second, body.as_bytes()).expect("a signature");
        let request = Request::new(body.as_bytes())
            .with("webhook-id", &id)
            .with("webhook-timestamp", &second.to_string())
            .with("webhook-signature", &theirs);
        let verified = request.verify(&scheme(&json!({"scheme": "standard"})), &[&secret], at(second));
        prop_assert_eq!(verified, Ok(Verified { signed_id: Some(id), signed_at: Some(at(second)) }));
    }

    #[test]
    fn every_scheme_verifies_what_it_signed(body in vec(any::<u8>(), 0..300), second in 0..4_000_000_000_i64, drift in -300..=300_i64) {
        for config in all_configs() {
            let scheme = scheme(&config);
            let request = Request::signed(&body, &scheme, &[SECRET], at(second));
            prop_assert!(request.verify(&scheme, &[SECRET], at(second + drift)).is_ok());
        }
    }
}
