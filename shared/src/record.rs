//! A stored record (interaction, contact, company, merchant) as the join of the events that made it.
//!
//! Every field remembers which event set it; of two events the one with the greater [`Stamp`] wins. Joining is
//! commutative, associative and idempotent, so the order in which events arrive doesn't matter and applying one again,
//! even years later, changes nothing. That is what makes the effect exactly-once; the inbound event's marker only makes
//! the answer to a repeat cheap and exact.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::mapping::Merge;

/// What orders events of one record. Compared field by field, first to last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(i64, u16, i64)", into = "(i64, u16, i64)")] // an array is a third of the bytes of a map
pub struct Stamp {
    /// When it happened, in milliseconds since 1970; 0 where the sender doesn't say.
    at: i64,
    /// The rule's `rank` of the event type: decides where no time does.
    rank: u16,
    /// When we received it; only where the sender names no time, so that its latest word wins.
    received: i64,
}

impl Stamp {
    /// The stamp of an event that happened at `occurred_at`, of a type with `rank`, received at `received`.
    #[must_use]
    pub fn new(occurred_at: Option<Timestamp>, rank: u16, received: Timestamp) -> Self {
        match occurred_at {
            Some(at) => Self { at: at.as_millisecond(), rank, received: 0 },
            None => Self { at: 0, rank, received: received.as_millisecond() },
        }
    }

    /// The time that it speaks of, in milliseconds since 1970.
    #[must_use]
    pub fn time(self) -> i64 {
        if self.at == 0 { self.received } else { self.at }
    }
}

impl From<(i64, u16, i64)> for Stamp {
    fn from((at, rank, received): (i64, u16, i64)) -> Self {
        Self { at, rank, received }
    }
}

impl From<Stamp> for (i64, u16, i64) {
    fn from(stamp: Stamp) -> Self {
        (stamp.at, stamp.rank, stamp.received)
    }
}

/// An event that was applied to a record: its key (derived from the event's identity) and its stamp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Applied(String, Stamp);

/// One value with the index in `events` of the event that set it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Set(u32, Value);

/// One event as a record sees it.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// Derived from the event's identity; the same for every repeat.
    pub event_key: &'a str,
    /// Its place among the record's events.
    pub stamp: Stamp,
    /// When this event was received.
    pub received: Timestamp,
    /// What the mapping made of it.
    pub fields: &'a BTreeMap<String, (Value, Merge)>,
}

/// The state of one record. Serialized, it is the `doc` attribute of the record's item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    #[serde(rename = "f")]
    fields: BTreeMap<String, Set>,
    #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
    lists: BTreeMap<String, Vec<Set>>,
    #[serde(rename = "e")]
    events: Vec<Applied>,
    #[serde(rename = "c")]
    created_ms: i64,
    #[serde(rename = "u")]
    updated_ms: i64,
}

/// Marks kept on a record beyond those its fields refer to. An older event without a mark still changes nothing, because
/// joining is idempotent; the mark only tells a repeat from news.
const MARKS_MAX: usize = 100;

impl Record {
    /// Whether this event has been applied.
    #[must_use]
    pub fn has(&self, event_key: &str) -> bool {
        self.events.iter().any(|e| e.0 == event_key)
    }

    /// Joins one event in. Applying it again changes nothing.
    pub fn apply(&mut self, change: &Change<'_>) {
        if self.has(change.event_key) {
            return;
        }
        let received = change.received.as_millisecond();
        self.created_ms = if self.events.is_empty() { received } else { self.created_ms.min(received) };
        self.updated_ms = self.updated_ms.max(received);
        self.events.push(Applied(change.event_key.to_owned(), change.stamp));
        let index = u32::try_from(self.events.len() - 1).unwrap_or(u32::MAX);
        for (name, (value, merge)) in change.fields {
            if *merge == Merge::Append {
                let items = match value {
                    Value::Array(items) => items.clone(),
                    one => vec![one.clone()],
                };
                self.lists.entry(name.clone()).or_default().extend(items.into_iter().map(|v| Set(index, v)));
            } else if self.fields.get(name).is_none_or(|old| self.replaces(old, index, value, *merge)) {
                self.fields.insert(name.clone(), Set(index, value.clone()));
            }
        }
        self.drop_old_marks();
    }

