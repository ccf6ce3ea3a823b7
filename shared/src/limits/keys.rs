//! Calls of an API key (contract §7: 6,000 a minute). Each copy counts by itself and adds up with the others every few
//! calls, so that most calls cost no other one: a copy that doesn't know of the others' last calls lets so many too many
//! through, and no more.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use super::until_next;
use crate::{
    ids::TenantId,
    store::{Key, Store},
};

/// Calls of one key in a calendar minute.
pub const CALLS_PER_MINUTE: u32 = 6_000;
/// So often a copy adds up with the others.
const ADDED_AT: u32 = 25;
/// Keys that a copy tells apart in one minute; further ones go uncounted. About 2 MB.
const KEYS_MAX: usize = 10_000;
/// The counter of a minute is of no use after it.
const KEPT_SECONDS: i64 = 3_600;
const MINUTE_SECONDS: i64 = 60;

/// What is known of a key's calls in this minute.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    /// All that were added up when we did last.
    added: u32,
    /// Ours since then.
    own: u32,
}

#[derive(Default)]
struct Minute {
    number: i64,
    keys: HashMap<(TenantId, String), Calls>,
}

/// What a call leaves of its key's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Whether the call is within the limit.
    pub is_admitted: bool,
    /// Further calls until the minute ends.
    pub calls: u32,
    /// When it ends.
    pub seconds: i64,
}

/// The calls of API keys, as far as this copy knows.
#[derive(Default)]
pub struct KeyLimits {
    minute: Mutex<Minute>,
}

impl KeyLimits {
    /// Counts a call of the tenant's key. What can't be added up counts for this copy alone.
    pub async fn count(&self, store: &Store, tenant: &TenantId, key_id: &str, now: Timestamp) -> Left {
        let number = now.as_second().div_euclid(MINUTE_SECONDS);
        let name = (tenant.clone(), key_id.to_owned());
        let mut calls = self.note(number, &name, |calls| calls.own = calls.own.saturating_add(1));
        let is_full = |calls: Calls| calls.added.saturating_add(calls.own) > CALLS_PER_MINUTE;
        if calls.own >= ADDED_AT && !is_full(calls) {
            let place = Key::of(tenant, "limit", format!("key#{key_id}#{number}"));
            match store.add(&place, i64::from(calls.own), now, KEPT_SECONDS).await {
                Ok(all) => {
                    let (all, own) = (u32::try_from(all).unwrap_or(u32::MAX), calls.own);
                    calls = self.note(number, &name, |calls| {
                        // Others of this copy may have added up meanwhile, and gone on.
                        *calls = Calls { added: calls.added.max(all), own: calls.own.saturating_sub(own) };
                    });
                }
                Err(error) => tracing::warn!(%tenant, key_id, %error, "calls of a key couldn't be added up"),
            }
        }
        let left = CALLS_PER_MINUTE.saturating_sub(calls.added.saturating_add(calls.own));
        Left { is_admitted: !is_full(calls), calls: left, seconds: until_next(now, MINUTE_SECONDS) }
    }

    fn note(&self, number: i64, name: &(TenantId, String), note: impl FnOnce(&mut Calls)) -> Calls {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        if minute.keys.len() >= KEYS_MAX && !minute.keys.contains_key(name) {
            return Calls::default();
        }
        let calls = minute.keys.entry(name.clone()).or_default();
        note(calls);
        *calls
    }
}
