//! Times as text that sorts.

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
