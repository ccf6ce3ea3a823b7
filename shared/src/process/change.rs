//! Applying one change to one record, in one transaction: by a guess of what is there, and by what a refusal teaches.

use std::time::Duration;

use super::{
    effect::{Effect, phone_key},
    plan::{Known, Obstacle, Plan, Stored, remembered, stored},
};
use crate::{
    event,
    hub::Hub,
    phone::E164,
    store::{Commit, Refusal, StoreError, Write},
};

/// Tries of one transaction before the change is left to the retry queue. Each one that is refused teaches something, so
/// more are needed only where many events change the same record at once.
pub(crate) const ROUNDS_MAX: u32 = 12;

/// What became of a change.
pub(crate) enum Changed {
    /// It is stored.
    Done {
        /// Whether the record had taken it in before.
        again: bool,
        /// The record before.
        before: Option<Stored>,
    },
    /// The condition of one of the writes that lead the transaction doesn't hold on this item.
    Refused(Refusal),
    /// It can't be applied.
    Obstacle(Obstacle),
}

/// Applies a change, after the writes of `lead`.
///
/// # Errors
/// [`StoreError`] where AWS fails: whether it was applied is then unknown, and trying again is safe.
pub(crate) async fn change(hub: &Hub, effect: &Effect<'_>, lead: &[Write]) -> Result<Changed, StoreError> {
    let guess = hub.guesses.get(&effect.record_key());
    let mut known = Known::guess(guess.and_then(|(_, record)| remembered(record)));
    if effect.expects.is_some() {
        known.record = hub.store.get(&effect.record_key()).await?.as_ref().and_then(stored);
    }
    for round in 0..ROUNDS_MAX {
        // Where its marker's time is over: what it made carries its mark for good.
        let again = known.record.as_ref().is_some_and(|(_, record)| record.has(effect.event_key));
        let mut plan = match plan(hub, effect, &mut known).await? {
            Ok(plan) => plan,
            Err(obstacle) => return Ok(Changed::Obstacle(obstacle)),
        };
        let moment = (hub.now(), (hub.random)());
        let outbox = event::outbox(effect.tenant, &plan.events, moment, &hub.settings, effect.correlation_id);
        let writes = lead.iter().cloned().chain(std::mem::take(&mut plan.writes)).chain(outbox);
        match hub.store.commit(writes.collect()).await? {
            Commit::Done => {
                if effect.publishes {
                    let key = |phone| phone_key(effect.tenant, phone);
                    plan.phones().for_each(|phone| hub.phones.put(key(phone), (), 60, hub.now()));
                }
                let bytes = plan.after.1.len();
                hub.guesses.put(effect.record_key(), plan.after, bytes, hub.now());
                return Ok(Changed::Done { again, before: known.record });
            }
            Commit::Conflict => wait(hub, round).await,
            Commit::Refused(mut refusals) => {
                let others = refusals.split_off(lead.len().min(refusals.len()));
                if let Some(refusal) = refusals.into_iter().flatten().next() {
                    return Ok(Changed::Refused(refusal));
                }
                if let Err(obstacle) = plan.learn(others, &mut known) {
                    return Ok(Changed::Obstacle(obstacle));
                }
                // The first refusal teaches; a second one means that others are at work on the same record, and
                // what it taught is old after the wait.
                if round > 0 {
                    wait(hub, round).await;
                    known.record = hub.store.get(&effect.record_key()).await?.as_ref().and_then(stored);
                }
            }
        }
    }
    Err(StoreError::Unavailable {
        operation: "TransactWriteItems",
        reason: "too many events change the same record at once".into(),
    })
}

/// The writes, by what is known. Whether a number is new is found out first where subscribers are to be told: a guess that
/// is wrong would cost a whole refused transaction, and numbers are new too often to guess.
async fn plan(hub: &Hub, effect: &Effect<'_>, known: &mut Known) -> Result<Result<Plan, Obstacle>, StoreError> {
    let plan = match Plan::build(effect, known) {
        Ok(plan) => plan,
        Err(obstacle) => return Ok(Err(obstacle)),
    };
    let undecided: Vec<E164> = plan.undecided(effect, known);
    if undecided.is_empty() {
        return Ok(Ok(plan));
    }
    for phone in undecided {
        let key = phone_key(effect.tenant, &phone);
        let exists = hub.phones.get(&key).is_some() || hub.store.get(&key).await?.is_some();
        known.note_phone(phone, exists);
    }
    Ok(Plan::build(effect, known))
}

/// Before another try after contention: up to 5 ms, doubled each round up to 640 ms, at random.
pub(crate) async fn wait(hub: &Hub, round: u32) {
    let longest = 5u64 << round.min(7);
    let share = u64::try_from((hub.random)() % 1000).unwrap_or(500);
    tokio::time::sleep(Duration::from_micros(longest * share)).await;
}
