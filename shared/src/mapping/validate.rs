//! Validators: what a value must be to be taken, after its transforms.

use regex_lite::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::money;
use super::rule::STEPS_MAX;
use crate::phone::E164;

/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1_024;
/// Largest compiled pattern, in bytes. A search takes time in proportion to this and to the text.
const PATTERN_SIZE_MAX: usize = 16 * 1024;
/// Longest email address (RFC 5321, 4.5.3.1.3).
const EMAIL_BYTES_MAX: usize = 254;
/// Longest text that a pattern is tried on.
const MATCHED_BYTES_MAX: usize = 1_024;

/// A compiled validator.
pub(super) enum Validator {
    E164,
    Email,
    Url,
    Currency,
    Pattern(Regex),
    Range { min: Option<f64>, max: Option<f64> },
    OneOf(Vec<Value>),
}

impl Validator {
    /// Compiles one validator, or each of a list, from a rule's JSON.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(super) fn compile_all(spec: &Value) -> Result<Vec<Self>, String> {
        match spec {
            Value::Array(list) if list.len() > STEPS_MAX => Err(format!("a field has at most {STEPS_MAX} validators")),
            Value::Array(list) => list.iter().map(Self::compile).collect(),
            one => Ok(vec![Self::compile(one)?]),
        }
    }

    fn compile(spec: &Value) -> Result<Self, String> {
        match spec {
            Value::String(name) => match name.as_str() {
                "e164" => Ok(Self::E164),
                "email" => Ok(Self::Email),
                "url" => Ok(Self::Url),
                "currency" => Ok(Self::Currency),
                _ => Err(format!("there is no validator `{name}`")),
            },
            Value::Object(object) => Self::by_object(object),
            _ => Err("a validator is a name or an object".to_owned()),
        }
    }

    fn by_object(object: &Map<String, Value>) -> Result<Self, String> {
        let keys: Vec<&str> = object.keys().map(String::as_str).collect();
        match keys[..] {
            ["pattern"] => pattern(&object["pattern"]).map(Self::Pattern),
            ["one_of"] => match object["one_of"].as_array() {
                Some(values) => Ok(Self::OneOf(values.clone())),
                None => Err("`one_of` takes a list".to_owned()),
            },
            ["min" | "max"] | ["min", "max"] | ["max", "min"] => {
                let bound = |name| {
                    let number = |value: &Value| value.as_f64().ok_or(format!("`{name}` is a number"));
                    object.get(name).map(number).transpose()
                };
                Ok(Self::Range { min: bound("min")?, max: bound("max")? })
            }
            _ => {
                Err("a validator object is {\"pattern\": …}, {\"min\": …, \"max\": …} or {\"one_of\": […]}".to_owned())
            }
        }
    }

    /// Checks a value.
    ///
    /// # Errors
    /// Why it is refused, to be read after the name of the field; never the value itself.
    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        let text = value.as_str();
        let (passes, reason) = match self {
            Self::E164 => (text.is_some_and(|text| text.parse::<E164>().is_ok()), "is not a phone number in E.164"),
            Self::Email => (text.is_some_and(is_email), "is not an email address"),
            Self::Url => (text.is_some_and(is_url), "is not an http or https URL"),
            Self::Currency => (text.is_some_and(money::is_currency), "is not an ISO 4217 currency code in capitals"),
            Self::Pattern(pattern) => {
                let passes = text.is_some_and(|text| text.len() <= MATCHED_BYTES_MAX && pattern.is_match(text));
                (passes, "does not match the pattern")
            }
            Self::OneOf(values) => (values.contains(value), "is not one of the values allowed"),
            Self::Range { min, max } => {
                let number = value.as_f64();
                let above = number.is_some_and(|n| min.is_none_or(|min| n >= min));
                let below = number.is_some_and(|n| max.is_none_or(|max| n <= max));
                (above && below, "is not a number within the range allowed")
            }
        };
        if passes { Ok(()) } else { Err(reason.to_owned()) }
    }
}

