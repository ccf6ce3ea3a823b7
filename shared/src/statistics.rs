//! What one interaction adds to the statistics and the payment history of its phone number.
//!
//! A number's counters are the sum of its interactions' contributions. A change to an interaction is written as the
//! difference between its contribution after and before, in the same transaction, so the sum stays exact.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::{phone::E164, record::Record};

/// Names of the counters on a phone number's item. They count towards the item's size, so they are short.
pub mod counter {
    /// Interactions with the number.
    pub const INTERACTIONS: &str = "n";
    /// Calls that ended.
    pub const CALLS: &str = "calls";
    /// Seconds of those calls.
    pub const DURATION: &str = "secs";
    /// Prefix: interactions by outcome.
    pub const OUTCOME: &str = "o.";
    /// Prefix: ended calls by outcome, for the success rate.
    pub const CALL_OUTCOME: &str = "c.";
    /// Payments whose last state is succeeded.
    pub const PAID: &str = "p.ok";
    /// Payments whose last state is failed.
    pub const UNPAID: &str = "p.no";
    /// Prefix: minor units taken, by currency.
    pub const TOTAL: &str = "p.sum.";
    /// Prefix: minor units given back, by currency.
    pub const REFUNDED: &str = "p.back.";
}

/// The field that marks an interaction as an ended call; set by rules whose event `counts_as_call`.
pub const CALL_ENDED: &str = "$call";

/// Counters by name. Zero and absent mean the same.
pub type Counters = BTreeMap<String, i64>;

/// One interaction's share of its number's statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    /// The number it counts for.
    pub phone: E164,
    /// What it adds.
    pub counters: Counters,
    /// The span that it extends first and last contact to.
    pub contact: (Timestamp, Timestamp),
    /// When it was paid, if it is a payment that succeeded.
    pub paid_at: Option<Timestamp>,
}

/// What `record` (an interaction) adds; `None` while it names no number, and after it was deleted.
#[must_use]
pub fn contribution(record: &Record) -> Option<Contribution> {
    if record.is_deleted() {
        return None;
    }
    let phone = E164::try_from(record.text("phone_number")?.to_owned()).ok()?;
    let mut counters = Counters::from([(counter::INTERACTIONS.to_owned(), 1)]);
    let mut add = |name: String, amount: i64| *counters.entry(name).or_default() += amount;
    let outcome = record.text("outcome");
    if let Some(outcome) = outcome {
        add(format!("{}{outcome}", counter::OUTCOME), 1);
    }
    if record.get(CALL_ENDED).is_some() {
        add(counter::CALLS.to_owned(), 1);
        add(counter::DURATION.to_owned(), integer(record.get("duration_seconds")));
        if let Some(outcome) = outcome {
            add(format!("{}{outcome}", counter::CALL_OUTCOME), 1);
        }
    }
    let mut paid_at = None;
    if let Some(status) = record.text("payment.status") {
        let currency = record.text("payment.currency").unwrap_or("XXX");
        if status == "succeeded" {
            let said = record.text("payment.paid_at").and_then(|at| at.parse().ok());
            // Only ever later, like the stored time that it extends.
            paid_at = Some(said.unwrap_or_else(|| record.last_at()));
            add(counter::PAID.to_owned(), 1);
            add(format!("{}{currency}", counter::TOTAL), integer(record.get("payment.amount")));
        } else {
            add(counter::UNPAID.to_owned(), 1);
        }
        add(format!("{}{currency}", counter::REFUNDED), integer(record.get("payment.refunded")));
    }
    counters.retain(|_, n| *n != 0);
    Some(Contribution { phone, counters, contact: (record.first_at(), record.last_at()), paid_at })
}

fn integer(value: Option<&Value>) -> i64 {
    value.and_then(Value::as_i64).unwrap_or(0)
}

/// `after − before`, without zeros.
#[must_use]
pub fn difference(after: &Counters, before: &Counters) -> Counters {
    let mut delta = after.clone();
    for (name, amount) in before {
        *delta.entry(name.clone()).or_default() -= amount;
    }
    delta.retain(|_, n| *n != 0);
    delta
}

/// The entries whose name begins with `prefix`, the prefix taken off, zeros left out.
#[must_use]
pub fn family(counters: &Counters, prefix: &str) -> BTreeMap<String, i64> {
    let within = counters.iter().filter(|(_, n)| **n != 0);
    within.filter_map(|(name, n)| Some((name.strip_prefix(prefix)?.to_owned(), *n))).collect()
}

/// The share of ended calls whose outcome is one of `success_outcomes` (contract §5); 0 without calls.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
pub fn success_rate(counters: &Counters, success_outcomes: &[String]) -> f64 {
    let calls = counters.get(counter::CALLS).copied().unwrap_or(0);
    if calls <= 0 {
        return 0.0;
    }
    let won: i64 = family(counters, counter::CALL_OUTCOME)
        .iter()
        .filter(|(outcome, _)| success_outcomes.contains(outcome))
        .map(|(_, n)| n)
        .sum();
    won as f64 / calls as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_is_what_has_to_be_added() {
        let counters = |pairs: &[(&str, i64)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect::<Counters>();
        let failed = counters(&[("n", 1), ("o.payment_failed", 1), ("p.no", 1)]);
        let paid = counters(&[("n", 1), ("o.payment_successful", 1), ("p.ok", 1), ("p.sum.USD", 4200)]);
        assert_eq!(difference(&paid, &Counters::new()), paid);
        assert_eq!(difference(&paid, &paid), Counters::new());
        let expected = counters(&[
            ("o.payment_failed", -1),
            ("p.no", -1),
            ("o.payment_successful", 1),
            ("p.ok", 1),
            ("p.sum.USD", 4200),
        ]);
        assert_eq!(difference(&paid, &failed), expected);
    }

    #[test]
    fn success_rate_counts_calls_only() {
        let counters = [("calls", 4), ("c.sale", 1), ("c.interested", 2), ("o.sale", 9)];
        let counters: Counters = counters.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        let success = ["interested".to_owned(), "sale".to_owned()];
        assert!((success_rate(&counters, &success) - 0.75).abs() < 1e-9);
        assert!(success_rate(&Counters::new(), &success).abs() < 1e-9);
    }
}
