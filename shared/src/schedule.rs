//! When a failed operation is tried again (contract §4). Pure.

use std::time::Duration;

use crate::integration::RetryPolicy;

/// Up to this share is added to a wait, so that what failed together doesn't come back together.
const JITTER: f64 = 0.2;
/// What the other side's `Retry-After` may ask for at most, and the longest wait of any policy.
const DELAY_MAX: Duration = Duration::from_hours(24);

/// While neither configuration can be read nor a failure kept, because the table is down, an event or a delivery is tried
/// every so often, and those tries don't count: it is done by itself within this time of the outage's end.
pub const KEEP_AGAIN: Duration = Duration::from_mins(1);
/// What a suspended tenant has waiting looks again so often whether it goes on: SQS' longest delay. No message outlives it
/// unseen, so that after this time all of a tenant's messages have been looked at ([`crate::administer`] counts on it).
pub const SUSPENDED_AGAIN: Duration = Duration::from_mins(15);

/// The wait before retry `n` (from 0): `base_delay_seconds × backoff_factor^n` with up to 20 % jitter, and at least
/// `retry_after`. `None` once the policy's retries are used up.
#[must_use]
pub fn delay(policy: &RetryPolicy, n: u32, retry_after: Option<Duration>, random: u128) -> Option<Duration> {
    if n >= policy.max_attempts {
        return None;
    }
    let share = f64::from(u32::try_from(random % 1_000_000).unwrap_or(0)) / 1_000_000.0;
    let exponent = i32::try_from(n).unwrap_or(i32::MAX);
    let seconds = policy.base_delay_seconds * policy.backoff_factor.powi(exponent) * (1.0 + JITTER * share);
    let own = Duration::try_from_secs_f64(seconds).unwrap_or(DELAY_MAX);
    Some(own.max(retry_after.unwrap_or_default()).min(DELAY_MAX))
}

/// A wait of `seconds` with ±20 % jitter (contract §6), and at least `retry_after`, but at most a day.
#[must_use]
pub fn around(seconds: u32, retry_after: Option<Duration>, random: u128) -> Duration {
    let share = f64::from(u32::try_from(random % 1_000_000).unwrap_or(0)) / 1_000_000.0;
    let wait = f64::from(seconds) * (1.0 - JITTER + 2.0 * JITTER * share);
    Duration::from_secs_f64(wait).max(retry_after.unwrap_or_default()).min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::SystemId,
        integration::{Integration, IntegrationConfig},
    };

    fn policy(system: &str) -> RetryPolicy {
        let config: IntegrationConfig = serde_json::from_str("{}").unwrap();
        Integration::compile(SystemId::parse(system).unwrap(), config).ok().unwrap().retry
    }

    /// The least wait before each retry, in tenths of a second.
    fn waits(system: &str) -> Vec<u128> {
        (0..).map_while(|n| delay(&policy(system), n, None, 0)).map(|wait| wait.as_millis() / 100).collect()
    }

    #[test]
    fn the_contracts_table() {
        assert_eq!(waits("sarah_ai"), [100, 200, 400]);
        assert_eq!(waits("payment_processor"), [100, 150, 225, 337, 506]);
        assert_eq!(waits("stripe"), waits("payment_processor"));
        assert_eq!(waits("external_crm"), [100, 300]);
        assert_eq!(waits("helpdesk"), [100, 200, 400]);
    }

    #[test]
    fn jitter_adds_up_to_a_fifth_and_retry_after_is_the_least() {
        let policy = policy("sarah_ai");
        let seconds = |retry_after, random| {
            delay(&policy, 0, Some(Duration::from_secs(retry_after)), random).unwrap().as_secs_f64()
        };
        assert!((seconds(0, 999_999) - 12.0).abs() < 0.001);
        assert!((seconds(100, 0) - 100.0).abs() < 0.001);
        assert!((seconds(1_000_000, 0) - 86_400.0).abs() < 0.001, "at most a day");
        let endless = RetryPolicy { max_attempts: 50, backoff_factor: 10.0, base_delay_seconds: 86_400.0 };
        assert_eq!(delay(&endless, 49, None, 0), Some(DELAY_MAX));
    }

    #[test]
    fn a_delivery_waits_a_fifth_less_to_a_fifth_more() {
        let seconds = |retry_after, random| around(300, Some(Duration::from_secs(retry_after)), random).as_secs_f64();
        assert!((seconds(0, 0) - 240.0).abs() < 0.001 && (seconds(0, 999_999) - 360.0).abs() < 0.001);
        assert!((seconds(1_000, 5) - 1_000.0).abs() < 0.001);
        assert!((seconds(1_000_000, 5) - 86_400.0).abs() < 0.001, "at most a day");
    }
}
