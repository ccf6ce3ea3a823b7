//! Failures: what can't be applied, or was tried in vain, kept with all that it takes to do it again.

use serde_json::{Map, json};

use super::{ROUNDS_MAX, Seen, Status, Verdict, Work, busy, kept, kept::Note, split, wait};
use crate::{
    event,
    hub::Hub,
    ids::{TenantId, derived, sha256_hex, sortable},
    inbound::InboundEvent,
    registry::{self, Target},
    store::{Commit, Item, Key, StoreError, Write},
    tenant::TenantContext,
    time::millis_text,
};

/// The contract's name (§1) of what failed.
const OPERATION: &str = "process_inbound_event";

/// Why an event can't be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The failure's id, `fail_…`.
    pub id: String,
    /// A stable, machine-readable code.
    pub code: String,
    /// A sentence for people.
    pub error: String,
}

/// The key of a failure.
#[must_use]
pub fn failure_key(tenant: &TenantId, id: &str) -> Key {
    Key::of(tenant, "fail", id)
}

/// The list of a tenant's failures on the index by time.
#[must_use]
pub fn failure_list(tenant: &TenantId) -> String {
    format!("{tenant}#fail")
}

/// Keeps an event that is out of tries (`attempts` so far) after `error`, as a failure that holds its payload.
///
/// # Errors
/// [`StoreError`] where AWS fails: it isn't kept then.
pub async fn give_up(
    hub: &Hub,
    context: &TenantContext,
    target: Option<&Target>,
    (event, attempts): (&InboundEvent, u32),
    error: &StoreError,
) -> Result<Verdict, StoreError> {
    let error = format!("AWS was failing at every try, at last: {error}; replay the event once it has recovered");
    keep(hub, context, target, (event, attempts), ("retries_exhausted", &error)).await
}

/// Keeps an event whose system is gone, as a failure that holds its payload.
///
/// # Errors
/// As [`give_up`].
pub async fn orphan(
    hub: &Hub,
    context: &TenantContext,
    event: &InboundEvent,
    attempts: u32,
) -> Result<Verdict, StoreError> {
    let error = "the system was removed or switched off while the event waited; register it again and replay the event";
    keep(hub, context, None, (event, attempts), ("system_gone", error)).await
}

async fn keep(
    hub: &Hub,
    context: &TenantContext,
    target: Option<&Target>,
    (event, attempts): (&InboundEvent, u32),
    (code, error): (&str, &str),
) -> Result<Verdict, StoreError> {
    debug_assert_eq!(context.tenant(), &event.tenant_id);
    let payload = &event.payload().unwrap_or_default();
    // Where the system is gone, its tenant may still have subscribers.
    let publishes = match target {
        Some(target) => target.tenant.publishes,
        None => registry::tenant(&hub.store, context).await?.is_some_and(|tenant| tenant.publishes),
    };
    let work = Work { publishes, attempts, ..Work::new(hub, target, event, payload) };
    work.fail(code, error, &[]).await
}

impl Work<'_> {
    /// Keeps an event that can't be applied, with a failure that holds its payload.
    pub(super) async fn fail(&self, code: &str, error: &str, warnings: &[String]) -> Result<Verdict, StoreError> {
        match self.try_fail(code, error, warnings).await? {
            Ok(verdict) | Err(Seen::Erased(verdict)) => Ok(verdict),
            Err(Seen::Repeat(verdict)) => Ok(self.answer_repeat(verdict).await),
            Err(Seen::Conflict) => self.conflict().await,
        }
    }

    /// The same identity came with another body: kept under an identity of its own.
    pub(super) async fn conflict(&self) -> Result<Verdict, StoreError> {
        let body = sha256_hex(self.event.body.as_bytes());
        let event = self.event;
        let parts = [event.tenant_id.as_str(), event.system_id.as_str(), &self.identity, "conflict", &body];
        let own = Work {
            inbound_id: derived("inb", &parts),
            identity: self.identity.clone(),
            correlation_id: self.correlation_id.clone(),
            event_type: self.event_type.clone(),
            ..*self
        };
        let error =
            format!("an event with the id {} came before with another body; this one was not applied", self.identity);
        match own.try_fail("event_conflict", &error, &[]).await? {
            Ok(verdict) | Err(Seen::Repeat(verdict) | Seen::Erased(verdict)) => Ok(verdict),
            Err(Seen::Conflict) => Err(busy()), // two bodies with one SHA-256
        }
    }

    async fn try_fail(
        &self,
        code: &str,
        error: &str,
        warnings: &[String],
    ) -> Result<Result<Verdict, Seen>, StoreError> {
        // A replay that fails again renews its failure.
        let held_by = self.event.replay.as_ref().and_then(|replay| replay.failure_id.clone());
        let id = held_by.unwrap_or_else(|| sortable("fail", self.hub.now(), (self.hub.random)()));
        let failure = Failure { id, code: code.into(), error: error.into() };
        let nothing = Map::new();
        let note = Note { error, code, failure_id: &failure.id, ..self.note(Status::Failed, &nothing, warnings) };
        let marker = self.marker(kept::item(self.hub, self.event, &note));
        let record = Write::Put { item: self.failure_item(&failure), condition: "", values: Vec::new() };
        let outbox = self.outbox(&failure);
        for round in 0..ROUNDS_MAX {
            let writes = [marker.clone(), record.clone()].into_iter().chain(outbox.clone()).collect();
            match self.hub.store.commit(writes).await? {
                Commit::Done => {
                    self.hub.metrics.failure(self.event, &failure, &self.correlation_id);
                    return Ok(Ok(self.verdict(Status::Failed, Map::new(), Some(failure))));
                }
                Commit::Conflict => wait(self.hub, round).await,
                Commit::Refused(refusals) => match split(refusals).0.map(|old| self.seen(&old)) {
                    Some(seen) => return Ok(Err(seen)),
                    None => wait(self.hub, round).await,
                },
            }
        }
        Err(busy())
    }

    /// Tells subscribers.
    fn outbox(&self, failure: &Failure) -> Option<Write> {
        let about = json!({"system_id": self.event.system_id, "inbound_event_id": self.inbound_id});
        let draft = event::failure(&failure.id, OPERATION, &about, (&failure.code, &failure.error));
        let moment = (self.hub.now(), (self.hub.random)());
        let correlation_id = Some(self.correlation_id.as_str());
        event::outbox(&self.event.tenant_id, &[draft], moment, &self.hub.settings, correlation_id)
            .filter(|_| self.publishes)
    }

    fn failure_item(&self, failure: &Failure) -> Item {
        let event = self.event;
        let (received, now) = (millis_text(event.received_at), self.hub.now());
        let before = event.replay.as_ref().map_or(0, |replay| replay.attempts);
        // Mostly the one that follows from the identity again.
        let correlation_id = Some(self.correlation_id.as_str()).filter(|id| *id != event.inbound_id(&self.identity));
        let item = Item::new(&failure_key(&event.tenant_id, &failure.id))
            .listed(&failure_list(&event.tenant_id), now)
            .text("op", OPERATION)
            .text("inb", self.inbound_id.as_str())
            .text("cor", correlation_id.unwrap_or_default())
            .text("code", failure.code.as_str())
            .text("err", failure.error.as_str())
            .text("first", received)
            .text("last", millis_text(now))
            .number("attempts", self.attempts.saturating_add(before).into())
            .number("ttl", now.as_second().saturating_add_unsigned(self.hub.settings.failure_retention.as_secs()));
        kept::with_event(item, event, &self.identity)
    }
}
