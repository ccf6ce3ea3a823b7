//! The state of the syncs between a tenant and a system: one item for each entity, that the run at work on it holds, and one
//! for the system, that says whether it is paused.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{
    flight::Flight,
    import::Progress,
    link::{Link, Place, marks_partition, marks_prefix},
};
use crate::{
    connector::Entity,
    hub::Hub,
    ids::{SystemId, TenantId},
    store::{Item, Key, StoreError, Update},
    tenant::TenantContext,
    time::millis_text,
    view::json_of,
};

/// A run renews its lease with each page, and no page takes longer: four rounds of calls that end within 30 s.
const LEASE: Duration = Duration::from_mins(3);
/// The first pause of a system that is down, and the longest; each is twice the one before.
const PAUSE: Duration = Duration::from_mins(1);
const PAUSE_MAX: Duration = Duration::from_mins(30);
/// Marks that are counted at most, for people: a page of keys of 1 MB has about 5,000.
const COUNTED_PAGES_MAX: usize = 20;

/// The key of the item that a run on this entity holds.
#[must_use]
pub fn run_key(tenant: &TenantId, system: &SystemId, entity: Entity) -> Key {
    Key::of(tenant, "sync", format!("{system}#{}", entity.as_str()))
}

/// The key of the item that says whether the system is paused.
#[must_use]
pub fn system_key(tenant: &TenantId, system: &SystemId) -> Key {
    Key::of(tenant, "sync", system.as_str())
}

/// Whose syncs, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The tenant.
    pub tenant: TenantId,
    /// The system.
    pub system: SystemId,
    /// The kind of records.
    pub entity: Entity,
}

impl Scope {
    /// One of its records.
    #[must_use]
    pub fn place(&self, record_id: &str) -> Place {
        let Self { tenant, system, entity } = self.clone();
        Place { tenant, system, entity, record_id: record_id.to_owned() }
    }

    /// The key of its run's item.
    #[must_use]
    pub fn run_key(&self) -> Key {
        run_key(&self.tenant, &self.system, self.entity)
    }
}

/// Whether a system is down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Nothing is sent before.
    pub paused_until: Option<Timestamp>,
    /// Pauses since it was well.
    pub strikes: u32,
    /// Why.
    pub error: Option<String>,
}

impl Health {
    /// Reads the item of [`system_key`].
    #[must_use]
    pub fn from_item(item: &Item) -> Self {
        Self {
            paused_until: item.get_text("paused").and_then(|at| at.parse().ok()),
            strikes: item.get_number("strikes").and_then(|n| n.try_into().ok()).unwrap_or_default(),
            error: item.get_text("err").map(str::to_owned),
        }
    }

    /// The end of a pause that isn't over.
    #[must_use]
    pub fn pause(&self, now: Timestamp) -> Option<Timestamp> {
        self.paused_until.filter(|until| *until > now)
    }
}

/// Pauses a system that was well `strikes` pauses ago, for at least `retry_after`; gives the pause's end.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn pause(
    hub: &Hub,
    scope: &Scope,
    strikes: u32,
    (error, retry_after): (&str, Option<Duration>),
) -> Result<Timestamp, StoreError> {
    let own = PAUSE.saturating_mul(1 << strikes.min(10)).min(PAUSE_MAX);
    let until = hub.now().saturating_add(own.max(retry_after.unwrap_or_default())).unwrap_or(Timestamp::MAX);
    let item = Item::new(&system_key(&scope.tenant, &scope.system))
        .text("paused", millis_text(until))
        .text("err", error)
        .number("strikes", i64::from(strikes) + 1);
    hub.store.put(item, "", Vec::new()).await?.ok();
    Ok(until)
}

/// Notes that a system is well again.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn resume(hub: &Hub, scope: &Scope) -> Result<(), StoreError> {
    hub.store.delete(&system_key(&scope.tenant, &scope.system)).await
}

