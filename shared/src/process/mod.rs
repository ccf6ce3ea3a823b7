//! From a verified event to its stored effect: identity, mapping, one transaction.
//!
//! The first attempt, a retry and a replay all come through [`process`].

mod change;
mod effect;
mod failure;
mod kept;
mod numbers;
mod plan;
mod verdict;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use self::kept::Note;
pub(crate) use self::{
    change::{Changed, ROUNDS_MAX, change, wait},
    effect::Effect,
    plan::{Obstacle, stored},
};
pub use self::{
    effect::{Kind, interactions_list, phone_key, record_id},
    failure::{Failure, failure_key, failure_list, give_up, orphan},
    kept::{KeptEvent, Status, inbound_key, inbound_list, payload_of, replay_of_event, replay_of_failure},
    plan::record_of,
    verdict::Verdict,
};
use crate::{
    hub::Hub,
    ids::sortable,
    inbound::InboundEvent,
    mapping::{Mapped, Outcome},
    registry::Target,
    store::{ABSENT, Item, Refusal, StoreError, Values, Write},
    tenant::TenantContext,
};

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
        Outcome::Mapped(mapped) => work.take_in(context, target, mapped).await?,
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
            tracing::debug!(correlation_id = work.correlation_id, %error, "the record of a queued event will be made when it is applied");
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
        Seen::Repeat(verdict) | Seen::Erased(verdict) if verdict.status != Status::Queued => Some(verdict),
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
    /// What its log lines are found by: one for all that has this identity, also where a body is another one.
    correlation_id: String,
    event_type: String,
}

/// What a refused marker means.
enum Seen {
    /// The same event: the verdict of the first time.
    Repeat(Verdict),
    /// The same event, of which an operator erased what it said: nothing of the repeat is kept either.
    Erased(Verdict),
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
        let correlation_id = event.correlation_id.clone().unwrap_or_else(|| inbound_id.clone());
        let publishes = target.is_some_and(|target| target.tenant.publishes);
        let event_type = String::new();
        Self { hub, event, payload, publishes, attempts: 1, identity, inbound_id, correlation_id, event_type }
    }

    /// Applies what an event says. Where the system is kept in step with us, what it says is judged by what is known of the
    /// record there; where that is old by then, once more.
    async fn take_in(
        &self,
        context: &TenantContext,
        target: &Target,
        mut mapped: Mapped,
    ) -> Result<Verdict, StoreError> {
        let warnings = std::mem::take(&mut mapped.warnings);
        let event_key = self.inbound_id.get(4..20).unwrap_or_default();
        for round in 0..ROUNDS_MAX {
            let effect = Effect::of_event(self.hub, context, target, (self.event, event_key, &self.identity), &mapped);
            let effect = Effect { correlation_id: Some(&self.correlation_id), ..effect.await? };
            if let Some(verdict) = self.apply(&effect, &warnings).await? {
                return Ok(verdict);
            }
            wait(self.hub, round).await;
        }
        Err(busy())
    }

    /// `None` where the effect is to be made anew.
    async fn apply(&self, effect: &Effect<'_>, warnings: &[String]) -> Result<Option<Verdict>, StoreError> {
        let data = Map::from_iter([(effect.kind.id_name().to_owned(), effect.record_id.clone().into())]);
        let marker = self.marker(kept::item(self.hub, self.event, &self.note(Status::Processed, &data, warnings)));
        let verdict = match change(self.hub, effect, &[marker]).await {
            Ok(Changed::Done { again, .. }) => {
                self.verdict(if again { Status::Duplicate } else { Status::Processed }, data, None)
            }
            Ok(Changed::Refused(old)) => match old.map(|old| self.seen(&old)) {
                Some(Seen::Repeat(verdict)) => self.answer_repeat(verdict).await,
                Some(Seen::Erased(verdict)) => verdict,
                Some(Seen::Conflict) => self.conflict().await?,
                None => return Ok(None),
            },
            Ok(Changed::Obstacle(Obstacle::LinkChanged)) => return Ok(None),
            Ok(Changed::Obstacle(obstacle)) => self.fail(obstacle.code(), obstacle.sentence(), warnings).await?,
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                let code = if matches!(error, StoreError::Denied { .. }) { "aws_denied" } else { "not_storable" };
                let error = format!("the event's effect can't be stored: {error}");
                self.fail(code, &error, warnings).await?
            }
        };
        Ok(Some(verdict))
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
                Seen::Erased(verdict) => Ok(verdict),
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
            correlation_id: self.correlation_id.clone(),
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
        let verdict = self.verdict(status, kept.data, failure);
        if kept.body.is_none() { Seen::Erased(verdict) } else { Seen::Repeat(verdict) }
    }

    /// A repeat of a processed event leaves a record too, for whoever asks why a sender repeats; best effort.
    async fn answer_repeat(&self, verdict: Verdict) -> Verdict {
        if verdict.status == Status::Duplicate {
            let id = sortable("inb", self.hub.now(), (self.hub.random)());
            let note = Note { id: &id, ..self.note(Status::Duplicate, &verdict.data, &[]) };
            if let Err(error) = self.hub.store.put(kept::item(self.hub, self.event, &note), ABSENT, Values::new()).await
            {
                tracing::warn!(correlation_id = self.correlation_id, %error, "the record of a repeat couldn't be kept");
            }
        }
        verdict
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

pub(crate) fn busy() -> StoreError {
    StoreError::Unavailable {
        operation: "TransactWriteItems",
        reason: "other transactions are at work on the same event".into(),
    }
}
