//! Limits by source address (contract §2, §4): 600 calls a minute, counted in this copy, and 60 refused ones, counted
//! across copies.
//!
//! They are kept per address *and target*, because a vendor sends for all its customers from a few addresses: what one
//! tenant's misconfigured system gets refused may not shut out the others'. Targets that aren't known to exist share one
//! count, so that guessing names is stopped too.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use crate::{
    limits::until_next,
    store::{Key, Store},
};

/// Calls a minute from one address to one target.
const CALLS_PER_MINUTE: u32 = 600;
/// Refused calls a minute from one address to one target.
const REFUSED_PER_MINUTE: i64 = 60;
/// Addresses and targets that a copy tells apart in one minute; further ones go uncounted. About 10 MB.
const ENTRIES_MAX: usize = 50_000;

/// Who calls what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The address that the gateway reports.
    pub address: IpAddr,
    /// `tenant/system` where they are known to exist, else [`UNKNOWN`].
    pub target: String,
}

/// The target of callers that name no tenant and system that are known to exist. No tenant's name begins like this.
pub const UNKNOWN: &str = "_unknown";

#[derive(Default)]
struct Minute {
    number: i64,
    calls: HashMap<Caller, u32>,
    blocked: HashSet<Caller>,
}

/// What this copy knows of its callers in the current minute.
pub struct SourceLimits {
    loopback_exempt: bool,
    minute: Mutex<Minute>,
}

impl SourceLimits {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(loopback_exempt: bool) -> Self {
        Self { loopback_exempt, minute: Mutex::default() }
    }

    fn exempt(&self, address: IpAddr) -> bool {
        self.loopback_exempt && address.to_canonical().is_loopback()
    }

    /// Counts a call. `Err` with the seconds to wait where the caller is over a limit.
    ///
    /// # Errors
    /// The number for `Retry-After`.
    pub fn admit(&self, caller: &Caller, now: Timestamp) -> Result<(), i64> {
        if self.exempt(caller.address) {
            return Ok(());
        }
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.as_second().div_euclid(60);
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        let full = minute.calls.len() >= ENTRIES_MAX;
        let calls = match minute.calls.get_mut(caller) {
            Some(calls) => calls,
            None if full => return Ok(()),
            None => minute.calls.entry(caller.clone()).or_default(),
        };
        *calls = calls.saturating_add(1);
        let over = *calls > CALLS_PER_MINUTE || minute.blocked.contains(caller);
        if over { Err(until_next(now, 60)) } else { Ok(()) }
    }

    /// Counts a refused call (401, 404) across copies. `Err` where this one is over the limit.
    ///
    /// # Errors
    /// The number for `Retry-After`.
    pub async fn refused(&self, store: &Store, caller: &Caller, now: Timestamp) -> Result<(), i64> {
        if self.exempt(caller.address) {
            return Ok(());
        }
        let number = now.as_second().div_euclid(60);
        let (tenant, system) = caller.target.split_once('/').unwrap_or((UNKNOWN, ""));
        let key = Key { pk: format!("{tenant}#refused"), sk: format!("{system}#{}#{number}", caller.address) };
        match store.add(&key, 1, now, 600).await {
            Ok(count) if count > REFUSED_PER_MINUTE => {
                let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
                if minute.number == number {
                    minute.blocked.insert(caller.clone());
                }
                Err(until_next(now, 60))
            }
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "a refused call couldn't be counted");
                Ok(())
            }
        }
    }
}
