//! Limits on callers: by tenant and system, exactly, across all copies; by source address, approximately, in each. And on
//! our own calls to a system, as exactly.

pub mod keys;
pub mod outbound;
pub mod source;

use jiff::Timestamp;

use crate::{
    ids::{SystemId, TenantId},
    integration::Limits,
    store::{Counted, Key, Store},
};

/// Whether a call may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Admitted,
    /// It may not, before so many seconds have passed.
    Refused {
        /// For the `Retry-After` header: until the window ends, at least 1.
        retry_after_seconds: i64,
    },
    /// It couldn't be counted, so it is admitted (contract §2).
    Uncounted,
}

/// Counts one inbound webhook of `system` against its limits (contract §4).
pub async fn inbound(store: &Store, tenant: &TenantId, system: &SystemId, limits: Limits, now: Timestamp) -> Admission {
    let key = Key::of(tenant, "limit", format!("in#{system}"));
    match store.count(&key, limits, now).await {
        Ok(Counted::Admitted) => Admission::Admitted,
        Ok(Counted::MinuteFull) => Admission::Refused { retry_after_seconds: until_next(now, 60) },
        Ok(Counted::DayFull) => Admission::Refused { retry_after_seconds: until_next(now, 86_400) },
        Err(error) => {
            tracing::warn!(%tenant, %system, %error, "a call couldn't be counted and is admitted");
            Admission::Uncounted
        }
    }
}

/// Seconds from `now` to the end of its window of `length` seconds.
#[must_use]
pub fn until_next(now: Timestamp, length: i64) -> i64 {
    length - now.as_second().rem_euclid(length)
}
