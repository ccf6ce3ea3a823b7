//! Vectors that vendors publish: they verify, and with any one bit changed they don't.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    scheme: String,
    preset: Option<String>,
    secret: String,
    method: Option<String>,
    url: Option<String>,
    headers: BTreeMap<String, String>,
    body: String,
    now: Option<i64>,
}

impl Vector {
    fn scheme(&self) -> Scheme {
        match &self.preset {
            Some(preset) => scheme(&json!({"scheme": self.scheme, "preset": preset})),
            None => scheme(&json!({"scheme": self.scheme})),
        }
    }

    fn request(&self) -> Request {
        let mut request = Request::new(self.body.as_bytes());
        request.method = self.method.clone().unwrap_or(request.method);
        request.url = self.url.clone().unwrap_or(request.url);
        self.headers.iter().fold(request, |request, (name, value)| request.with(name, value))
    }

    fn now(&self) -> Timestamp {
        at(self.now.unwrap_or(NOW))
    }

    fn verify(&self, request: &Request) -> Result<Verified, SignatureError> {
        request.verify(&self.scheme(), &[&self.secret], self.now())
    }

    /// Whether the scheme signs the method and the URL.
    fn signs_method_and_url(&self) -> (bool, bool) {
        let preset = self.preset.as_deref();
        (preset == Some("hubspot_v3"), matches!(preset, Some("hubspot_v3" | "square")))
    }
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../../../tests-data/signature-vectors.json");
    let Vectors { vectors } = serde_json::from_str(text).expect("the file of vectors");
    assert!(!vectors.is_empty());
    vectors
}

/// All that come of `bytes` when one bit is changed.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    })
}

fn flipped_text(text: &str) -> impl Iterator<Item = String> {
    flipped(text.as_bytes()).filter_map(|bytes| String::from_utf8(bytes).ok())
}

#[test]
fn every_vector_verifies() {
    for vector in vectors() {
        let verified = vector.verify(&vector.request());
        let is_timed = vector.now.is_some();
        let signed_id = vector.headers.get("webhook-id").cloned();
        let signed_at = is_timed.then(|| vector.now());
        assert_eq!(verified, Ok(Verified { signed_id, signed_at }), "{} {:?}", vector.scheme, vector.preset);
        if vector.preset.is_none() {
            let verified =
                vector.request().verify(&scheme(&json!({"scheme": "auto"})), &[&vector.secret], vector.now());
            assert!(verified.is_ok(), "auto for {}", vector.scheme);
        }
    }
}

#[test]
fn no_changed_bit_of_the_body_verifies() {
    for vector in vectors() {
        let scheme = vector.scheme();
        for body in flipped(vector.body.as_bytes()) {
            let request = Request { body, ..vector.request() };
            assert_eq!(request.verify(&scheme, &[&vector.secret], vector.now()), Err(SignatureError::Mismatch));
        }
    }
}

#[test]
fn no_changed_bit_of_the_secret_verifies() {
    for vector in vectors() {
        for secret in flipped_text(&vector.secret) {
            let verified = vector.request().verify(&vector.scheme(), &[&secret], vector.now());
            assert_eq!(verified, Err(SignatureError::Mismatch), "{secret}");
        }
    }
}

#[test]
fn no_changed_bit_of_a_header_verifies() {
    for vector in vectors() {
        for (name, value) in &vector.headers {
            for changed in flipped(value.as_bytes()) {
                let Ok(header) = HeaderValue::from_bytes(&changed) else {
                    continue;
                };
                let mut request = vector.request();
                request.headers.insert(name.parse::<HeaderName>().expect("a header name"), header);
                // Capitals are hexadecimal digits too.
                let is_same = is_same_in_hex(value.as_bytes(), &changed);
                assert_eq!(vector.verify(&request).is_ok(), is_same, "{name}: {}", changed.escape_ascii());
            }
        }
    }
}

/// Whether two headers that end with a hexadecimal SHA-256 digest differ only in the case of its digits.
fn is_same_in_hex(value: &[u8], changed: &[u8]) -> bool {
    let (Some((head, digest)), Some((changed_head, changed_digest))) =
        (value.split_last_chunk::<64>(), changed.split_last_chunk::<64>())
    else {
        return false;
    };
    head == changed_head && digest.iter().all(u8::is_ascii_hexdigit) && changed_digest.eq_ignore_ascii_case(digest)
}

#[test]
fn no_changed_bit_of_a_signed_method_or_url_verifies() {
    for vector in vectors() {
        let (signs_method, signs_url) = vector.signs_method_and_url();
        for method in flipped_text(&vector.request().method) {
            let request = Request { method, ..vector.request() };
            assert_eq!(vector.verify(&request).is_err(), signs_method);
        }
        for url in flipped_text(&vector.request().url) {
            let request = Request { url, ..vector.request() };
            assert_eq!(vector.verify(&request).is_err(), signs_url);
        }
    }
}

#[test]
fn the_tolerance_is_300_seconds_both_ways() {
    for vector in vectors().into_iter().filter(|vector| vector.now.is_some()) {
        let scheme = vector.scheme();
        for (offset, is_fresh) in [(-301, false), (-300, true), (-1, true), (1, true), (300, true), (301, false)] {
            let now = vector.now() + SignedDuration::from_secs(offset);
            let verified = vector.request().verify(&scheme, &[&vector.secret], now);
            assert_eq!(verified.is_ok(), is_fresh, "{} {:?} after {offset} s", vector.scheme, vector.preset);
            if !is_fresh {
                assert_eq!(verified, Err(SignatureError::Stale { age: SignedDuration::from_secs(offset) }));
            }
        }
    }
}
