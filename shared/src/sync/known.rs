//! What we know of a record's fields over there. Pure.
//!
//! A CRM tells us of our own writes too, late, twice and out of order, and its edits must be told from those echoes: an edit
//! counts by its time, an echo says nothing. So each field remembers the last few values that it is known to have had
//! there, and since when. A value that the other side reports as of a time is an edit unless it is the one that we know it
//! to have had then, or one that was sent and whose time nobody knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::sha256_hex;

/// Values that are kept of a field with their times: an echo that is older than so many changes of the field is rarer than
/// what it costs to keep more.
const SEEN_MAX: usize = 6;
/// Values that are kept of a field without a time.
const IN_DOUBT_MAX: usize = 3;

/// The fingerprint of no value.
const EMPTY: &str = "-";

/// A value that a field has over there: since when, in milliseconds of the other side's clock (`None`: sent, and nobody
/// knows whether and when it arrived), and its [`fingerprint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen(Option<i64>, String);

/// The fields of one record at one system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Known(BTreeMap<String, Vec<Seen>>);

/// Tells values apart in a few bytes: absent and `null` are the same.
#[must_use]
pub fn fingerprint(value: &Value) -> String {
    if value.is_null() {
        return EMPTY.to_owned();
    }
    let mut hex = sha256_hex(value.to_string().as_bytes());
    hex.truncate(10);
    hex
}

impl Known {
    /// The fingerprint of the latest value that the field is known to have there.
    #[must_use]
    pub fn latest(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.iter().rev().find(|seen| seen.0.is_some()).map(|seen| seen.1.as_str())
    }

    /// Whether a value that the other side reports as of `at` is no edit of it: the one that it is known to have had then,
    /// or one that may have arrived at any time.
    #[must_use]
    pub fn is_echo(&self, field: &str, at: i64, fingerprint: &str) -> bool {
        let seen = self.0.get(field).map(Vec::as_slice).unwrap_or_default();
        let then = seen.iter().rev().find(|seen| seen.0.is_some_and(|since| since <= at));
        then.is_some_and(|seen| seen.1 == fingerprint)
            || seen.iter().any(|seen| seen.0.is_none() && seen.1 == fingerprint)
    }

    /// Whether the field is known to have had a value there at any time, or may have.
    #[must_use]
    pub fn has_value(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(|seen| seen.iter().any(|seen| seen.1 != EMPTY))
    }

    /// Notes a value that the field has there since `at`.
    pub fn note(&mut self, field: &str, at: i64, fingerprint: &str) {
        let seen = self.0.entry(field.to_owned()).or_default();
        let place = seen.iter().take_while(|seen| seen.0.is_none_or(|since| since <= at)).count();
        let before = place.checked_sub(1).and_then(|before| seen.get(before));
        if before.is_none_or(|before| before.0.is_none() || before.1 != fingerprint) {
            seen.insert(place, Seen(Some(at), fingerprint.to_owned()));
        }
        if seen.iter().filter(|seen| seen.0.is_some()).count() > SEEN_MAX
            && let Some(oldest) = seen.iter().position(|seen| seen.0.is_some())
        {
            seen.remove(oldest);
        }
    }

    /// Notes a value that was sent, and may have arrived.
    pub fn note_in_doubt(&mut self, field: &str, fingerprint: &str) {
        let seen = self.0.entry(field.to_owned()).or_default();
        if !seen.iter().any(|seen| seen.0.is_none() && seen.1 == fingerprint) {
            seen.insert(0, Seen(None, fingerprint.to_owned()));
        }
        while seen.iter().filter(|seen| seen.0.is_none()).count() > IN_DOUBT_MAX
            && let Some(oldest) = seen.iter().rposition(|seen| seen.0.is_none())
        {
            seen.remove(oldest);
        }
    }

    /// Forgets what isn't in doubt: what the record is there is to be sent again, whatever it was.
    pub fn keep_doubts(&mut self) {
        self.0.values_mut().for_each(|seen| seen.retain(|seen| seen.0.is_none()));
        self.0.retain(|_, seen| !seen.is_empty());
    }

    /// Forgets everything: the record is another one now.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_told_from_an_edit_by_the_time_that_it_speaks_of() {
        let mut known = Known::default();
        assert!(!known.is_echo("a", 5, "x"), "nothing is known");
        known.note("a", 10, "x");
        known.note("a", 20, "y");
        for (at, value, echo) in [
            (10, "x", true),
            (15, "x", true),
            (15, "y", false),
            (20, "y", true),
            (25, "y", true),
            (25, "x", false), // set back by hand
            (25, "z", false),
            (5, "x", false),
        ] {
            assert_eq!(known.is_echo("a", at, value), echo, "{value} at {at}");
        }
        known.note_in_doubt("a", "z");
        assert!(known.is_echo("a", 25, "z") && known.latest("a") == Some("y"));
        known.note("a", 15, "w");
        assert_eq!(known.latest("a"), Some("y"), "old news");
        assert!(known.is_echo("a", 17, "w") && known.is_echo("a", 12, "x"));
    }

    #[test]
    fn what_is_known_stays_small() {
        let mut known = Known::default();
        for n in 0..100 {
            known.note("a", n, &n.to_string());
            known.note_in_doubt("a", &n.to_string());
        }
        assert_eq!(known.0["a"].len(), SEEN_MAX + IN_DOUBT_MAX);
        assert!(known.is_echo("a", 99, "99") && known.is_echo("a", 1_000, "97"));
        for n in 100..200 {
            known.note("a", n, "99");
        }
        assert!(known.is_echo("a", 95, "95"), "the same value again takes no place");
    }

    #[test]
    fn absent_and_null_are_the_same() {
        assert_eq!(fingerprint(&Value::Null), "-");
        assert_ne!(fingerprint(&Value::from("a")), fingerprint(&Value::from("b")));
    }
}