    fn replaces(&self, old: &Set, index: u32, new: &Value, merge: Merge) -> bool {
        let newer = self.order(index) > self.order(old.0);
        match (merge, compare(new, &old.1)) {
            (Merge::Min, Some(order)) => order.is_lt(),
            (Merge::Max, Some(order)) => order.is_gt(),
            (Merge::First, _) => !newer,
            _ => newer,
        }
    }

    /// The stamp, and the key so that two events with equal stamps have an order that doesn't depend on arrival.
    fn order(&self, index: u32) -> (Stamp, &str) {
        self.events.get(index as usize).map_or((Stamp::default(), ""), |e| (e.1, e.0.as_str()))
    }

    fn drop_old_marks(&mut self) {
        if self.events.len() <= MARKS_MAX {
            return;
        }
        let used = |index: u32| {
            self.fields.values().any(|s| s.0 == index) || self.lists.values().flatten().any(|s| s.0 == index)
        };
        let Some(oldest) = (0..).take(self.events.len() - 1).find(|i| !used(*i)) else { return };
        self.events.remove(oldest as usize);
        let moved = self.fields.values_mut().chain(self.lists.values_mut().flatten());
        moved.filter(|s| s.0 > oldest).for_each(|s| s.0 -= 1);
    }

    /// A field's value; JSON `null` counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).map(|s| &s.1).filter(|v| !v.is_null())
    }

    /// A field's value as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Every field with its value; lists in the order of their events.
    pub fn fields(&self) -> impl Iterator<Item = (&str, Value)> {
        let single = self.fields.iter().map(|(name, set)| (name.as_str(), set.1.clone()));
        let lists = self.lists.iter().map(|(name, sets)| {
            let mut sorted: Vec<&Set> = sets.iter().collect();
            sorted.sort_by_key(|s| self.order(s.0));
            (name.as_str(), sorted.into_iter().map(|s| s.1.clone()).collect())
        });
        single.chain(lists)
    }

    /// Whether the latest word is that the record was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.get(DELETED) == Some(&Value::Bool(true))
    }

    /// What is left of it once an operator erased what it says: the marks of its events, so that a repeat of one still changes
    /// nothing, and that it is deleted, by the word of the last of them.
    #[must_use]
    pub fn erased(&self) -> Self {
        let count = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        let last = (0..count).max_by(|one, other| self.order(*one).cmp(&self.order(*other))).unwrap_or(0);
        let fields = BTreeMap::from([(DELETED.to_owned(), Set(last, Value::Bool(true)))]);
        Self { fields, lists: BTreeMap::new(), ..self.clone() }
    }

    /// Whether it is what [`Record::erased`] leaves.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.is_deleted() && self.fields.len() == 1 && self.lists.is_empty()
    }

    /// Empties every field that `names` something; gives whether there was any. What an older event said of it stays empty too.
    pub fn scrub(&mut self, names: impl Fn(&Value) -> bool) -> bool {
        let before = self.clone();
        let is_named = |name: &String| names(&Value::String(name.clone()));
        self.fields.retain(|name, _| !is_named(name));
        self.lists.retain(|name, _| !is_named(name));
        for set in self.fields.values_mut().filter(|set| names(&set.1)) {
            set.1 = Value::Null;
        }
        self.lists.values_mut().for_each(|sets| sets.retain(|set| !names(&set.1)));
        *self != before
    }

    /// When the first of its events happened: what the rule's `occurred_at` gave, else the earliest receipt.
    #[must_use]
    pub fn first_at(&self) -> Timestamp {
        self.text(OCCURRED_AT)
            .and_then(|t| t.parse().ok())
            .unwrap_or_else(|| millis(self.events.iter().map(|e| e.1.time()).min().unwrap_or(0)))
    }

    /// When the last of its events happened.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        millis(self.events.iter().map(|e| e.1.time()).max().unwrap_or(0)).max(self.first_at())
    }

    /// When the first and the last of its events were received.
    #[must_use]
    pub fn received(&self) -> (Timestamp, Timestamp) {
        (millis(self.created_ms), millis(self.updated_ms))
    }
}

/// The field that says when a record's first event happened.
pub const OCCURRED_AT: &str = "occurred_at";
/// The field that says that a record was deleted; no rule can name it.
pub const DELETED: &str = "$deleted";

