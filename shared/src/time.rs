//! Times as text that sorts.

use jiff::Timestamp;

/// RFC 3339 in UTC with milliseconds, always of the same length, so that it sorts as text.
#[must_use]
pub fn millis_text(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Reads [`millis_text`], and any other RFC 3339 time.
#[must_use]
pub fn parse_millis_text(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_length() {
        let at = |s: &str| millis_text(s.parse().unwrap());
        assert_eq!(at("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05.000Z");
        assert_eq!(at("2026-01-02T03:04:05.678901+02:00"), "2026-01-02T01:04:05.678Z");
        assert_eq!(parse_millis_text(&at("2026-01-02T03:04:05.678Z")), "2026-01-02T03:04:05.678Z".parse().ok());
    }
}
