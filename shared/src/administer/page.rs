//! Going through a tenant's partitions in pages: how much one invocation may do, and where the next one goes on.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Order;
use crate::{hub::Held, partitions::Partition, time::run_end};

/// An invocation begins nothing more so long before its time is over.
const MARGIN: Duration = Duration::from_secs(10);
/// Items that are read in one go.
const PAGE: usize = 100;

/// How much an invocation may still do.
pub(super) struct Budget<'a> {
    held: &'a Held,
    end: Option<Timestamp>,
    left: AtomicUsize,
}

impl<'a> Budget<'a> {
    /// Of an invocation that Lambda ends at `deadline_ms`.
    pub(super) fn new(held: &'a Held, deadline_ms: u64, order: &Order) -> Self {
        Self { held, end: run_end(deadline_ms, MARGIN), left: AtomicUsize::new(order.limit) }
    }

    /// Whether nothing more may be begun.
    pub(super) fn is_over(&self) -> bool {
        self.left() == 0 || self.end.is_some_and(|end| self.held.now() >= end)
    }

    /// Items of the next page.
    pub(super) fn page(&self) -> i32 {
        i32::try_from(self.left().clamp(1, PAGE)).unwrap_or(1)
    }

    /// Counts what was done.
    pub(super) fn spend(&self, items: usize) {
        self.left.store(self.left().saturating_sub(items), Ordering::Relaxed);
    }

    fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

/// A place in a walk through partitions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The last sort key that was seen there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Place {
    /// In this partition, after that sort key.
    pub(super) fn new(partition: &Partition, after: Option<String>) -> Self {
        Self { kind: partition.kind.to_owned(), of: partition.of.clone(), after }
    }
}

/// The partitions from `place` on, in the order of `kinds`, and where in the first of them to go on.
pub(super) fn from(
    mut partitions: Vec<Partition>,
    rank: impl Fn(&str) -> usize,
    place: Option<Place>,
) -> (Vec<Partition>, Option<String>) {
    partitions.sort_by_cached_key(|partition| (rank(partition.kind), partition.of.clone()));
    let Some(place) = place else { return (partitions, None) };
    let from = (rank(&place.kind), place.of.clone());
    partitions.retain(|partition| (rank(partition.kind), partition.of.clone()) >= from);
    let is_there = partitions.first().is_some_and(|first| first.kind == place.kind && first.of == place.of);
    (partitions, place.after.filter(|_| is_there))
}

/// How many there are, by what they are.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// Counts one.
    pub(super) fn add(&mut self, kind: &str) {
        self.add_all(kind, 1);
    }

    /// Counts several.
    pub(super) fn add_all(&mut self, kind: &str, count: usize) {
        if count > 0 {
            *self.0.entry(label(kind)).or_default() += count as u64;
        }
    }

    /// All of them together.
    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// For the answer.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!(self.0)
    }
}

/// What people call the items of a partition.
pub(super) fn label(kind: &str) -> &'static str {
    match kind {
        "con" => "contact",
        "com" => "company",
        "int" => "interaction",
        "phone" => "phone_number",
        "mer" => "merchant",
        "in" => "inbound_event",
        "fail" => "failure",
        "evt" => "event",
        "wait" => "waiting",
        "idem" => "idempotent_answer",
        "match" => "match",
        "limit" => "limit_counter",
        "refused" => "refused_calls",
        "pace" => "pace",
        "key" => "api_key",
        "sync" => "sync_state",
        "gone" => "removed",
        "sub" => "subscription",
        "config" => "configuration",
        "link" => "sync_link",
        "ext" => "external_id",
        "dlv" => "delivery",
        _ => "other",
    }
}
