//! From a change and what is known of the records that it touches to the writes of its transaction. Pure.
//!
//! Nothing is read before the first try: it is made on a guess (what this copy saw last, else that the record is new).
//! Every write is conditional on its guess, and a refused condition brings the item along, so that the second try knows.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use super::{
    effect::{Effect, Kind, interactions_list},
    numbers::{Times, phone_changes},
};
use crate::{
    connector::Entity,
    event::{self, Draft},
    ids::SystemId,
    json,
    phone::E164,
    record::{Change, Record},
    statistics::contribution,
    store::{ABSENT, Item, Refusal, Write},
    sync::{
        link::{self, Place},
        matches,
    },
};

/// A record and its version, as stored.
pub(crate) type Stored = (i64, Record);

/// What is known of the items that an event touches.
pub(super) struct Known {
    pub record: Option<Stored>,
    pub(super) phones: HashMap<E164, Times>,
    /// Whether there is such a number: subscribers are told of new ones.
    existing: HashMap<E164, bool>,
}

impl Known {
    pub(super) fn guess(record: Option<Stored>) -> Self {
        Self { record, phones: HashMap::new(), existing: HashMap::new() }
    }

    pub(super) fn note_phone(&mut self, phone: E164, exists: bool) {
        self.existing.insert(phone, exists);
    }
}

/// Why an event can't be applied, found while planning or committing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    UnknownPhone,
    TooLarge,
    /// The record isn't any more what it is to be changed from.
    AnotherVersion,
    /// What was known of the record at the system that tells of it is old: the change is to be judged anew.
    LinkChanged,
}

impl Obstacle {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::UnknownPhone => "unknown_phone_number",
            Self::TooLarge => "record_too_large",
            Self::AnotherVersion => "precondition_failed",
            Self::LinkChanged => "link_changed",
        }
    }

    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::UnknownPhone => "Customer phone not found in CRM; replay the event once the number is known",
            Self::TooLarge => {
                "the record that this event belongs to has grown over 200 KB; let the mapping's key tell more records apart"
            }
            Self::AnotherVersion => "the record was changed meanwhile; read it again",
            Self::LinkChanged => "other changes of the same record are at work; try again",
        }
    }
}

/// DynamoDB takes items of 400 KB; a record larger than half of that is a mapping whose key never changes.
const DOC_BYTES_MAX: usize = 200_000;

/// What a write is about.
enum Subject {
    Record,
    /// A number, and whether it must exist.
    Phone(E164, bool),
    /// The link to the system that the change comes from.
    Link,
    /// What depends on nothing.
    Other,
}

/// The writes after the inbound event's own, and what each is for.
pub(super) struct Plan {
    pub writes: Vec<Write>,
    /// What each write is about.
    subjects: Vec<Subject>,
    /// Version and text of the record afterwards.
    pub after: (i64, Box<str>),
    /// What subscribers are to be told.
    pub events: Vec<Draft>,
}

impl Plan {
    pub(super) fn build(effect: &Effect<'_>, known: &Known) -> Result<Self, Obstacle> {
        let (version, before) = match &known.record {
            Some((version, record)) => (*version, Some(record)),
            None => (0, None),
        };
        if effect.expects.is_some_and(|expected| expected != version) {
            return Err(Obstacle::AnotherVersion);
        }
        let mut record = before.cloned().unwrap_or_default();
        // What a system only knows from us leaves no trace: neither its time nor that it was told.
        let is_echo = before.is_some() && effect.told.is_some() && effect.fields.is_empty();
        if !is_echo {
            record.apply(&Change {
                event_key: effect.event_key,
                stamp: effect.stamp,
                received: effect.received,
                fields: &effect.fields,
            });
        }
        let after = (version + 1, record);
        let doc = serde_json::to_string(&after.1).map_err(|_| Obstacle::TooLarge)?;
        if doc.len() > DOC_BYTES_MAX {
            return Err(Obstacle::TooLarge);
        }
        let remembered = (after.0, doc.as_str().into());
        let first = record_write(effect, &after, doc, before.is_some());
        let mut plan =
            Self { writes: vec![first], subjects: vec![Subject::Record], after: remembered, events: Vec::new() };
        for change in phone_changes(effect, before, &after.1) {
            let exists = known.existing.get(&change.phone).copied().or(change.must_exist.then_some(true));
            if effect.publishes && exists == Some(false) {
                plan.events.push(event::phone_created(&change.phone));
            }
            plan.add(
                change.write(effect, known.phones.get(&change.phone), exists),
                Subject::Phone(change.phone, change.must_exist),
            );
        }
        for (write, subject) in in_step(effect, before, &after) {
            plan.add(write, subject);
        }
        if effect.publishes {
            let (kind, system) = (effect.kind, effect.system.as_str());
            plan.events.extend(event::of_change(kind, &effect.record_id, system, before, &after.1));
        }
        Ok(plan)
    }

    fn add(&mut self, write: Write, subject: Subject) {
        self.writes.push(write);
        self.subjects.push(subject);
    }

