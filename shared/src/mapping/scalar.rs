//! Times, numbers, truth values and text as the systems write them.

use jiff::Timestamp;
use serde_json::Value;

/// Text, or a number or truth value as text.
///
/// # Errors
/// For what is neither: the reason, to be read after the name of the field.
pub(super) fn text_of(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err("is not text".to_owned()),
    }
}

/// A time from RFC 3339, or from Unix seconds or milliseconds as a number or digits.
///
/// Numbers from 10¹¹ on are milliseconds: as seconds they would lie beyond the year 5100.
#[must_use]
pub fn timestamp(value: &Value) -> Option<Timestamp> {
    const MILLISECONDS_FROM: u64 = 100_000_000_000;
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    match text.parse::<i64>() {
        Ok(number) if number.unsigned_abs() >= MILLISECONDS_FROM => Timestamp::from_millisecond(number).ok(),
        Ok(number) => Timestamp::from_second(number).ok(),
        Err(_) => match decimal(&text) {
            Some(seconds) => Timestamp::from_millisecond(whole((seconds * 1e3).round())?).ok(),
            None => text.parse().ok(),
        },
    }
}

/// An integer from a number or from text; `7.0` is one, `7.5` is none.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| whole(decimal(text)?))
        }
        _ => None,
    }
}

/// A float that is an integer, within the range where floats count by ones.
#[expect(clippy::cast_possible_truncation, reason = "within ±2^53")]
fn whole(float: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (float.fract() == 0.0 && float.abs() <= EXACT_MAX).then_some(float as i64)
}

/// A finite number from a number or from text.
pub(super) fn number(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::String(text) => {
            let text = text.trim();
            text.parse::<i64>().ok().map(Value::from).or_else(|| decimal(text).map(Value::from))
        }
        _ => None,
    }
}

/// A finite number in digits; not the words that Rust also takes, such as `inf`.
fn decimal(text: &str) -> Option<f64> {
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    text.parse().ok().filter(|number: &f64| numeric && number.is_finite())
}

/// A truth value from the usual words and digits.
pub(super) fn boolean(value: &Value) -> Option<bool> {
    match text_of(value).ok()?.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}
