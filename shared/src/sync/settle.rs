//! What comes of sending a record goes onto its link: its id over there and what it is there, or when it is tried again.

use serde_json::{Value, json};

use super::{
    adopt::adopt,
    link::{self, Fields, Link, Mark, Need, external_write},
    page::Sending,
    run::Run,
    state::Scope,
};
use crate::{
    codec,
    connector::{Action, CallError, Entity, Outgoing, Written},
    event,
    hub::Hub,
    ids::{SystemId, TenantId, sortable},
    operation::SyncTask,
    process::{Failure, ROUNDS_MAX, failure_key, failure_list, wait},
    schedule,
    store::{Commit, Item, StoreError, Write},
    time::millis_text,
};

/// The contract's name (§1) of what failed.
const OPERATION: &str = "sync_record";

/// What a link's write met.
pub(super) enum Stored {
    Done {
        moved: bool,
    },
    /// The id over there leads to this record of ours.
    Taken(String),
}

impl Run<'_> {
    /// Writes the link of a record as `change` makes it, with what else belongs to it. Where it was changed since it was read,
    /// `change` is made on that, and told so.
    pub(super) async fn write_link(
        &self,
        sending: &Sending,
        mut change: impl FnMut(&mut Link, bool) -> Vec<Write>,
    ) -> Result<Stored, StoreError> {
        let (mut link, mut moved) = (sending.link.clone(), false);
        for round in 0..ROUNDS_MAX {
            let mut next = link.clone();
            let more = change(&mut next, moved);
            let refused = match next.write(&sending.place) {
                // Half the price of a transaction.
                Write::Put { item, condition, values } if more.is_empty() => {
                    match self.hub.store.put(item, condition, values).await? {
                        Ok(()) => return Ok(Stored::Done { moved }),
                        Err(old) => old,
                    }
                }
                write => match self.hub.store.commit([write].into_iter().chain(more).collect()).await? {
                    Commit::Done => return Ok(Stored::Done { moved }),
                    Commit::Conflict => {
                        wait(self.hub, round).await;
                        continue;
                    }
                    Commit::Refused(refusals) => {
                        let mut refusals = refusals.into_iter();
                        let own = refusals.next().flatten();
                        let other = refusals.flatten().flatten().next();
                        match (own, other.as_ref().and_then(|item| item.get_text("rec"))) {
                            (Some(old), _) => old,
                            (None, Some(taken)) => return Ok(Stored::Taken(taken.to_owned())),
                            (None, None) => None,
                        }
                    }
                },
            };
            link = refused.as_ref().map(Link::from_item).unwrap_or_default();
            moved = true;
        }
        Err(StoreError::Unavailable {
            operation: "TransactWriteItems",
            reason: "too many changes of the same record at once".into(),
        })
    }

    /// Both sides agree: the mark is cleared, unless the record changed meanwhile, and no failure holds the record any more.
    pub(super) async fn agree(&self, sending: &Sending) -> Result<(), StoreError> {
        let clear = |link: &mut Link, moved: bool| {
            if moved {
                return Vec::new();
            }
            (link.mark, link.tries, link.error, link.correlation_id) = (None, 0, None, None);
            let failure = link.failure_id.take().map(|id| Write::Delete(failure_key(&sending.place.tenant, &id)));
            failure.into_iter().collect()
        };
        if let (Stored::Done { moved: false }, Some(_)) =
            (self.write_link(sending, clear).await?, &sending.link.failure_id)
        {
            self.tally(|tally| tally.failed -= 1);
        }
        Ok(())
    }

    /// The other side has it.
    pub(super) async fn done(&self, sending: &Sending, written: &Written) -> Result<(), StoreError> {
        let at = written.updated_at.unwrap_or_else(|| self.hub.now()).as_millisecond();
        let sent: Fields = sending.sent().map(|(name, value)| (name.clone(), value.clone())).collect();
        let place = &sending.place;
        let is_new = sending.link.external_id.as_ref() != Some(&written.external_id);
        let settled = |link: &mut Link, moved: bool| {
            link.external_id = Some(written.external_id.clone());
            link.note(Some(&sent).filter(|_| sending.need != Need::Delete), at);
            // Its clock is another one, and it may tell of this as of a time before ours.
            if written.updated_at.is_none() {
                sending.fingerprints().iter().for_each(|(field, sent)| link.known.note_in_doubt(field, sent));
            }
            link.creations += i64::from(sending.need == Need::Create);
            (link.tries, link.in_doubt, link.error) = (0, false, None);
            let failure = link.failure_id.take().map(|id| Write::Delete(failure_key(&place.tenant, &id)));
            if !moved {
                (link.mark, link.correlation_id) = (None, None);
            }
            let external = is_new.then(|| external_write(place, &written.external_id, None));
            external.into_iter().chain(failure).collect()
        };
        let mut was_failed = sending.link.failure_id.is_some();
        match self.write_link(sending, settled).await? {
            Stored::Done { moved } => self.look_again(moved),
            Stored::Taken(by) => {
                let mut link = sending.link.clone();
                settled(&mut link, true);
                // It ends once both sides agree.
                link.failure_id.clone_from(&sending.link.failure_id);
                was_failed = false;
                adopt(self, (sending, link), &written.external_id, &by).await?;
                self.look_again(true);
            }
        }
        self.count_synced();
        tracing::debug!(tenant = %place.tenant, system = %place.system, record = place.record_id,
            correlation_id = sending.link.correlation_id, "a record was sent");
        self.tally(|tally| {
            tally.sent += 1;
            tally.failed -= i64::from(was_failed);
            (tally.error, tally.is_well) = (None, true);
        });
        Ok(())
    }

    /// It may be there without our knowing: it is looked for before it is made again.
    pub(super) async fn doubt(&self, sending: &Sending) -> Result<(), StoreError> {
        let doubt = |link: &mut Link, _: bool| {
            link.in_doubt = true;
            Vec::new()
        };
        self.write_link(sending, doubt).await.map(drop)
    }

    /// It was made there before, by a try whose answer was lost: what it holds there is sent with the next look.
    pub(super) async fn found(&self, sending: &Sending, written: &Written) -> Result<(), StoreError> {
        let place = &sending.place;
        let found = |link: &mut Link, _| {
            link.external_id = Some(written.external_id.clone());
            link.known.keep_doubts();
            link.creations += 1;
            link.in_doubt = false;
            vec![external_write(place, &written.external_id, None)]
        };
        if let Stored::Taken(by) = self.write_link(sending, found).await? {
            let mut link = sending.link.clone();
            found(&mut link, true);
            adopt(self, (sending, link), &written.external_id, &by).await?;
        }
        self.look_again(true);
        Ok(())
    }

    /// A try in vain: it is tried again by the policy, or becomes a failure.
    pub(super) async fn failed(&self, sending: &Sending, error: &CallError) -> Result<(), StoreError> {
        if error.is_gone() {
            return self.gone(sending).await;
        }
        let sentence = error.for_tenant();
        tracing::info!(tenant = %sending.place.tenant, system = %sending.place.system, record = sending.place.record_id,
            correlation_id = sending.link.correlation_id, tries = sending.link.tries, code = error.code(), "a record couldn't be sent");
        self.tally(|tally| (tally.error, tally.is_well) = (Some(sentence.clone()), false));
        let policy = &self.target.integration.retry;
        let tries = sending.link.tries;
        let delay = schedule::delay(policy, tries, error.retry_after(), (self.hub.random)());
        match delay.filter(|_| error.is_retryable()) {
            Some(delay) => {
                let due = self.hub.now().saturating_add(delay).unwrap_or(jiff::Timestamp::MAX);
                self.put_off(sending, error, due, tries + 1).await
            }
            None => self.give_up(sending, error, &sentence).await,
        }
    }

    /// Lets a record wait until `due`.
    pub(super) async fn put_off(
        &self,
        sending: &Sending,
        error: &CallError,
        due: jiff::Timestamp,
        tries: u32,
    ) -> Result<(), StoreError> {
        let later = |link: &mut Link, _: bool| {
            note_doubt(link, sending, error);
            link.tries = tries;
            link.error = Some(error.for_tenant());
            let since = link.mark.map_or(due, |mark| mark.since);
            link.mark = Some(Mark { due, since });
            Vec::new()
        };
        self.write_link(sending, later).await.map(drop)
    }

    /// It is no longer there: what was deleted here is done, anything else is made anew.
    async fn gone(&self, sending: &Sending) -> Result<(), StoreError> {
        if sending.need == Need::Delete {
            let external_id = sending.link.external_id.clone().unwrap_or_default();
            return self.done(sending, &Written { external_id, updated_at: None }).await;
        }
        let anew = |link: &mut Link, _: bool| {
            link.external_id = None;
            link.known.clear();
            Vec::new()
        };
        self.look_again(true);
        self.write_link(sending, anew).await.map(drop)
    }

    /// Out of tries, or not worth another one.
    async fn give_up(&self, sending: &Sending, error: &CallError, sentence: &str) -> Result<(), StoreError> {
        let (hub, place) = (self.hub, &sending.place);
        let new_id = sortable("fail", hub.now(), (hub.random)());
        let id = sending.link.failure_id.clone().unwrap_or(new_id);
        let failure = Failure { id, code: error.code().to_owned(), error: format!("{sentence}; mend it, then retry") };
        let old = match &sending.link.failure_id {
            Some(id) => hub.store.get(&failure_key(&place.tenant, id)).await?,
            None => None,
        };
        let item = failure_item(hub, sending, (&failure, old.as_ref()), self.outgoing(sending));
        let record = Write::Put { item, condition: "", values: Vec::new() };
        let about = json!({"system_id": place.system, "entity_type": place.entity, "record_id": place.record_id});
        let draft = event::failure(&failure.id, OPERATION, &about, (&failure.code, &failure.error));
        let moment = (hub.now(), (hub.random)());
        let correlation_id = sending.link.correlation_id.as_deref();
        let outbox = event::outbox(&place.tenant, &[draft], moment, &hub.settings, correlation_id);
        let outbox = outbox.filter(|_| self.target.tenant.publishes);
        let kept = |link: &mut Link, moved: bool| {
            note_doubt(link, sending, error);
            link.tries = 0;
            link.error = Some(sentence.to_owned());
            link.failure_id = Some(failure.id.clone());
            // What changed meanwhile may do better.
            if !moved {
                link.mark = None;
            }
            [record.clone()].into_iter().chain(outbox.clone()).collect()
        };
        self.write_link(sending, kept).await?;
        hub.metrics.sync_failed(self.scope, &failure, correlation_id);
        if sending.link.failure_id.is_none() {
            self.tally(|tally| tally.failed += 1);
        }
        Ok(())
    }
}

