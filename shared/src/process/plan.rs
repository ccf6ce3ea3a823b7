//! From an event and what is known of the records that it touches to the writes of its transaction. Pure.
//!
//! Nothing is read before the first try: it is made on a guess (what this copy saw last, else that the record is new).
//! Every write is conditional on its guess, and a refused condition brings the item along, so that the second try knows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde_json::Value;

use super::numbers::{Times, phone_changes};
use crate::{
    connector::{Entity, Outbound},
    event::{self, Draft},
    hub::Hub,
    ids::{SystemId, TenantId, derived},
    inbound::InboundEvent,
    json,
    mapping::{Action, Mapped, Merge, Target as MappedTarget, UnknownPhone},
    phone::E164,
    record::{Change, DELETED, OCCURRED_AT, Record, Stamp},
    registry::Target,
    statistics::{CALL_ENDED, contribution},
    store::{ABSENT, Item, Key, Refusal, StoreError, Write},
    sync::{
        link::{self, Place},
        matches,
        told::{Told, told},
    },
    tenant::TenantContext,
};

/// Kinds of records. The name is both the kind in the key and the beginning of the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that happened with a phone number.
    Interaction,
    /// A person.
    Contact,
    /// A company.
    Company,
    /// A merchant of a payment processor.
    Merchant,
}

impl Kind {
    /// The kind in keys and ids.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interaction => "int",
            Self::Contact => "con",
            Self::Company => "com",
            Self::Merchant => "mer",
        }
    }

    fn of(target: &MappedTarget) -> Self {
        match target {
            MappedTarget::Interaction { .. } => Self::Interaction,
            MappedTarget::Contact => Self::Contact,
            MappedTarget::Company => Self::Company,
            MappedTarget::Merchant => Self::Merchant,
        }
    }

    /// The name of the record's id in an answer's `data`.
    #[must_use]
    pub fn id_name(self) -> &'static str {
        match self {
            Self::Interaction => "interaction_id",
            Self::Contact => "contact_id",
            Self::Company => "company_id",
            Self::Merchant => "merchant_id",
        }
    }
}

/// The id of the record that the other side's `key` stands for.
#[must_use]
pub fn record_id(kind: Kind, tenant: &TenantId, system: &SystemId, key: &str) -> String {
    derived(kind.name(), &[tenant.as_str(), system.as_str(), "key", key])
}

/// The list of a number's interactions on the index by time.
#[must_use]
pub fn interactions_list(tenant: &TenantId, phone: &E164) -> String {
    format!("{tenant}#phone#{phone}")
}

/// The key of a number's statistics.
#[must_use]
pub fn phone_key(tenant: &TenantId, phone: &E164) -> Key {
    Key::of(tenant, "phone", phone.as_str())
}

/// An event with its mapping, ready to be applied.
pub(crate) struct Effect<'a> {
    pub tenant: &'a TenantId,
    pub system: &'a SystemId,
    pub kind: Kind,
    pub record_id: String,
    pub event_key: &'a str,
    pub received: Timestamp,
    pub stamp: Stamp,
    pub fields: BTreeMap<String, (Value, Merge)>,
    pub unknown_phone: UnknownPhone,
    /// Whether subscribers may want to know.
    pub publishes: bool,
    /// Systems that have such records too, and are to be told of the change.
    pub syncs: Vec<SystemId>,
    /// What the change is at the system that it comes from, where that is kept in step with us.
    pub told: Option<Told>,
    /// When it is applied.
    pub now: Timestamp,
}

impl<'a> Effect<'a> {
    /// What an event says. Where its system is kept in step with us, only what is news; that takes a read.
    pub(super) async fn of_event(
        hub: &Hub,
        context: &TenantContext,
        target: &'a Target,
        (event, event_key, identity): (&'a InboundEvent, &'a str, &str),
        mapped: &Mapped,
    ) -> Result<Self, StoreError> {
        let (tenant, system) = (&target.tenant, &target.integration.system_id);
        let names = (identity, event_key);
        let mut effect = Self::new(&target.tenant_id, system, names, event.received_at, mapped.clone());
        effect.publishes = tenant.publishes;
        effect.now = hub.now();
        let Some(entity) = Entity::of(effect.kind) else { return Ok(effect) };
        effect.syncs = tenant.synced(entity).filter(|other| *other != system).cloned().collect();
        if let Some(outbound) = &target.integration.outbound
            && outbound.entity(entity).is_some()
            && let Some(external_id) = &mapped.key
        {
            effect.judge(hub, context, (entity, outbound), external_id).await?;
        }
        Ok(effect)
    }

    /// Leaves only what is news of what the system says of the record that it calls `external_id`.
    pub(crate) async fn judge(
        &mut self,
        hub: &Hub,
        context: &TenantContext,
        (entity, outbound): (Entity, &Arc<Outbound>),
        external_id: &str,
    ) -> Result<(), StoreError> {
        let fields = std::mem::take(&mut self.fields);
        let (mut told, fields) = told(hub, context, (self.system, entity, outbound), external_id, fields).await?;
        self.fields = told.news(fields, self.stamp.time());
        self.record_id.clone_from(&told.place.record_id);
        self.told = Some(told);
        Ok(())
    }

