//! Import: what the other side has already is paged in. Each record is taken in as if the other side had told of it now; one
//! whose id leads nowhere yet is the same as the one of ours with its e-mail address or domain, or else its phone number.
//!
//! How far it is stands on the run's item, page by page, so that it goes on where it stopped.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    link::external_key,
    matches,
    run::{Run, Stop},
    settle::failure_item_of,
};
use crate::{
    codec,
    connector::CallError,
    ids::{derived, sortable},
    mapping::{Mapped, Merge, Outcome},
    process::{Changed, Effect, Failure, Obstacle, ROUNDS_MAX, change, failure_key, payload_of, wait},
    schedule,
    store::{Item, Key, StoreError},
    time::millis_text,
};

/// Records that are taken in at once.
const AT_ONCE: usize = 8;

/// How far an import is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Which import.
    pub id: String,
    /// `running`, `done` or `failed`.
    pub status: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Records that were taken in.
    pub imported: u64,
    /// Of these, those that were there already and are tied together now.
    pub matched: u64,
    /// Records that couldn't be taken in: failures hold them.
    pub failed: u64,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Tries of this page in vain.
    #[serde(default)]
    pub tries: u32,
    /// Why it stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Progress {
    /// One that begins.
    #[must_use]
    pub fn begin(now: Timestamp, random: u128) -> Self {
        let id = sortable("imp", now, random);
        Self { id, status: "running".into(), started_at: Some(now), ..Self::default() }
    }

    /// Reads it from the run's item.
    #[must_use]
    pub fn from_item(item: &Item) -> Option<Self> {
        serde_json::from_str(item.get_text("import")?).ok()
    }

    /// Whether it isn't over.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status == "running"
    }

    /// As the run's item keeps it.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What became of one record.
enum TakenIn {
    Done { matched: bool },
    Failed,
}

