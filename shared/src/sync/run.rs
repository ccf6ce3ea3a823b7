//! A run: sends what is marked of one kind of record to one system, page by page, several calls at a time, until nothing is
//! due, its time is over, the limit is used up or the system is down.
//!
//! One run at a time works on a scope, so that no record is sent twice at once; runs of other entities, systems and tenants go
//! on beside it. What is about to be sent is noted first: the next run looks for what this one may have made, if it dies.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};

use super::{
    flight::Flight,
    link::{Need, marks_partition, marks_prefix},
    page::{PAGE, Sending, load},
    state::{self, Health, Lease, Scope, Tally},
};
use crate::{
    connector::{CallError, Connector, EntityPlan, Outgoing, Written},
    hub::Hub,
    limits::outbound::Quota,
    registry::Target,
    store::{Item, Key, StoreError},
    tenant::TenantContext,
};

/// Calls under way at once: at 100 ms each, 160 records a second.
pub(super) const AT_ONCE: usize = 16;
/// Records that fail in a row, without one that is taken in between, before the system counts as down.
const STREAK_MAX: usize = 10;
/// As many, while it isn't known to be well again.
const PROBES_MAX: usize = 3;
/// So long a record isn't given up for a failure of the system itself, while nothing else gets through either.
const DOWN_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Why a run ends before nothing is due.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// Its time is over: it goes on at once.
    Time,
    /// Nothing may be sent before.
    Until(Timestamp),
    /// Another run works on it.
    LeaseLost,
}

/// A run at work.
pub(super) struct Run<'a> {
    pub hub: &'a Hub,
    pub context: &'a TenantContext,
    pub scope: &'a Scope,
    pub target: &'a Target,
    pub plan: &'a EntityPlan,
    pub connector: &'a Connector<'a>,
    pub quota: &'a Quota<'a>,
    pub lease: &'a Lease,
    /// When it begins nothing more.
    pub end: Option<Timestamp>,
    /// The API call that asked for it, for the log.
    pub correlation_id: Option<&'a str>,
    tally: Mutex<Tally>,
    /// Records that were sent or taken in.
    synced: AtomicI64,
    again: AtomicBool,
    /// Whether the system took anything in this run.
    got_through: AtomicBool,
    /// Pauses since the system was well; 0 once something was taken.
    strikes: Mutex<u32>,
}

/// What came of a record, and whether it was sent.
type Sent = (Sending, Result<Written, CallError>);