fn note_doubt(link: &mut Link, sending: &Sending, error: &CallError) {
    if error.is_in_doubt() {
        link.in_doubt |= sending.need == Need::Create;
        for (field, sent) in sending.fingerprints() {
            link.known.note_in_doubt(&field, &sent);
        }
    }
}

/// `old`: as it was kept before.
fn failure_item(
    hub: &Hub,
    sending: &Sending,
    (failure, old): (&Failure, Option<&Item>),
    outgoing: Option<Outgoing>,
) -> Item {
    let (place, now) = (&sending.place, hub.now());
    let body = match outgoing.map(|outgoing| outgoing.action) {
        Some(Action::Create { body, .. } | Action::Update { body, .. }) => body,
        Some(Action::Delete { .. }) | None => Value::Null,
    };
    let first = millis_text(sending.link.mark.map_or(now, |mark| mark.since));
    let first = old.and_then(|old| old.get_text("first")).map_or(first, str::to_owned);
    let attempts = old.and_then(|old| old.get_number("attempts")).unwrap_or_default();
    failure_item_of(hub, &sending.place.tenant, failure)
        .text("sys", place.system.as_str())
        .text("ent", place.entity.as_str())
        .text("rec", place.record_id.as_str())
        .text("first", first)
        .number("attempts", attempts + i64::from(sending.link.tries) + 1)
        .bytes("body", codec::pack(body.to_string().as_bytes()))
}