/// The right to work on a scope, of one run at a time.
#[derive(Debug)]
pub struct Lease {
    key: Key,
    by: String,
}

/// What a run has done since it was noted last.
#[derive(Debug, Default)]
pub struct Tally {
    /// Records that were sent.
    pub sent: i64,
    /// Records that became failures, less those that were failures and were sent.
    pub failed: i64,
    /// Why the last record that couldn't be sent couldn't.
    pub error: Option<String>,
    /// That one was sent after that.
    pub is_well: bool,
}

impl Tally {
    /// Adds what was counted to an update of the run's item, and begins anew.
    fn note(&mut self, update: Update) -> Update {
        let Self { sent, failed, error, is_well } = std::mem::take(self);
        let update = update.add("sent", sent).add("failed", failed);
        match error {
            Some(error) => update.set("err", text(error)),
            None if is_well => update.remove("err"),
            None => update,
        }
    }
}

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn lease_end(now: Timestamp) -> AttributeValue {
    text(millis_text(now.saturating_add(LEASE).unwrap_or(Timestamp::MAX)))
}

/// Takes the lease and gives what the run before left in flight; `None` while another run has it, which is then told to look
/// again before it ends.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn take(hub: &Hub, scope: &Scope) -> Result<Option<(Lease, Item)>, StoreError> {
    let (now, key) = (hub.now(), scope.run_key());
    let by = format!("{:032x}", (hub.random)());
    let taken = Update::new(&key)
        .set("lease", lease_end(now))
        .set("runner", text(&by))
        .set("last", text(millis_text(now)))
        .remove("again")
        .when("attribute_not_exists(lease) OR lease < :now", &[(":now", text(millis_text(now)))]);
    if let Ok(item) = hub.store.update(taken).await? {
        return Ok(Some((Lease { key, by }, item)));
    }
    let again = Update::new(&key).set("again", AttributeValue::N("1".into())).when("attribute_exists(lease)", &[]);
    match hub.store.update(again).await? {
        Ok(_) => Ok(None),
        // It ended just now.
        Err(_) => Box::pin(take(hub, scope)).await,
    }
}

impl Lease {
    fn own(&self) -> (&'static str, [(&'static str, AttributeValue); 1]) {
        ("runner = :runner", [(":runner", text(&self.by))])
    }

    /// Renews it, with what is about to be sent. `false` where another run has it by now.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn renew(&self, hub: &Hub, flight: &Flight, tally: &mut Tally) -> Result<bool, StoreError> {
        let (condition, values) = self.own();
        let packed = AttributeValue::B(flight.packed().into());
        let update = Update::new(&self.key).set("lease", lease_end(hub.now())).set("flight", packed);
        Ok(hub.store.update(tally.note(update).when(condition, &values)).await?.is_ok())
    }

    /// Renews it, and notes how far an import is. `false` where another run has it by now.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn note_import(&self, hub: &Hub, progress: &str) -> Result<bool, StoreError> {
        let (condition, values) = self.own();
        let update = Update::new(&self.key).set("lease", lease_end(hub.now())).set("import", text(progress));
        Ok(hub.store.update(update.when(condition, &values)).await?.is_ok())
    }

    /// Gives it back with what is in flight, as it is.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails: it then ends by itself.
    pub async fn abandon(&self, hub: &Hub, tally: &mut Tally) -> Result<(), StoreError> {
        let (own, values) = self.own();
        let update = Update::new(&self.key).remove("lease").remove("runner").remove("again");
        // Refused: another run has it by now.
        hub.store.update(tally.note(update).when(own, &values)).await.map(drop)
    }

    /// Gives it back. `false` where there is to be one more look, unless `even_so`: something came while the run was at work.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails: it then ends by itself.
    pub async fn give_back(&self, hub: &Hub, tally: &mut Tally, even_so: bool) -> Result<bool, StoreError> {
        if !self.renew(hub, &Flight::default(), tally).await? {
            return Ok(true);
        }
        let (own, values) = self.own();
        let release = Update::new(&self.key).remove("lease").remove("runner").remove("flight").remove("again");
        let condition = if even_so { own.to_owned() } else { format!("{own} AND attribute_not_exists(again)") };
        if hub.store.update(release.when(&condition, &values)).await?.is_ok() {
            return Ok(true);
        }
        let again = Update::new(&self.key).remove("again").when(&format!("{own} AND attribute_exists(again)"), &values);
        // Refused: another run has the lease by now, and looks by itself.
        Ok(hub.store.update(again).await?.is_err())
    }
}

