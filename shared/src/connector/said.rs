//! What the other side said, fit to be shown: short, without what only we and it should know.

use std::fmt;

use serde_json::Value;

/// Most characters of the other side's words.
const CHARS_MAX: usize = 200;
/// Shorter ones are no secrets, and taking them out would leave no words.
const SECRET_CHARS_MIN: usize = 4;
/// Where an error's words stand, in the order of preference: RFC 9457, RFC 6749 §5.2, HubSpot, and what others do.
const PLACES: [&str; 11] = [
    "/detail",
    "/message",
    "/error_description",
    "/error/message",
    "/error/detail",
    "/errors/0/message",
    "/errors/0/detail",
    "/errors/0",
    "/error",
    "/title",
    "/reason",
];

/// The other side's own words. They may name a person, so they are for the tenant and not for logs: `{:?}` doesn't show
/// them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Said(String);

impl Said {
    /// The words of an answer's body, if it is JSON with any. `secrets` are taken out.
    pub(super) fn of(answer: &Value, secrets: &[String]) -> Self {
        let text = PLACES.iter().find_map(|place| answer.pointer(place)?.as_str().filter(|text| !text.is_empty()));
        Self::words(text.unwrap_or_default(), secrets)
    }

    /// These words, cleaned.
    pub(super) fn words(text: &str, secrets: &[String]) -> Self {
        let secrets = secrets.iter().filter(|secret| secret.chars().count() >= SECRET_CHARS_MIN);
        let text = secrets.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…"));
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let words: Vec<_> = text.split_whitespace().map(without_query).collect();
        Self(words.join(" ").chars().take(CHARS_MAX).collect())
    }

    /// The words; empty where it said nothing.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An address without its query, which may hold a key.
fn without_query(word: &str) -> String {
    match word.split_once('?') {
        Some((address, query)) if address.contains('/') && !query.is_empty() => format!("{address}?…"),
        _ => word.to_owned(),
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Said({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_found_cut_and_cleaned() {
        let secrets = ["sk_live_1".to_owned(), "abc".to_owned()];
        let long = "é".repeat(500);
        let table = [
            (json!({"message": "Email is invalid"}), "Email is invalid"),
            (json!({"detail": "No", "message": "never"}), "No"),
            (json!({"error": {"message": "inner"}}), "inner"),
            (json!({"error": "invalid_client"}), "invalid_client"),
            (json!({"error": "invalid_client", "error_description": "Wrong"}), "Wrong"),
            (json!({"errors": [{"message": "first"}, {"message": "second"}]}), "first"),
            (json!({"errors": ["plain"]}), "plain"),
            (json!({"message": "a\u{0}b\r\nc\u{1b}[31m"}), "a b c [31m"),
            (json!({"message": "your key sk_live_1 is bad"}), "your key … is bad"),
            (json!({"message": "short abc stays"}), "short abc stays"),
            (json!({"message": "GET https://a.example/x?key=1 failed"}), "GET https://a.example/x?… failed"),
            (json!({"message": "really? yes"}), "really? yes"),
            (json!({"message": long}), &*"é".repeat(200)),
            (json!({"message": 5}), ""),
            (json!([]), ""),
        ];
        for (answer, expected) in table {
            let said = Said::of(&answer, &secrets);
            assert_eq!(said.as_str(), expected, "{answer}");
            assert_eq!(format!("{said:?}"), format!("Said({} bytes)", expected.len()));
        }
    }

    #[test]
    fn a_secret_at_the_cut_leaves_no_half() {
        let text = format!("{}secretsecret", "x".repeat(195));
        assert_eq!(Said::words(&text, &["secretsecret".to_owned()]).as_str(), format!("{}…", "x".repeat(195)));
    }
}
