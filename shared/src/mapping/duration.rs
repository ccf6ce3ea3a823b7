//! Lengths of time as the systems write them: a number, `185`, `3:05`, `1:02:03`, `PT3M5S`, `3m 5s`, `185000ms`.

use serde_json::Value;

/// Longest duration, in seconds: ten years. More is a mistake of the sender, mostly of its unit.
pub(super) const SECONDS_MAX: f64 = 10.0 * 366.0 * 86_400.0;

/// What a number without a unit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

impl Unit {
    /// Reads the unit's name in a rule.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "seconds" | "s" => Some(Self::Seconds),
            "milliseconds" | "ms" => Some(Self::Milliseconds),
            _ => None,
        }
    }

    /// How many of the unit make a second.
    pub(super) fn per_second(self) -> u32 {
        match self {
            Self::Seconds => 1,
            Self::Milliseconds => 1_000,
        }
    }
}

/// The duration in whole seconds, rounded to the nearest, halves up. `None` for what is no duration, is negative
/// or longer than ten years.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= seconds <= SECONDS_MAX is checked")]
pub(super) fn seconds(value: &Value, unit: Unit) -> Option<u64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()? / f64::from(unit.per_second()),
        Value::String(text) => from_text(text.trim(), unit)?,
        _ => return None,
    };
    (0.0..=SECONDS_MAX).contains(&seconds).then(|| seconds.round() as u64)
}

fn from_text(text: &str, unit: Unit) -> Option<f64> {
    if let Some(number) = decimal(text) {
        return Some(number / f64::from(unit.per_second()));
    }
    if text.contains(':') {
        return from_clock(text);
    }
    match text.strip_prefix(['P', 'p']) {
        Some(rest) => from_iso(rest),
        None => from_units(text, |unit| match unit {
            "d" | "day" | "days" => Some(86_400.0),
            "h" | "hr" | "hrs" | "hour" | "hours" => Some(3_600.0),
            "m" | "min" | "mins" | "minute" | "minutes" => Some(60.0),
            "s" | "sec" | "secs" | "second" | "seconds" => Some(1.0),
            "ms" | "msec" | "millisecond" | "milliseconds" => Some(0.001),
            _ => None,
        }),
    }
}

/// `m:s` or `h:m:s`, the last with a fraction if need be.
fn from_clock(text: &str) -> Option<f64> {
    let parts: Vec<&str> = text.split(':').collect();
    let (first, rest) = parts.split_first()?;
    if !(1..=2).contains(&rest.len()) || first.contains('.') {
        return None;
    }
    rest.iter().enumerate().try_fold(decimal(first)?, |sum, (at, part)| {
        let is_last = at + 1 == rest.len();
        let value = decimal(part).filter(|value| *value < 60.0 && (is_last || !part.contains('.')))?;
        Some(sum * 60.0 + value)
    })
}

/// What follows the `P` of an ISO 8601 duration; months and years have no fixed length and are refused.
fn from_iso(rest: &str) -> Option<f64> {
    let rest = rest.to_ascii_uppercase();
    let (date, time) = rest.split_once('T').map_or((&*rest, None), |(date, time)| (date, Some(time)));
    let days = if date.is_empty() && time.is_some() {
        0.0
    } else {
        from_units(date, |unit| match unit {
            "w" => Some(604_800.0),
            "d" => Some(86_400.0),
            _ => None,
        })?
    };
    let seconds = time.map_or(Some(0.0), |time| {
        from_units(time, |unit| match unit {
            "h" => Some(3_600.0),
            "m" => Some(60.0),
            "s" => Some(1.0),
            _ => None,
        })
    })?;
    Some(days + seconds)
}

/// A sum of numbers, each followed by its unit, as in `1h 2m`.
fn from_units(text: &str, seconds_of: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let mut rest = text.trim();
    let mut sum = None;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?);
        let after = after.trim_start();
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        sum = Some(sum.unwrap_or(0.0) + decimal(number)? * seconds_of(&unit.to_ascii_lowercase())?);
        rest = after.trim_start_matches([' ', ',']);
    }
    sum
}

/// Digits with at most one point among them; no sign, no exponent.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_in_every_form() {
        let table = [
            (json!(185), Some(185)),
            (json!(185.5), Some(186)),
            (json!(185.49), Some(185)),
            (json!(0), Some(0)),
            (json!("185"), Some(185)),
            (json!(" 185.5 "), Some(186)),
            (json!("3:05"), Some(185)),
            (json!("03:05"), Some(185)),
            (json!("75:00"), Some(4_500)),
            (json!("1:02:03"), Some(3_723)),
            (json!("0:00:09.6"), Some(10)),
            (json!("PT3M5S"), Some(185)),
            (json!("pt1h"), Some(3_600)),
            (json!("P1DT2H"), Some(93_600)),
            (json!("P1W"), Some(604_800)),
            (json!("PT0.5S"), Some(1)),
            (json!("3m5s"), Some(185)),
            (json!("3 min 5 sec"), Some(185)),
            (json!("1h, 2m, 3s"), Some(3_723)),
            (json!("185000ms"), Some(185)),
            (json!(-1), None),
            (json!("-5"), None),
            (json!(1e30), None),
            (json!(""), None),
            (json!("P"), None),
            (json!("PT"), None),
            (json!("P1M"), None),
            (json!("P1Y"), None),
            (json!("3:75"), None),
            (json!("1:2:3:4"), None),
            (json!("1.5:30"), None),
            (json!(":30"), None),
            (json!("5 parsecs"), None),
            (json!("1e3"), None),
            (json!("NaN"), None),
            (json!("soon"), None),
            (json!(true), None),
            (json!([185]), None),
        ];
        for (value, expected) in table {
            assert_eq!(seconds(&value, Unit::Seconds), expected, "{value}");
        }
    }

    #[test]
    fn only_plain_numbers_count_in_the_rules_unit() {
        let table = [
            (json!(185_000), Some(185)),
            (json!("185499"), Some(185)),
            (json!(500), Some(1)),
            (json!(499), Some(0)),
            (json!("3:05"), Some(185)),
            (json!("185s"), Some(185)),
        ];
        for (value, expected) in table {
            assert_eq!(seconds(&value, Unit::Milliseconds), expected, "{value}");
        }
    }
}