fn millis(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

fn compare(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        // Times of different precision don't sort as text.
        (Value::String(a), Value::String(b)) => match (a.parse::<Timestamp>(), b.parse::<Timestamp>()) {
            (Ok(a), Ok(b)) => Some(a.cmp(&b)),
            _ => Some(a.cmp(b)),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    type Fields = BTreeMap<String, (Value, Merge)>;

    fn change<'a>(key: &'a str, at: Option<i64>, rank: u16, received: i64, fields: &'a Fields) -> Change<'a> {
        let received = Timestamp::from_second(received).unwrap();
        let at = at.map(|s| Timestamp::from_second(s).unwrap());
        Change { event_key: key, stamp: Stamp::new(at, rank, received), received, fields }
    }

    fn field(name: &str, value: Value, merge: Merge) -> Fields {
        BTreeMap::from([(name.to_owned(), (value, merge))])
    }

    #[test]
    fn the_later_event_wins_by_time_then_rank_then_receipt() {
        let old = field("outcome", json!("old"), Merge::Last);
        let new = field("outcome", json!("new"), Merge::Last);
        let table = [
            ((Some(10), 0, 1), (Some(11), 0, 0)),
            ((Some(10), 0, 1), (Some(10), 1, 0)),
            ((None, 0, 9), (None, 1, 5)),
            ((None, 0, 5), (None, 0, 9)),
            ((None, 9, 9), (Some(1), 0, 0)),
        ];
        for (loser, winner) in table {
            for flip in [false, true] {
                let mut changes =
                    [change("a", loser.0, loser.1, loser.2, &old), change("b", winner.0, winner.1, winner.2, &new)];
                if flip {
                    changes.reverse();
                }
                let mut record = Record::default();
                for change in &changes {
                    record.apply(change);
                }
                assert_eq!(record.text("outcome"), Some("new"), "{loser:?} {winner:?} {flip}");
            }
        }
    }

    #[test]
    fn marks_are_bounded_and_old_events_still_change_nothing() {
        let mut record = Record::default();
        let fields: Vec<Fields> = (0..300).map(|i| field("status", json!(i), Merge::Last)).collect();
        let keys: Vec<String> = (0..300).map(|i| format!("key{i}")).collect();
        for i in 0..300 {
            record.apply(&change(&keys[i], Some(1000 + i64::try_from(i).unwrap()), 0, 5000, &fields[i]));
        }
        assert_eq!(record.events.len(), MARKS_MAX);
        assert!(!record.has("key0"));
        record.apply(&change("key0", Some(1000), 0, 9000, &fields[0]));
        assert_eq!(record.get("status"), Some(&json!(299)));
    }

    fn any_event() -> impl Strategy<Value = (u8, Option<i64>, u16, Fields)> {
        let merge = prop_oneof![Just(Merge::Last), Just(Merge::Last), Just(Merge::Min), Just(Merge::Append)];
        let value = (0..4u8, merge).prop_map(|(v, m)| (m, json!(v)));
        let fields = prop::collection::vec(value, 0..3).prop_map(|values| {
            // One merge per field name, as in one rule.
            values.into_iter().map(|(m, v)| (format!("{m:?}"), (v, m))).collect()
        });
        (any::<u8>(), prop::option::of(1..5i64), 0..3u16, fields)
    }

    proptest! {
        #[test]
        fn any_order_and_any_repeats_give_one_state(
            events in prop::collection::vec(any_event(), 1..8),
            order in prop::collection::vec(any::<prop::sample::Index>(), 8..24),
        ) {
            let keys: Vec<String> = (0..events.len()).map(|i| format!("k{i}")).collect();
            let apply = |record: &mut Record, i: usize| {
                let (received, at, rank, fields) = &events[i];
                record.apply(&change(&keys[i], *at, *rank, i64::from(*received), fields));
            };
            let mut straight = Record::default();
            (0..events.len()).for_each(|i| apply(&mut straight, i));
            let mut mixed = Record::default();
            for i in &order {
                apply(&mut mixed, i.index(events.len()));
            }
            (0..events.len()).rev().for_each(|i| apply(&mut mixed, i));
            let view = |r: &Record| (r.fields().map(|(n, v)| (n.to_owned(), v)).collect::<Vec<_>>(), r.first_at(), r.last_at(), r.received());
            prop_assert_eq!(view(&straight), view(&mixed));
        }
    }
}