fn pattern(pattern: &Value) -> Result<Regex, String> {
    let pattern = pattern.as_str().ok_or("`pattern` is text")?;
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("a pattern is at most {PATTERN_BYTES_MAX} bytes"));
    }
    RegexBuilder::new(pattern)
        .size_limit(PATTERN_SIZE_MAX)
        .build()
        .map_err(|error| format!("`pattern` is not a regular expression: {error}"))
}

/// A local part, one `@`, and a domain with a dot: what every deliverable address on the internet has, and no more.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let clean =
        |part: &str| !part.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '<' | '>'));
    text.len() <= EMAIL_BYTES_MAX
        && !local.is_empty()
        && clean(local)
        && clean(domain)
        && domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty())
}

/// `http` or `https`, a host, and no blanks.
fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && !host.is_empty()
        && !host.starts_with(':')
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '\\'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_pass_or_are_refused() {
        let table = [
            (json!("e164"), json!("+14155550132"), true),
            (json!("e164"), json!("4155550132"), false),
            (json!("e164"), json!(14_155_550_132_u64), false),
            (json!("email"), json!("ada@example.com"), true),
            (json!("email"), json!("ada+tag@mail.example.co.uk"), true),
            (json!("email"), json!("ada@example"), false),
            (json!("email"), json!("ada@@example.com"), false),
            (json!("email"), json!("ada lovelace@example.com"), false),
            (json!("email"), json!("@example.com"), false),
            (json!("email"), json!("ada@example..com"), false),
            (json!("url"), json!("https://example.com/a?b=c#d"), true),
            (json!("url"), json!("HTTP://example.com:8080"), true),
            (json!("url"), json!("ftp://example.com"), false),
            (json!("url"), json!("javascript:alert(1)"), false),
            (json!("url"), json!("https://"), false),
            (json!("url"), json!("https://user@/x"), false),
            (json!("url"), json!("https://exa mple.com"), false),
            (json!("currency"), json!("EUR"), true),
            (json!("currency"), json!("eur"), false),
            (json!({"pattern": "^[a-z]+$"}), json!("abc"), true),
            (json!({"pattern": "b"}), json!("abc"), true),
            (json!({"pattern": "^b"}), json!("abc"), false),
            (json!({"pattern": "."}), json!(5), false),
            (json!({"min": 0, "max": 10}), json!(10), true),
            (json!({"min": 0, "max": 10}), json!(10.5), false),
            (json!({"min": 0}), json!(-1), false),
            (json!({"max": 0.5}), json!(0.5), true),
            (json!({"max": 5}), json!("3"), false),
            (json!({"one_of": ["a", 1, null]}), json!(1), true),
            (json!({"one_of": ["a"]}), json!("A"), false),
            (json!(["e164", {"pattern": "^\\+44"}]), json!("+442079460958"), true),
            (json!(["e164", {"pattern": "^\\+44"}]), json!("+14155550132"), false),
        ];
        for (spec, value, expected) in table {
            let validators = Validator::compile_all(&spec).expect("a validator of the table");
            let passes = validators.iter().all(|validator| validator.check(&value).is_ok());
            assert_eq!(passes, expected, "{spec} of {value}");
        }
    }

    #[test]
    fn faulty_validators_are_refused() {
        for spec in [
            json!("emial"),
            json!(5),
            json!({}),
            json!({"pattern": "("}),
            json!({"pattern": 5}),
            json!({"pattern": "a".repeat(PATTERN_BYTES_MAX + 1)}),
            json!({"pattern": "(a{500}){500}"}),
            json!({"min": "0"}),
            json!({"min": 0, "mx": 1}),
            json!({"one_of": "a"}),
        ] {
            assert!(Validator::compile_all(&spec).is_err(), "{spec}");
        }
    }
}