/// Notes that an import is to begin.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn note_import(hub: &Hub, scope: &Scope, progress: &str) -> Result<(), StoreError> {
    hub.store.update(Update::new(&scope.run_key()).set("import", text(progress))).await.map(drop)
}

/// The state of all of a system's syncs, as the API shows it.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn view(
    hub: &Hub,
    context: &TenantContext,
    system: &SystemId,
    entities: &[Entity],
) -> Result<Vec<Value>, StoreError> {
    let tenant = context.tenant();
    let scopes =
        entities.iter().map(|entity| Scope { tenant: tenant.clone(), system: system.clone(), entity: *entity });
    let scopes: Vec<Scope> = scopes.collect();
    let keys: Vec<Key> = scopes.iter().map(Scope::run_key).chain([system_key(tenant, system)]).collect();
    let mut items = hub.store.get_many(&keys).await?;
    let health = items.pop().flatten().as_ref().map(Health::from_item).unwrap_or_default();
    let mut states = Vec::new();
    for (scope, item) in scopes.iter().zip(items) {
        states.push(view_one(hub, scope, &item.unwrap_or_default(), &health).await?);
    }
    Ok(states)
}

/// How a system's syncs of one kind of record are.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SyncState<'a> {
    system_id: &'a SystemId,
    entity_type: Entity,
    last_run_at: Option<&'a str>,
    /// Records that were sent, of all runs.
    sent: i64,
    /// Records that couldn't be sent: failures hold them.
    failed: i64,
    /// Records that wait to be sent.
    waiting: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_waiting_at: Option<Timestamp>,
    /// Until when nothing is sent, because the system is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
    /// The latest import.
    #[serde(skip_serializing_if = "Option::is_none")]
    import: Option<Progress>,
}

async fn view_one(hub: &Hub, scope: &Scope, run: &Item, health: &Health) -> Result<Value, StoreError> {
    let number = |name| run.get_number(name).unwrap_or_default();
    let (waiting, oldest_waiting_at) = waiting(hub, scope).await?;
    Ok(json_of(&SyncState {
        system_id: &scope.system,
        entity_type: scope.entity,
        last_run_at: run.get_text("last"),
        sent: number("sent"),
        failed: number("failed"),
        waiting,
        oldest_waiting_at,
        paused_until: health.pause(hub.now()),
        last_error: run.get_text("err").or(health.error.as_deref()),
        import: Progress::from_item(run),
    }))
}

/// How many records wait, and since when the oldest does; of those whose turn comes first, that is.
async fn waiting(hub: &Hub, scope: &Scope) -> Result<(usize, Option<Timestamp>), StoreError> {
    let prefix = marks_prefix(&scope.tenant, &scope.system);
    let partition = marks_partition(&scope.tenant, scope.entity);
    let (mut count, mut first, mut after) = (0, None, None);
    for _ in 0..COUNTED_PAGES_MAX {
        let page = hub.store.due_with(&partition, &prefix, None, (after, 5_000)).await?;
        count += page.items.len();
        first = first.or_else(|| page.items.iter().find_map(Item::key));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let Some(first) = first else { return Ok((count, None)) };
    let link = hub.store.get(&first).await?.as_ref().map(Link::from_item).unwrap_or_default();
    Ok((count, link.mark.map(|mark| mark.since)))
}
