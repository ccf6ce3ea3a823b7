//! From a verified event to its stored effect: identity, mapping, one transaction.
//!
//! The first attempt, a retry and a replay all come through [`process`].

mod failure;
mod kept;
mod plan;
mod verdict;

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

pub use self::{
    failure::{Failure, failure_key, failure_list, give_up, orphan},
    kept::{KeptEvent, Status, inbound_key, inbound_list, payload_of, replay_of_event, replay_of_failure},
    plan::{Kind, interactions_list, phone_key, record_id, record_of},
    verdict::Verdict,
};
use self::{
    kept::Note,
    plan::{Effect, Known, Obstacle, Plan, stored},
};
use crate::{
    event,
    hub::Hub,
    ids::sortable,
    inbound::InboundEvent,
    mapping::Outcome,
    phone::E164,
    registry::Target,
    store::{ABSENT, Commit, Item, Key, Refusal, StoreError, Values, Write},
    tenant::TenantContext,
};

/// Tries of one transaction before the event is left to the retry queue. Each one that is refused teaches something, so
/// more are needed only where many events change the same record at once.
const ROUNDS_MAX: u32 = 12;

/// Applies one event, once.
///
/// # Errors
/// [`StoreError`] where AWS fails: whether it was applied is then unknown, and trying again is safe.
pub async fn process(
    hub: &Hub,
    context: &TenantContext,
    target: &Target,
    event: &InboundEvent,
    payload: &Value,
) -> Result<Verdict, StoreError> {
    debug_assert_eq!(context.tenant(), &event.tenant_id);
    let rule = &target.integration.rule;
    let header = |name: &str| event.headers.get(name).map(String::as_str);
    let event_type = rule.event_type(payload, &header);
    let outcome = rule.map(event_type.as_deref(), payload, &target.tenant.default_region);
    let work = Work { event_type: event_type.unwrap_or_default(), ..Work::new(hub, Some(target), event, payload) };
    let verdict = match outcome {
        Outcome::Ignored { .. } => work.ignore().await?,
        Outcome::Failed { code, error, warnings } => work.fail(code, &error, &warnings).await?,
        Outcome::Mapped(mut mapped) => {
            let warnings = std::mem::take(&mut mapped.warnings);
            let event_key = work.inbound_id.get(4..20).unwrap_or_default().to_owned();
            let names = (work.identity.as_str(), event_key.as_str());
            let publishes = target.tenant.publishes;
            let effect = Effect::new(&event.tenant_id, &event.system_id, names, event.received_at, mapped, publishes);
            work.apply(&effect, &warnings).await?
        }
    };
    // If this dies before the failure is gone, the replay comes again and finds a duplicate.
    if verdict.status != Status::Failed
        && let Some(failure_id) = event.replay.as_ref().and_then(|replay| replay.failure_id.as_ref())
    {
        hub.store.delete(&failure_key(&event.tenant_id, failure_id)).await?;
    }
    Ok(verdict)
}

/// The verdict on an event that waits in the queue. With `note` its record is kept, if none is there yet; best effort.
pub async fn queued(hub: &Hub, target: &Target, event: &InboundEvent, payload: &Value, note: bool) -> Verdict {
    let work = Work::new(hub, Some(target), event, payload);
    if note {
        let item = kept::item(hub, event, &work.note(Status::Queued, &Map::new(), &[]));
        if let Err(error) = hub.store.put(item, ABSENT, Values::new()).await {
            tracing::debug!(%error, "the record of a queued event will be made when it is applied");
        }
    }
    work.verdict(Status::Queued, Map::new(), None)
}

/// The verdict on an event that has one already, but for waiting.
///
/// # Errors
/// [`StoreError`] where AWS fails.
pub async fn settled(
    hub: &Hub,
    target: &Target,
    event: &InboundEvent,
    payload: &Value,
) -> Result<Option<Verdict>, StoreError> {
    let work = Work::new(hub, Some(target), event, payload);
    let item = hub.store.get(&inbound_key(&event.tenant_id, &work.inbound_id)).await?;
    Ok(item.and_then(|item| match work.seen(&item) {
        Seen::Repeat(verdict) if verdict.status != Status::Queued => Some(verdict),
        _ => None,
    }))
}

struct Work<'a> {
    hub: &'a Hub,
    event: &'a InboundEvent,
    payload: &'a Value,
    /// Whether subscribers may want to know.
    publishes: bool,
    /// Tries made, this one included.
    attempts: u32,
    identity: String,
    inbound_id: String,
    event_type: String,
}