impl<'a> Run<'a> {
    #[expect(clippy::too_many_arguments, reason = "it is all that a run works with, put together in one place")]
    pub(super) fn new(
        hub: &'a Hub,
        context: &'a TenantContext,
        scope: &'a Scope,
        (target, plan): (&'a Target, &'a EntityPlan),
        (connector, quota): (&'a Connector<'a>, &'a Quota<'a>),
        lease: &'a Lease,
        (end, correlation_id): (Option<Timestamp>, Option<&'a str>),
        health: &Health,
    ) -> Self {
        Self {
            hub,
            context,
            scope,
            target,
            plan,
            connector,
            quota,
            lease,
            end,
            correlation_id,
            tally: Mutex::default(),
            synced: AtomicI64::default(),
            again: AtomicBool::new(false),
            got_through: AtomicBool::new(false),
            strikes: Mutex::new(health.strikes),
        }
    }

    /// Something is to be looked at once more before the run ends.
    pub(super) fn look_again(&self, so: bool) {
        self.again.fetch_or(so, Ordering::Relaxed);
    }

    /// A record was sent or taken in.
    pub(super) fn count_synced(&self) {
        self.synced.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn synced(&self) -> i64 {
        self.synced.load(Ordering::Relaxed)
    }

    /// Counts.
    pub(super) fn tally(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn take_tally(&self) -> Tally {
        std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn strikes(&self) -> u32 {
        *self.strikes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn outgoing(&self, sending: &Sending) -> Option<Outgoing> {
        sending.outgoing(self.plan)
    }

    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| self.hub.now() >= end)
    }

    /// Whether tenant and system still are; else the run ends, and the next job finds out why.
    pub(super) async fn is_active(&self) -> Result<bool, StoreError> {
        let (hub, scope) = (self.hub, self.scope);
        let found = hub.registry.find_outbound(&hub.store, &scope.tenant, &scope.system, hub.now()).await?;
        Ok(found.is_some())
    }

    /// Sends what is due.
    ///
    /// # Errors
    /// [`StoreError`] where AWS fails: what is done is done, the rest stays marked.
    pub(super) async fn all(&self) -> Result<Option<Stop>, StoreError> {
        loop {
            self.again.store(false, Ordering::Relaxed);
            if let Some(stop) = self.pass().await? {
                return Ok(Some(stop));
            }
            if self.again.load(Ordering::Relaxed) {
                continue;
            }
            let mut tally = self.take_tally();
            if self.lease.give_back(self.hub, &mut tally, false).await? {
                return Ok(None);
            }
        }
    }

    /// Gives the lease back, whatever is left to do.
    pub(super) async fn give_back(&self) -> Result<(), StoreError> {
        let mut tally = self.take_tally();
        self.lease.give_back(self.hub, &mut tally, true).await.map(drop)
    }

    /// Gives the lease back where the run fails: what is in flight stays noted, for the next one to look what became of it.
    pub(super) async fn abandon(&self) -> Result<(), StoreError> {
        let mut tally = self.take_tally();
        self.lease.abandon(self.hub, &mut tally).await
    }

    /// Goes once through all that is due.
    async fn pass(&self) -> Result<Option<Stop>, StoreError> {
        let partition = marks_partition(&self.scope.tenant, self.scope.entity);
        let prefix = marks_prefix(&self.scope.tenant, &self.scope.system);
        let (until, mut after) = (self.hub.now(), None);
        loop {
            if self.is_over() {
                return Ok(Some(Stop::Time));
            }
            if !self.is_active().await? {
                return Ok(Some(Stop::Time));
            }
            let limit = i32::try_from(PAGE).unwrap_or(i32::MAX);
            let page = self.hub.store.due_with(&partition, &prefix, Some(until), (after, limit)).await?;
            let ids = page.items.iter().filter_map(Item::key).map(|Key { sk, .. }| sk);
            let ids: Vec<String> = ids.collect();
            if let Some(stop) = self.page(&ids).await? {
                return Ok(Some(stop));
            }
            after = page.next;
            if after.is_none() {
                return Ok(None);
            }
        }
    }

    /// Sends a page.
    async fn page(&self, ids: &[String]) -> Result<Option<Stop>, StoreError> {
        let outcomes = &self.target.tenant.success_outcomes;
        let loaded = load(self.hub, self.scope, ids, (self.plan, outcomes)).await?;
        // What may be there unknown to us is looked for, before it is made or, where it is deleted here, forgotten.
        let looks = |sending: &Sending| {
            let is_made = sending.need == Need::Create || (sending.values.is_none() && self.plan.deletes());
            sending.link.in_doubt && !sending.link.is_there() && is_made && self.plan.finds()
        };
        let (looked_for, others): (Vec<_>, Vec<_>) = loaded.into_iter().partition(looks);
        let (missing, stop) = self.look_for(looked_for).await?;
        let (sendings, agreed): (Vec<_>, Vec<_>) =
            others.into_iter().chain(missing).partition(|sending| sending.outgoing(self.plan).is_some());
        let agree = stream::iter(agreed).map(async |sending: Sending| self.agree(&sending).await);
        let agree = agree.buffer_unordered(AT_ONCE);
        agree.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<()>, _>>()?;
        if stop.is_some() || sendings.is_empty() {
            return Ok(stop);
        }
        let flight = sendings.iter().map(|sending| (sending.place.record_id.clone(), sending.fingerprints()));
        let flight = Flight(flight.collect::<BTreeMap<_, _>>());
        let mut tally = self.take_tally();
        if !self.lease.renew(self.hub, &flight, &mut tally).await? {
            return Ok(Some(Stop::LeaseLost));
        }
        self.send(sendings).await
    }

    /// Sends records, several calls at once. The first to fail wait until it is known whether it is the system that fails.
    async fn send(&self, sendings: Vec<Sending>) -> Result<Option<Stop>, StoreError> {
        self.quota.expect(sendings.len());
        let mut waiting: VecDeque<Sending> = sendings.into();
        let mut calls = FuturesUnordered::new();
        let mut failed: Vec<(Sending, CallError)> = Vec::new();
        let mut stop = None;
        loop {
            let probing = self.strikes() > 0;
            let (batch, at_once) =
                if probing { (1, 1) } else { (self.connector.batch_max(self.scope.entity), AT_ONCE) };
            while stop.is_none() && calls.len() < at_once && failed.len() < self.streak_max() && !waiting.is_empty() {
                if self.is_over() {
                    stop = Some(Stop::Time);
                    break;
                }
                let chunk: Vec<Sending> = waiting.drain(..batch.max(1).min(waiting.len())).collect();
                calls.push(self.call(chunk));
            }
            let Some(results) = calls.next().await else { break };
            let results: Vec<Sent> = results?;
            let is_well = results.iter().any(|(_, result)| result.is_ok());
            if is_well {
                self.well().await?;
            }
            for (sending, error) in results.into_iter().filter_map(|(sending, result)| Some((sending, result.err()?))) {
                match error {
                    CallError::Limited { until } => stop = Some(Stop::Until(until)),
                    CallError::Uncounted(error) => return Err(error),
                    error if error.is_systemic() => failed.push((sending, error)),
                    error => self.failed(&sending, &error).await?,
                }
            }
            if is_well {
                for (sending, error) in failed.drain(..) {
                    self.failed(&sending, &error).await?;
                }
            }
        }
        let down = self.judge(failed).await?;
        Ok(down.or(stop))
    }

    /// Sends some records in one call, and settles those that are taken.
    async fn call(&self, sendings: Vec<Sending>) -> Result<Vec<Sent>, StoreError> {
        let outgoing: Vec<Outgoing> = sendings.iter().filter_map(|sending| sending.outgoing(self.plan)).collect();
        let written = self.connector.sync_outbound(self.scope.entity, &outgoing).await;
        let mut results = Vec::with_capacity(sendings.len());
        for (sending, result) in sendings.into_iter().zip(written) {
            if let Ok(written) = &result {
                self.done(&sending, written).await?;
            }
            results.push((sending, result));
        }
        Ok(results)
    }

    /// The system took something.
    pub(super) async fn well(&self) -> Result<(), StoreError> {
        self.got_through.store(true, Ordering::Relaxed);
        let strikes = std::mem::take(&mut *self.strikes.lock().unwrap_or_else(PoisonError::into_inner));
        if strikes > 0 { state::resume(self.hub, self.scope).await } else { Ok(()) }
    }

    pub(super) fn streak_max(&self) -> usize {
        if self.strikes() > 0 { PROBES_MAX } else { STREAK_MAX }
    }

    /// Whether it is the system that fails, and not these records.
    fn is_down(&self, failed: &[(Sending, CallError)]) -> bool {
        use CallError::{NoCredentials, NoToken, NotConfigured, Unauthorized};
        // One is enough: no record fares better, and none is to blame.
        let is_refused =
            |error: &CallError| matches!(error, Unauthorized { .. } | NoToken(_) | NoCredentials | NotConfigured);
        let systemic: Vec<_> = failed.iter().filter(|(_, error)| error.is_systemic()).collect();
        if systemic.iter().any(|(_, error)| is_refused(error)) || systemic.len() >= self.streak_max() {
            return true;
        }
        // Rather than give one up while nothing gets through, all wait.
        let (policy, now) = (&self.target.integration.retry, self.hub.now());
        let is_last = |sending: &Sending| {
            let since = sending.link.mark.map_or(now, |mark| mark.since);
            sending.link.tries >= policy.max_attempts && now.duration_since(since) < DOWN_MAX
        };
        !self.got_through.load(Ordering::Relaxed) && systemic.iter().any(|(sending, _)| is_last(sending))
    }

    /// What becomes of records that failed in a row: where it is the system that is down, it is paused and they wait; else
    /// each is tried again by itself.
    pub(super) async fn judge(&self, failed: Vec<(Sending, CallError)>) -> Result<Option<Stop>, StoreError> {
        for (_, error) in &failed {
            match error {
                CallError::Limited { until } => return Ok(Some(Stop::Until(*until))),
                CallError::Uncounted(error) => return Err(error.clone()),
                _ => {}
            }
        }
        let is_down = self.is_down(&failed);
        let Some((_, error)) = failed.last().filter(|_| is_down) else {
            for (sending, error) in &failed {
                self.failed(sending, error).await?;
            }
            return Ok(None);
        };
        let sentence = error.for_tenant();
        let retry_after: Option<Duration> = failed.iter().filter_map(|(_, error)| error.retry_after()).max();
        let until = state::pause(self.hub, self.scope, self.strikes(), (&sentence, retry_after)).await?;
        tracing::warn!(tenant = %self.scope.tenant, system = %self.scope.system, %until, code = error.code(), "a system is paused");
        self.tally(|tally| (tally.error, tally.is_well) = (Some(sentence), false));
        // Behind those that weren't tried: one that can never be sent holds up nobody for long.
        for (sending, error) in &failed {
            self.put_off(sending, error, until, sending.link.tries).await?;
        }
        Ok(Some(Stop::Until(until)))
    }
}

/// When a run goes on that stopped; `None` where it doesn't.
pub(super) fn resumption(stop: &Stop, now: Timestamp) -> Option<Timestamp> {
    match stop {
        Stop::Time => Some(now),
        Stop::Until(until) => Some(*until),
        Stop::LeaseLost => None,
    }
}