/// What all failures of syncs have.
pub(super) fn failure_item_of(hub: &Hub, tenant: &TenantId, failure: &Failure) -> Item {
    let now = hub.now();
    Item::new(&failure_key(tenant, &failure.id))
        .listed(&failure_list(tenant), now)
        .text("op", OPERATION)
        .text("code", failure.code.as_str())
        .text("err", failure.error.as_str())
        .text("last", millis_text(now))
        .number("ttl", now.as_second().saturating_add_unsigned(hub.settings.failure_retention.as_secs()))
}

/// What a failure of a sync holds: whose, and what is to be done to try again; `None` where it holds something else.
#[must_use]
pub fn held_by(failure: &Item, tenant: &TenantId) -> Option<(Scope, Held)> {
    let entity = Entity::parse(failure.get_text("ent")?)?;
    let scope = Scope { tenant: tenant.clone(), system: SystemId::parse(failure.get_text("sys")?).ok()?, entity };
    let held = match failure.get_text("rec") {
        Some(record_id) => Held::Ours(record_id.to_owned()),
        None => Held::Theirs(failure.get_text("sk")?.to_owned()),
    };
    Some((scope, held))
}

/// What a failure of a sync holds.
pub enum Held {
    /// A record of ours that couldn't be sent.
    Ours(String),
    /// A record of the other side that couldn't be taken in, by the failure that has it.
    Theirs(String),
}

/// Has what a failure holds tried again: gives the task of the run that does it.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn again(hub: &Hub, scope: &Scope, held: Held) -> Result<SyncTask, StoreError> {
    let record_id = match held {
        Held::Theirs(failure_id) => return Ok(SyncTask::TakeIn { failure_id }),
        Held::Ours(record_id) => record_id,
    };
    hub.store.update(link::mark_again(&scope.place(&record_id), hub.now())).await?.ok();
    Ok(SyncTask::Send)
}