/// What a refused marker means.
enum Seen {
    /// The same event: the verdict of the first time.
    Repeat(Verdict),
    /// The same identity with another body.
    Conflict,
}

/// The marker may be written where there is none, or only the note that the event waits.
const UNSEEN: &str = "attribute_not_exists(pk) OR st = :queued";

/// On a replay also the verdict that is to be replaced.
const UNAPPLIED: &str = "attribute_not_exists(pk) OR st IN (:queued, :failed, :ignored)";

fn statuses(list: &[(&'static str, Status)]) -> Values {
    list.iter().map(|(name, status)| (*name, AttributeValue::S(status.as_str().into()))).collect()
}

impl<'a> Work<'a> {
    fn new(hub: &'a Hub, target: Option<&Target>, event: &'a InboundEvent, payload: &'a Value) -> Self {
        let identity = event.identity(target.map(|target| &*target.integration.rule), payload);
        let inbound_id = event.inbound_id(&identity);
        let publishes = target.is_some_and(|target| target.tenant.publishes);
        Self { hub, event, payload, publishes, attempts: 1, identity, inbound_id, event_type: String::new() }
    }

    async fn apply(&self, effect: &Effect<'_>, warnings: &[String]) -> Result<Verdict, StoreError> {
        let data = Map::from_iter([(effect.kind.id_name().to_owned(), effect.record_id.clone().into())]);
        let marker = self.marker(kept::item(self.hub, self.event, &self.note(Status::Processed, &data, warnings)));
        let guess = self.hub.guesses.get(&effect.record_key());
        let mut known = Known::guess(guess.map(|(_, stored)| stored));
        for round in 0..ROUNDS_MAX {
            // Where its marker's time is over: what it made carries its mark for good.
            let again = known.record.as_ref().is_some_and(|(_, record)| record.has(effect.event_key));
            let mut plan = match self.plan(effect, &mut known).await? {
                Ok(plan) => plan,
                Err(obstacle) => return self.obstructed(obstacle, warnings).await,
            };
            let moment = (self.hub.now(), (self.hub.random)());
            let outbox = event::outbox(&self.event.tenant_id, &plan.events, moment, &self.hub.settings);
            let writes = std::mem::take(&mut plan.writes).into_iter().chain(outbox);
            let writes = std::iter::once(marker.clone()).chain(writes).collect();
            match self.hub.store.commit(writes).await {
                Ok(Commit::Done) => {
                    if effect.publishes {
                        plan.phones()
                            .for_each(|phone| self.hub.phones.put(self.phone_key(phone), (), 60, self.hub.now()));
                    }
                    self.hub.guesses.put(effect.record_key(), plan.after, 2 * plan.doc_bytes, self.hub.now());
                    return Ok(self.verdict(if again { Status::Duplicate } else { Status::Processed }, data, None));
                }
                Ok(Commit::Conflict) => self.wait(round).await,
                Ok(Commit::Refused(refusals)) => {
                    let (seen, others) = split(refusals);
                    match seen.map(|old| self.seen(&old)) {
                        Some(Seen::Repeat(verdict)) => return Ok(self.answer_repeat(verdict).await),
                        Some(Seen::Conflict) => return self.conflict().await,
                        None => {}
                    }
                    if let Err(obstacle) = plan.learn(others, &mut known) {
                        return self.obstructed(obstacle, warnings).await;
                    }
                    // The first refusal teaches; a second one means that others are at work on the same record, and
                    // what it taught is old after the wait.
                    if round > 0 {
                        self.wait(round).await;
                        known.record = self.hub.store.get(&effect.record_key()).await?.as_ref().and_then(stored);
                    }
                }
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => {
                    let code = if matches!(error, StoreError::Denied { .. }) { "aws_denied" } else { "not_storable" };
                    let error = format!("the event's effect can't be stored: {error}");
                    return self.fail(code, &error, warnings).await;
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
    async fn plan(&self, effect: &Effect<'_>, known: &mut Known) -> Result<Result<Plan, Obstacle>, StoreError> {
        let plan = match Plan::build(effect, known) {
            Ok(plan) => plan,
            Err(obstacle) => return Ok(Err(obstacle)),
        };
        let undecided = plan.undecided(effect, known);
        if undecided.is_empty() {
            return Ok(Ok(plan));
        }
        for phone in undecided {
            let key = self.phone_key(&phone);
            let exists = self.hub.phones.get(&key).is_some() || self.hub.store.get(&key).await?.is_some();
            known.note_phone(phone, exists);
        }
        Ok(Plan::build(effect, known))
    }

    fn phone_key(&self, phone: &E164) -> Key {
        phone_key(&self.event.tenant_id, phone)
    }

    async fn obstructed(&self, obstacle: Obstacle, warnings: &[String]) -> Result<Verdict, StoreError> {
        self.fail(obstacle.code(), obstacle.sentence(), warnings).await
    }

    /// Nothing to do with it: only its record is kept.
    async fn ignore(&self) -> Result<Verdict, StoreError> {
        let item = kept::item(self.hub, self.event, &self.note(Status::Ignored, &Map::new(), &[]));
        let done = self.verdict(Status::Ignored, Map::new(), None);
        let (condition, values) = self.marker_condition();
        match self.hub.store.put(item, condition, values).await? {
            Ok(()) | Err(None) => Ok(done),
            Err(Some(old)) => match self.seen(&old) {
                Seen::Repeat(verdict) => Ok(self.answer_repeat(verdict).await),
                Seen::Conflict => self.conflict().await,
            },
        }
    }

    fn marker(&self, item: Item) -> Write {
        let (condition, values) = self.marker_condition();
        Write::Put { item, condition, values }
    }

    fn marker_condition(&self) -> (&'static str, Values) {
        let queued = (":queued", Status::Queued);
        match self.event.replay {
            None => (UNSEEN, statuses(&[queued])),
            Some(_) => (UNAPPLIED, statuses(&[queued, (":failed", Status::Failed), (":ignored", Status::Ignored)])),
        }
    }

    fn note<'n>(&'n self, status: Status, data: &'n Map<String, Value>, warnings: &'n [String]) -> Note<'n> {
        Note {
            id: &self.inbound_id,
            identity: &self.identity,
            event_type: &self.event_type,
            status,
            data,
            error: "",
            code: "",
            failure_id: "",
            warnings,
        }
    }

    fn verdict(&self, status: Status, data: Map<String, Value>, failure: Option<Failure>) -> Verdict {
        Verdict {
            status,
            event_id: self.identity.clone(),
            event_type: self.event_type.clone(),
            inbound_id: self.inbound_id.clone(),
            data,
            failure,
        }
    }

    /// Reads the marker that was there. Bodies are compared as values, so that a sender that writes the same event anew
    /// with other white space or order repeats it.
    fn seen(&self, old: &Item) -> Seen {
        let Some(kept) = KeptEvent::from_item(old) else { return Seen::Conflict };
        if kept.body.is_some() && kept.payload() != *self.payload {
            return Seen::Conflict;
        }
        let failure = kept.failure_id.map(|id| Failure {
            id,
            code: kept.code.unwrap_or_default(),
            error: kept.error.unwrap_or_default(),
        });
        let status = if kept.status == Status::Processed { Status::Duplicate } else { kept.status };
        Seen::Repeat(self.verdict(status, kept.data, failure))
    }

    /// A repeat of a processed event leaves a record too, for whoever asks why a sender repeats; best effort.
    async fn answer_repeat(&self, verdict: Verdict) -> Verdict {
        if verdict.status == Status::Duplicate {
            let id = sortable("inb", self.hub.now(), (self.hub.random)());
            let note = Note { id: &id, ..self.note(Status::Duplicate, &verdict.data, &[]) };
            if let Err(error) = self.hub.store.put(kept::item(self.hub, self.event, &note), ABSENT, Values::new()).await
            {
                tracing::warn!(%error, "the record of a repeat couldn't be kept");
            }
        }
        verdict
    }

    /// Before another try after contention: up to 5 ms, doubled each round up to 640 ms, at random.
    async fn wait(&self, round: u32) {
        let longest = 5u64 << round.min(7);
        let share = u64::try_from((self.hub.random)() % 1000).unwrap_or(500);
        tokio::time::sleep(Duration::from_micros(longest * share)).await;
    }
}

/// The refusal of the marker, that comes first, and those of the other writes.
fn split(mut refusals: Vec<Option<Refusal>>) -> (Option<Item>, Vec<Option<Refusal>>) {
    if refusals.is_empty() {
        return (None, refusals);
    }
    let others = refusals.split_off(1);
    (refusals.pop().flatten().flatten(), others)
}

fn busy() -> StoreError {
    StoreError::Unavailable {
        operation: "TransactWriteItems",
        reason: "other transactions are at work on the same event".into(),
    }
}
