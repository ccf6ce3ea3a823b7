//! Headers that are no signature: refused, whatever they are, and nothing is given away.

use proptest::{collection::vec, prelude::*, sample::select, test_runner::Config};

use super::*;

use Outcome::{Malformed, Mismatch, Stale};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Malformed,
    Stale,
    Mismatch,
}

/// Signs a request in this scheme, puts `value` in the place of one header, and expects this outcome.
fn check(name: &str, header: &'static str, value: &str, expected: Outcome) {
    let scheme = scheme(&json!({"scheme": name}));
    let mut request = Request::signed(b"{}", &scheme, &[SECRET], at(NOW));
    let header = HeaderName::from_static(header);
    request.headers.insert(&header, HeaderValue::try_from(value).expect("a header value"));
    let outcome = match request.verify(&scheme, &[SECRET], at(NOW)) {
        Err(SignatureError::Malformed { header: named }) if named == header => Malformed,
        Err(SignatureError::Stale { .. }) => Stale,
        Err(SignatureError::Mismatch) => Mismatch,
        other => panic!("{header}: {value} gives {other:?}"),
    };
    assert_eq!(outcome, expected, "{header}: {value}");
}

/// A well-formed signature that fits nothing.
fn hex() -> String {
    "0".repeat(64)
}

/// A well-formed signature that fits nothing.
fn base64() -> String {
    format!("{}=", "A".repeat(43))
}

#[test]
fn custom_and_github_take_one_whole_hex_digest() {
    let hex = hex();
    let short = "0".repeat(63);
    let long = "0".repeat(100_000);
    let malformed = [
        "",
        "sha256=",
        "sha256=é",
        &hex,
        &format!("sha256={short}"),
        &format!("sha256={hex}0"),
        &format!("sha256={short}g"),
        &format!("SHA256={hex}"),
        &format!("sha1={hex}"),
        &format!(" sha256={hex}"),
        &format!("sha256= {short}"),
        &format!("sha256={hex} "),
        &format!("sha256={hex},sha256={hex}"),
        &format!("sha256=+{short}"),
        &format!("sha256={long}"),
    ];
    for (scheme, header) in [("custom", "x-webhook-signature"), ("github", "x-hub-signature-256")] {
        for value in malformed {
            check(scheme, header, value, Malformed);
        }
        check(scheme, header, &format!("sha256={hex}"), Mismatch);
    }
}

#[test]
fn stripe_takes_one_time_and_at_least_one_v1() {
    let hex = hex();
    let malformed = [
        "",
        "t",
        "t=",
        "t=1700000000",
        ",",
        "=",
        "t=1700000000,v1=",
        "t=1700000000,v1=00",
        &format!("v1={hex}"),
        &format!("t=1700000000,v0={hex}"),
        &format!("t=1700000000,V1={hex}"),
        &format!("t=1700000000, v1={hex}"),
        &format!("t=1700000000,t=1700000000,v1={hex}"),
        &format!("t=1700000000,v1={hex}{}", ",v0=0".repeat(HEADER_BYTES_MAX / 5)),
    ];
    for value in malformed {
        check("stripe", "stripe-signature", value, Malformed);
    }
    for value in [format!("t=1700000000,v1={hex}"), format!("v1=x,v0={hex},v1={hex},t=1700000000")] {
        check("stripe", "stripe-signature", &value, Mismatch);
    }
}

#[test]
fn standard_takes_at_least_one_v1() {
    let base64 = base64();
    let malformed = [
        "",
        "v1",
        "v1,",
        "v1a,AAAA",
        "v1,AAAA",
        "v1=AAAA",
        " ",
        ",",
        "sha256=00",
        &base64,
        &format!("v2,{base64}"),
        // Without padding, with bits that mean nothing, and as a proxy joins two headers
        &format!("v1,{}", base64.trim_end_matches('=')),
        &format!("v1,{}B=", "A".repeat(42)),
        &format!("v1,{base64},v1,{base64}"),
    ];
    for value in malformed {
        check("standard", "webhook-signature", value, Malformed);
    }
    for value in [format!("v1,{base64}"), format!("v2,x v1,{base64} v1,y")] {
        check("standard", "webhook-signature", &value, Mismatch);
    }
    check("standard", "webhook-id", "", Malformed);
    for value in ["msg_2", "msg_1 ", "MSG_1"] {
        check("standard", "webhook-id", value, Mismatch);
    }
}