    pub(crate) fn new(
        tenant: &'a TenantId,
        system: &'a SystemId,
        (identity, event_key): (&str, &'a str),
        received: Timestamp,
        mapped: Mapped,
    ) -> Self {
        let kind = Kind::of(&mapped.target);
        let record_id = match &mapped.key {
            Some(key) => record_id(kind, tenant, system, key),
            None => derived(kind.name(), &[tenant.as_str(), system.as_str(), "event", identity]),
        };
        let mut fields: BTreeMap<_, _> = mapped.fields.into_iter().map(|(n, f)| (n, (f.value, f.merge))).collect();
        // What orders changes of a record of the other side is its own `updated_at`; of anything else, when it happened.
        let updated_at = fields.get("updated_at").and_then(|(v, _)| v.as_str()?.parse().ok());
        let stamp = Stamp::new(updated_at.or(mapped.occurred_at), mapped.rank, received);
        if let Some(at) = mapped.occurred_at {
            fields.entry(OCCURRED_AT.into()).or_insert_with(|| (Value::String(at.to_string()), Merge::Min));
        }
        if kind != Kind::Interaction
            && let Some(key) = mapped.key
        {
            fields.insert("external_id".into(), (key.into(), Merge::First));
        }
        if mapped.counts_as_call {
            fields.insert(CALL_ENDED.into(), (Value::from(1), Merge::Last));
        }
        if let MappedTarget::Interaction { interaction_type } = &mapped.target {
            fields.insert("interaction_type".into(), (interaction_type.clone().into(), Merge::Last));
        }
        // Only what the other side keeps under an `updated_at` can be deleted there and come back.
        if mapped.action == Action::Delete || fields.contains_key("updated_at") {
            fields.insert(DELETED.into(), ((mapped.action == Action::Delete).into(), Merge::Last));
        }
        let bare = Self::bare((tenant, system), (kind, record_id), event_key, received);
        Self { stamp, fields, unknown_phone: mapped.unknown_phone, ..bare }
    }

    /// A change without fields yet, of a record that is known by its id.
    pub(crate) fn bare(
        (tenant, system): (&'a TenantId, &'a SystemId),
        (kind, record_id): (Kind, String),
        event_key: &'a str,
        now: Timestamp,
    ) -> Self {
        Self {
            tenant,
            system,
            kind,
            record_id,
            event_key,
            received: now,
            stamp: Stamp::new(Some(now), 0, now),
            fields: BTreeMap::new(),
            unknown_phone: UnknownPhone::Create,
            publishes: false,
            syncs: Vec::new(),
            told: None,
            now,
        }
    }

    pub(crate) fn record_key(&self) -> Key {
        Key::of(self.tenant, self.kind.name(), self.record_id.clone())
    }
}

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
    /// What was known of the record at the system that tells of it is old: the change is to be judged anew.
    LinkChanged,
}

impl Obstacle {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::UnknownPhone => "unknown_phone_number",
            Self::TooLarge => "record_too_large",
            Self::LinkChanged => "link_changed",
        }
    }

    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::UnknownPhone => "Customer phone not found in CRM; replay the event once the number is known",
            Self::TooLarge => {
                "the record that this event belongs to has grown over 200 KB; let the mapping's key tell more records apart"
            }
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
    pub after: Stored,
    /// The record's size as it is stored.
    pub doc_bytes: usize,
    /// What subscribers are to be told.
    pub events: Vec<Draft>,
}

impl Plan {
    pub(super) fn build(effect: &Effect<'_>, known: &Known) -> Result<Self, Obstacle> {
        let (version, before) = match &known.record {
            Some((version, record)) => (*version, Some(record)),
            None => (0, None),
        };
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
        let doc_bytes = doc.len();
        let first = record_write(effect, &after, doc, before.is_some());
        let mut plan =
            Self { writes: vec![first], subjects: vec![Subject::Record], after, doc_bytes, events: Vec::new() };
        for change in phone_changes(effect, before, &plan.after.1) {
            let exists = known.existing.get(&change.phone).copied().or(change.must_exist.then_some(true));
            if effect.publishes && exists == Some(false) {
                plan.events.push(event::phone_created(&change.phone));
            }
            plan.add(
                change.write(effect, known.phones.get(&change.phone), exists),
                Subject::Phone(change.phone, change.must_exist),
            );
        }
        for (write, subject) in in_step(effect, before, &plan.after) {
            plan.add(write, subject);
        }
        if effect.publishes {
            let (kind, system) = (effect.kind, effect.system.as_str());
            plan.events.extend(event::of_change(kind, &effect.record_id, system, before, &plan.after.1));
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
    let marks = places.map(|place| link::mark(&place, *version, effect.now));
    let own = effect.told.iter().flat_map(|told| told.writes((*version, after), effect.now));
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
