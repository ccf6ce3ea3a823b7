//! Times as text that sorts.

use std::time::Duration;

use jiff::Timestamp;

/// RFC 3339 in UTC with milliseconds, always of the same length, so that it sorts as text.
#[must_use]
pub fn millis_text(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// The next moment that [`millis_text`] tells apart from `at`.
#[must_use]
pub fn just_after(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond().saturating_add(1)).unwrap_or(at)
}

/// When a run of a function is to begin nothing more: `margin` before its deadline, that Lambda gives in milliseconds since
/// 1970; `None` where that is no time.
#[must_use]
pub fn run_end(deadline_ms: u64, margin: Duration) -> Option<Timestamp> {
    let deadline = Timestamp::from_millisecond(i64::try_from(deadline_ms).ok()?).ok()?;
    deadline.checked_sub(margin).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_length() {
        let at = |s: &str| millis_text(s.parse().unwrap());
        assert_eq!(at("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05.000Z");
        assert_eq!(at("2026-01-02T03:04:05.678901+02:00"), "2026-01-02T01:04:05.678Z");
        let exact: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(millis_text(exact).parse::<Timestamp>().unwrap(), exact);
    }
}
