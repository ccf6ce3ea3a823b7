//! Whether something names a phone number, in whatever spelling. Pure.
//!
//! A run of digits, with what people write between them (spaces, dots, dashes, slashes, brackets) left out, names the number
//!
//! * with a `+` before it, if it begins with all of the number's digits and ends there, or something stands between;
//! * without, if it holds the last ten digits (all of them, of a shorter number), ending likewise, and before them at most what
//!   belongs to them: the country's code or an end of it, zeros, `011`.
//!
//! So does a short text that the hub itself reads as the number in the tenant's region, since that is how it came to be the
//! number. Two numbers that differ only in a country's code that isn't written can't be told apart: then both count.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use crate::{
    codec,
    inbound::payload,
    phone::{self, E164, Region},
    store::Item,
};

/// Digits by which a number is known without its country's code.
const TAIL: usize = 10;
/// Longer texts aren't a number and nothing else.
const ALONE_CHARS_MAX: usize = 40;
/// What is packed in an item can be so long.
const UNPACKED_BYTES_MAX: usize = 2_000_000;
/// Attributes that are ours and say nothing.
const OURS: [&str; 5] = ["pk", "ttl", "due_pk", "due_at", "g1sk"];

/// A number that is looked for.
pub(super) struct Number {
    e164: E164,
    region: Region,
    /// The country's code, or what else is before the last ten digits.
    head: String,
    tail: String,
}

/// Digits that stand together.
#[derive(Default)]
struct Run {
    has_plus: bool,
    digits: String,
    /// Before which digits something else stands.
    gaps: Vec<usize>,
}

impl Number {
    pub(super) fn new(number: E164, region: Region) -> Self {
        let digits = number.as_str().trim_start_matches('+');
        let (head, tail) = digits.split_at_checked(digits.len().saturating_sub(TAIL)).unwrap_or(("", digits));
        Self { head: head.to_owned(), tail: tail.to_owned(), region, e164: number }
    }

    pub(super) fn e164(&self) -> &E164 {
        &self.e164
    }

    /// Whether a text names it.
    pub(super) fn in_text(&self, text: &str) -> bool {
        let mut run = Run::default();
        for c in text.chars() {
            match c {
                '0'..='9' => run.digits.push(c),
                ' ' | '\t' | '.' | '-' | '/' | '(' | ')' | '\u{a0}' | '\u{2010}'..='\u{2015}' => {
                    run.gaps.push(run.digits.len());
                }
                _ => {
                    if self.is(&run) {
                        return true;
                    }
                    run = Run { has_plus: c == '+', ..Run::default() };
                }
            }
        }
        self.is(&run) || self.alone(text)
    }

    fn is(&self, run: &Run) -> bool {
        let ends = |at: usize| at == run.digits.len() || run.gaps.contains(&at);
        if run.has_plus {
            let all = self.head.len() + self.tail.len();
            return run.digits.strip_prefix(&self.head).is_some_and(|rest| rest.starts_with(&self.tail)) && ends(all);
        }
        let before = |at: usize| {
            let from = run.gaps.iter().copied().filter(|gap| *gap <= at).max().unwrap_or(0);
            let own = run.digits.get(from..at).unwrap_or_default().trim_start_matches('0');
            self.head.ends_with(own) || own.strip_prefix("11").is_some_and(|own| own == self.head)
        };
        run.digits.match_indices(&self.tail).any(|(at, tail)| ends(at + tail.len()) && before(at))
    }

    /// Whether the hub reads a text as the number.
    fn alone(&self, text: &str) -> bool {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        (6..=20).contains(&digits)
            && text.len() <= ALONE_CHARS_MAX
            && phone::parse(text, &self.region).is_ok_and(|read| read == self.e164)
    }

    /// Whether a value names it, or anything in it.
    pub(super) fn in_value(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.in_text(text),
            Value::Number(number) => self.in_text(&number.to_string()),
            Value::Array(list) => list.iter().any(|value| self.in_value(value)),
            Value::Object(fields) => fields.iter().any(|(name, value)| self.in_text(name) || self.in_value(value)),
            Value::Null | Value::Bool(_) => false,
        }
    }

    /// Whether a text names it, that may be JSON or a form.
    pub(super) fn in_document(&self, text: &str, is_form: bool) -> bool {
        self.in_text(text) || payload(text, is_form).is_some_and(|payload| self.in_value(&payload))
    }

    /// Whether an item names it, in what is packed too.
    pub(super) fn in_item(&self, item: &Item) -> bool {
        let is_form = item.get_number("form").is_some();
        item.0.iter().filter(|(name, _)| !OURS.contains(&name.as_str())).any(|(name, value)| match value {
            AttributeValue::S(text) => self.in_document(text, false),
            AttributeValue::N(number) => self.in_text(number) || self.in_text(name),
            AttributeValue::B(bytes) => {
                let plain = codec::unpack(bytes.as_ref(), UNPACKED_BYTES_MAX).ok();
                let plain = plain.and_then(|plain| String::from_utf8(plain).ok());
                plain.is_some_and(|plain| self.in_document(&plain, is_form))
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(text: &str) -> Number {
        Number::new(text.parse().unwrap(), "US".parse().unwrap())
    }

    #[test]
    fn a_number_is_known_in_any_spelling() {
        let us = number("+14155550132");
        for named in [
            "+14155550132",
            "14155550132",
            "4155550132",
            "(415) 555-0132",
            "+1 (415) 555-0132",
            "+1.415.555.0132",
            "1-415-555-0132",
            "00 1 415 555 0132",
            "011 1 415 555 0132",
            "01114155550132",
            "call +14155550132, please",
            "phone=4155550132&x=1",
            "%2B14155550132",
            "tel:+1-415-555-0132;ext=5",
            "+1 415 555 0132 5",
            "415\u{a0}555\u{2011}0132",
        ] {
            assert!(us.in_text(named), "{named}");
        }
        for other in [
            "",
            "+14155550133",
            "+914155550132",
            "914155550132",
            "+141555501329",
            "41555501329",
            "941555501320",
            "155550132",
            "2026-01-15T12:00:00.123Z",
            "1768500000123",
            "+1 415 555 013",
            "+1415555+013",
            "int_4155550131",
        ] {
            assert!(!us.in_text(other), "{other}");
        }
        assert!(us.in_value(&json!({"a": [{"b": 4_155_550_132_u64}]})) && us.in_value(&json!({"+14155550132": 1})));
        assert!(us.in_document(r#"{"phone":"\u002b1\u002d415 555\u002d0132"}"#, false));
        assert!(us.in_document("a=1&phone=%28415%29+555-0132", true));
    }

    #[test]
    fn countries_with_shorter_and_longer_numbers_are_known_too() {
        let german = Number::new("+4930123456".parse().unwrap(), "DE".parse().unwrap());
        assert!(german.in_text("030 123456") && german.in_text("+49 30 123456") && german.in_text("0049 (30) 123456"));
        let mobile = Number::new("+4915112345678".parse().unwrap(), "DE".parse().unwrap());
        assert!(mobile.in_text("0151 12345678") && mobile.in_text("015112345678") && !mobile.in_text("016112345678"));
        let short = number("+2901234");
        assert!(short.in_text("+290 1234") && short.in_text("2901234") && !short.in_text("12901234"));
    }
}