#[test]
fn a_time_is_digits_and_near() {
    let malformed = [
        "",
        "-1700000000",
        "+1700000000",
        "1700000000.0",
        "1e9",
        "0x6553f100",
        " 1700000000",
        "１７",
        "now",
        // Milliseconds, the largest and a too large number, and an absurdly long one
        "1700000000000",
        "9223372036854775807",
        "99999999999999999999",
        &"9".repeat(HEADER_BYTES_MAX),
    ];
    let stale = ["0", "1699999699", "1700000301", "253402207199"];
    for (times, outcome) in [(&malformed[..], Malformed), (&stale[..], Stale)] {
        for time in times {
            check("standard", "webhook-timestamp", time, outcome);
            check("stripe", "stripe-signature", &format!("t={time},v1={}", hex()), outcome);
        }
    }
    // The right time in another spelling is not what was signed.
    for zeros in [1, 100] {
        check("standard", "webhook-timestamp", &format!("{}1700000000", "0".repeat(zeros)), Mismatch);
    }
}

#[test]
fn seconds_where_milliseconds_are_expected_are_stale() {
    let hubspot = scheme(&json!({"scheme": "template", "preset": "hubspot_v3"}));
    let mut request = Request::signed(b"{}", &hubspot, &[SECRET], at(NOW));
    request.headers.insert("x-hubspot-request-timestamp", NOW.into());
    assert!(matches!(request.verify(&hubspot, &[SECRET], at(NOW)), Err(SignatureError::Stale { .. })));
}

#[test]
fn a_doubled_header_is_malformed_even_if_both_are_right() {
    for config in all_configs() {
        let scheme = scheme(&config);
        let request = Request::signed(b"{}", &scheme, &[SECRET], at(NOW));
        for (name, value) in &request.headers {
            let doubled = request.clone().with(name.as_str(), value.to_str().expect("text"));
            let malformed = Err(SignatureError::Malformed { header: name.clone() });
            assert_eq!(doubled.verify(&scheme, &[SECRET], at(NOW)), malformed, "{config}");
        }
    }
}

#[test]
fn errors_and_debug_output_give_nothing_away() {
    let secret = STANDARD_SECRET;
    for config in all_configs() {
        let scheme = scheme(&config);
        let signed = Request::signed(b"{}", &scheme, &[secret], at(NOW));
        let forged = Request { body: b"{ }x".to_vec(), ..signed.clone() };
        let error = forged.verify(&scheme, &[secret], at(NOW)).expect_err("another body");
        let output = format!("{scheme:?} {error:?} {error}");
        assert!(!output.contains(secret.trim_start_matches("whsec_")), "{output}");
        let expected = Request::signed(&forged.body, &scheme, &[secret], at(NOW));
        for value in expected.headers.values().filter_map(|value| value.to_str().ok()) {
            assert!(value == "msg_1" || !output.contains(value), "{output}");
        }
    }
}

const STANDARD_SECRET: &str = "whsec_dGhlIHNlY3JldCB0aGF0IG11c3Qgbm90IGJlIHNlZW4=";

/// Header values made of the pieces of real ones.
fn header_value() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "sha256=",
        "v1",
        "v0=",
        "t=",
        "v=",
        "d=",
        ",",
        "=",
        " ",
        "v1,",
        "at=",
        "sig=",
        "1700000000",
        "1700000000000",
        "-",
        "é",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "00000000000000000000000000000000",
        "99999999999999999999",
    ]);
    prop_oneof![vec(piece, 0..8).prop_map(|pieces| pieces.concat()), "[ -~]{0,80}", "\\PC{0,40}"]
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_request_makes_verify_panic_or_is_taken_unsigned(
        values in vec(header_value(), 3),
        body in vec(any::<u8>(), 0..60),
        now in select(vec![NOW, 0, -62_135_596_800, 253_402_207_199]),
    ) {
        for config in all_configs() {
            let scheme = scheme(&config);
            let names = Request::signed(b"", &scheme, &[SECRET], at(NOW)).headers;
            let mut request = Request::new(&body);
            for (name, value) in names.keys().zip(&values) {
                if let Ok(value) = HeaderValue::try_from(value) {
                    request.headers.insert(name, value);
                }
            }
            prop_assert!(request.verify(&scheme, &[SECRET, "x", ""], at(now)).is_err());
        }
    }
}