impl Run<'_> {
    /// Pages in what is left of an import. `None` when it is over.
    ///
    /// # Errors
    /// [`StoreError`] where AWS fails: it goes on from the last page.
    pub(super) async fn import(&self, mut progress: Progress) -> Result<Option<Stop>, StoreError> {
        loop {
            if self.end.is_some_and(|end| self.hub.now() >= end) || !self.is_active().await? {
                return Ok(Some(Stop::Time));
            }
            self.quota.expect(1);
            let listed = match self.connector.list(self.scope.entity, progress.cursor.as_deref()).await {
                Ok(listed) => listed,
                Err(CallError::Limited { until }) => return Ok(Some(Stop::Until(until))),
                Err(CallError::Uncounted(error)) => return Err(error),
                Err(error) => return self.page_failed(progress, &error).await,
            };
            self.take_in_page(listed.records, &mut progress).await?;
            (progress.cursor, progress.tries, progress.error) = (listed.next, 0, None);
            if progress.cursor.is_none() {
                (progress.status, progress.finished_at) = ("done".into(), Some(self.hub.now()));
            }
            if !self.note(&progress).await? {
                return Ok(Some(Stop::LeaseLost));
            }
            if progress.cursor.is_none() {
                return Ok(None);
            }
        }
    }

    async fn note(&self, progress: &Progress) -> Result<bool, StoreError> {
        self.lease.note_import(self.hub, &progress.json()).await
    }

    /// A page can't be read: it is tried again by the policy; then the import has failed, and can be begun anew.
    async fn page_failed(&self, mut progress: Progress, error: &CallError) -> Result<Option<Stop>, StoreError> {
        let policy = &self.target.integration.retry;
        let delay = schedule::delay(policy, progress.tries, error.retry_after(), (self.hub.random)());
        progress.error = Some(error.for_tenant());
        progress.tries += 1;
        let delay = delay.filter(|_| error.is_retryable());
        if delay.is_none() {
            (progress.status, progress.finished_at) = ("failed".into(), Some(self.hub.now()));
        }
        let is_ours = self.note(&progress).await?;
        let until = delay.map(|delay| self.hub.now().saturating_add(delay).unwrap_or(Timestamp::MAX));
        Ok(until.filter(|_| is_ours).map(Stop::Until))
    }

    async fn take_in_page(&self, records: Vec<Value>, progress: &mut Progress) -> Result<(), StoreError> {
        let (scope, plan) = (self.scope, self.plan);
        let ids: Vec<Option<String>> = records.iter().map(|record| plan.external_id(record)).collect();
        let mut keys: HashMap<&str, Key> = HashMap::new();
        for id in ids.iter().flatten() {
            keys.entry(id).or_insert_with(|| external_key(&scope.tenant, &scope.system, scope.entity, id));
        }
        let (names, keys): (Vec<&str>, Vec<Key>) = keys.into_iter().unzip();
        let mut known: HashMap<&str, bool> = HashMap::new();
        for (names, keys) in names.chunks(100).zip(keys.chunks(100)) {
            let found = self.hub.store.get_many(keys).await?;
            known.extend(names.iter().copied().zip(found.iter().map(Option::is_some)));
        }
        let is_known = |id: &Option<String>| id.as_deref().and_then(|id| known.get(id)).copied().unwrap_or_default();
        let known: Vec<bool> = ids.iter().map(is_known).collect();
        let taken = stream::iter(records.into_iter().zip(known))
            .map(async |(record, is_known): (Value, bool)| self.take_in(&record, is_known, None).await);
        let taken: Vec<_> = taken.buffer_unordered(AT_ONCE).collect().await;
        for one in taken {
            match one? {
                TakenIn::Done { matched } => {
                    progress.imported += 1;
                    progress.matched += u64::from(matched);
                }
                TakenIn::Failed => progress.failed += 1,
            }
        }
        Ok(())
    }

    /// Takes in again what a failure holds.
    ///
    /// # Errors
    /// [`StoreError`] where AWS fails.
    pub(super) async fn take_in_again(&self, failure_id: &str) -> Result<(), StoreError> {
        let key = failure_key(&self.scope.tenant, failure_id);
        let Some(failure) = self.hub.store.get(&key).await? else { return Ok(()) };
        let taken = self.take_in(&payload_of(&failure), false, Some(&failure)).await?;
        if matches!(taken, TakenIn::Done { .. }) { self.hub.store.delete(&key).await } else { Ok(()) }
    }

    /// Takes in one record of the other side.
    async fn take_in(&self, record: &Value, is_known: bool, failure: Option<&Item>) -> Result<TakenIn, StoreError> {
        let mut mapped = match self.plan.map(record, &self.target.tenant.default_region) {
            Outcome::Mapped(mapped) if mapped.key.is_some() => mapped,
            Outcome::Mapped(_) => return self.keep(record, ("no_id", "the record has no id"), failure).await,
            Outcome::Failed { code, error, .. } => return self.keep(record, (code, &error), failure).await,
            Outcome::Ignored { .. } => return Ok(TakenIn::Done { matched: false }),
        };
        let matched = if is_known { None } else { self.matching(&mapped).await? };
        let is_matched = matched.is_some();
        if let Some(id) = matched {
            let field = crate::mapping::MappedField { value: id.into(), merge: Merge::Last };
            mapped.fields.entry("smrt_crm_id".to_owned()).or_insert(field);
        }
        let external_id = mapped.key.clone().unwrap_or_default();
        let text = record.to_string();
        let parts = [self.scope.tenant.as_str(), self.scope.system.as_str(), &external_id, &text];
        let event_key = derived("imp", &parts);
        let event_key = event_key.get(4..20).unwrap_or_default();
        for round in 0..ROUNDS_MAX {
            let (scope, outbound) = (self.scope, &self.target.integration.outbound);
            let now = self.hub.now();
            let names = (external_id.as_str(), event_key);
            let mut effect = Effect::new(&scope.tenant, &scope.system, names, now, mapped.clone());
            self.complete(&mut effect);
            effect.correlation_id = self.correlation_id;
            if let Some(outbound) = outbound {
                effect.judge(self.hub, self.context, (scope.entity, outbound), &external_id).await?;
            }
            match change(self.hub, &effect, &[]).await? {
                Changed::Done { .. } => {
                    self.count_synced();
                    return Ok(TakenIn::Done { matched: is_matched });
                }
                Changed::Refused(_) | Changed::Obstacle(Obstacle::LinkChanged) => wait(self.hub, round).await,
                Changed::Obstacle(obstacle) => {
                    return self.keep(record, (obstacle.code(), obstacle.sentence()), failure).await;
                }
            }
        }
        Err(crate::process::busy())
    }

    /// Our record that is the same, where there is just one.
    async fn matching(&self, mapped: &Mapped) -> Result<Option<String>, StoreError> {
        let kind = self.scope.entity.kind();
        let ids = matches::find(self.hub, &self.scope.tenant, kind, |field| mapped.text(field)).await?;
        Ok(<[String; 1]>::try_from(ids).ok().map(|[id]| id))
    }

    /// Keeps a record that can't be taken in, as a failure.
    async fn keep(
        &self,
        record: &Value,
        (code, error): (&str, &str),
        failure: Option<&Item>,
    ) -> Result<TakenIn, StoreError> {
        let (hub, scope) = (self.hub, self.scope);
        let now = millis_text(hub.now());
        let id = failure.and_then(|item| item.get_text("sk")).map(str::to_owned);
        let id = id.unwrap_or_else(|| sortable("fail", hub.now(), (hub.random)()));
        let first = failure.and_then(|item| item.get_text("first")).unwrap_or(&now).to_owned();
        let attempts = failure.and_then(|item| item.get_number("attempts")).unwrap_or_default();
        let kept = Failure { id, code: code.to_owned(), error: error.to_owned() };
        let item = failure_item_of(hub, &scope.tenant, &kept)
            .text("sys", scope.system.as_str())
            .text("ent", scope.entity.as_str())
            .text("first", first)
            .number("attempts", attempts + 1)
            .bytes("body", codec::pack(record.to_string().as_bytes()));
        hub.store.put(item, "", Vec::new()).await?.ok();
        hub.metrics.sync_failed(scope, &kept, self.correlation_id);
        Ok(TakenIn::Failed)
    }
}