    fn numbers(&self) -> impl Iterator<Item = (&E164, bool)> {
        self.subjects.iter().filter_map(|subject| match subject {
            Subject::Phone(phone, must_exist) => Some((phone, *must_exist)),
            Subject::Record | Subject::Link | Subject::Other => None,
        })
    }

    /// The numbers that it changes.
    pub(super) fn phones(&self) -> impl Iterator<Item = &E164> {
        self.numbers().map(|(phone, _)| phone)
    }

    /// The numbers of which subscribers are to be told if they are new, and nobody knows yet whether they are.
    pub(super) fn undecided(&self, effect: &Effect<'_>, known: &Known) -> Vec<E164> {
        let open = |(phone, must_exist): &(&E164, bool)| !must_exist && !known.existing.contains_key(phone);
        let phones = self.numbers().filter(|_| effect.publishes).filter(open);
        phones.map(|(phone, _)| phone.clone()).collect()
    }

    /// Takes in what a refused transaction told. `refusals` are those of [`Plan::writes`].
    pub(super) fn learn(&self, refusals: Vec<Option<Refusal>>, known: &mut Known) -> Result<(), Obstacle> {
        for (subject, refusal) in self.subjects.iter().zip(refusals) {
            match (subject, refusal) {
                (_, None) | (Subject::Other, _) => {}
                (Subject::Record, Some(item)) => known.record = item.as_ref().and_then(stored),
                (Subject::Phone(_, true), Some(None)) => return Err(Obstacle::UnknownPhone),
                (Subject::Phone(phone, _), Some(item)) => {
                    known.note_phone(phone.clone(), item.is_some());
                    known.phones.insert(phone.clone(), Times::of(item.as_ref()));
                }
                (Subject::Link, Some(_)) => return Err(Obstacle::LinkChanged),
            }
        }
        Ok(())
    }
}

/// By what the record is found, and which systems are to be told of its change.
fn in_step(effect: &Effect<'_>, before: Option<&Record>, (version, after): &Stored) -> Vec<(Write, Subject)> {
    let (id, kind) = (effect.record_id.as_str(), effect.kind);
    let found_by = matches::writes(effect.tenant, kind, id, (before, after));
    let is_told = !effect.syncs.is_empty() && is_visible(kind, before, after);
    let places = effect.syncs.iter().filter(|_| is_told).filter_map(|system| place_of(effect, system));
    let marks = places.map(|place| link::mark(&place, *version, effect.now, effect.correlation_id));
    let own = effect.told.iter().flat_map(|told| told.writes((*version, after), effect.now, effect.correlation_id));
    let others = found_by.chain(marks).map(|write| (write, Subject::Other));
    others.chain(own.map(|write| (write, Subject::Link))).collect()
}

fn place_of(effect: &Effect<'_>, system: &SystemId) -> Option<Place> {
    let entity = Entity::of(effect.kind)?;
    let (tenant, record_id) = (effect.tenant.clone(), effect.record_id.clone());
    Some(Place { tenant, system: system.clone(), entity, record_id })
}

/// Whether a change shows over there: values changed, or it came or went.
fn is_visible(kind: Kind, before: Option<&Record>, after: &Record) -> bool {
    let is_there = |record: &Record| {
        if kind == Kind::Interaction { contribution(record).is_some() } else { !record.is_deleted() }
    };
    let shown = |record: &Record| {
        let own = |(name, value): &(&str, Value)| !name.starts_with('$') && *name != "updated_at" && !value.is_null();
        record.fields().filter(own).map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>()
    };
    let old = before.filter(|before| is_there(before));
    match (old, is_there(after)) {
        (None, false) => false,
        (Some(old), true) => shown(old) != shown(after),
        _ => true,
    }
}

/// Reads a record's item.
pub(crate) fn stored(item: &Item) -> Option<Stored> {
    Some((item.get_number("v")?, record_of(item)?))
}

/// A record as a copy remembers it: version and text, a quarter of what it takes once it is read.
pub(super) fn remembered((version, doc): (i64, Box<str>)) -> Option<Stored> {
    Some((version, json::parse_ours(&doc).ok()?))
}

/// Reads a record from its item.
#[must_use]
pub fn record_of(item: &Item) -> Option<Record> {
    json::parse_ours(item.get_text("doc")?).ok()
}

fn record_write(effect: &Effect<'_>, (version, record): &Stored, doc: String, exists: bool) -> Write {
    let mut item =
        Item::new(&effect.record_key()).text("sys", effect.system.as_str()).text("doc", doc).number("v", *version);
    if effect.kind == Kind::Interaction
        && let Some(contribution) = contribution(record)
    {
        item = item.listed(&interactions_list(effect.tenant, &contribution.phone), contribution.contact.0);
    }
    let (condition, values) = if exists {
        ("v = :v", vec![(":v", AttributeValue::N((version - 1).to_string()))])
    } else {
        (ABSENT, Vec::new())
    };
    Write::Put { item, condition, values }
}
