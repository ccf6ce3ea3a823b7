//! From an event and what is known of the records that it touches to the writes of its transaction. Pure.
//!
//! Nothing is read before the first try: it is made on a guess (what this copy saw last, else that the record is new).
//! Every write is conditional on its guess, and a refused condition brings the item along, so that the second try knows.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    event::{self, Draft},
    ids::{SystemId, TenantId, derived},
    json,
    mapping::{Action, Mapped, Merge, Target as MappedTarget, UnknownPhone},
    phone::E164,
    record::{Change, DELETED, OCCURRED_AT, Record, Stamp},
    statistics::{CALL_ENDED, Counters, contribution, difference},
    store::{ABSENT, Item, Key, Refusal, Write},
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
pub(super) struct Effect<'a> {
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
}

impl<'a> Effect<'a> {
    pub(super) fn new(
        tenant: &'a TenantId,
        system: &'a SystemId,
        (identity, event_key): (&str, &'a str),
        received: Timestamp,
        mapped: Mapped,
        publishes: bool,
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
        Self {
            tenant,
            system,
            kind,
            record_id,
            event_key,
            received,
            stamp,
            fields,
            unknown_phone: mapped.unknown_phone,
            publishes,
        }
    }

    pub(super) fn record_key(&self) -> Key {
        Key::of(self.tenant, self.kind.name(), self.record_id.clone())
    }
}

/// A record and its version, as stored.
pub(super) type Stored = (i64, Record);

/// What is known of the items that an event touches.
pub(super) struct Known {
    pub record: Option<Stored>,
    phones: HashMap<E164, Times>,
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

/// The times on a number's item, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Times {
    first: Option<i64>,
    last: Option<i64>,
    paid: Option<i64>,
}

/// Why an event can't be applied, found while planning or committing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    UnknownPhone,
    TooLarge,
}

impl Obstacle {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::UnknownPhone => "unknown_phone_number",
            Self::TooLarge => "record_too_large",
        }
    }

    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::UnknownPhone => "Customer phone not found in CRM; replay the event once the number is known",
            Self::TooLarge => {
                "the record that this event belongs to has grown over 200 KB; let the mapping's key tell more records apart"
            }
        }
    }
}

/// DynamoDB takes items of 400 KB; a record larger than half of that is a mapping whose key never changes.
const DOC_BYTES_MAX: usize = 200_000;

/// The writes after the inbound event's own, and what each is for.
pub(super) struct Plan {
    pub writes: Vec<Write>,
    /// The number that each write changes, and whether it must exist; `None` for the record's write.
    phones: Vec<Option<(E164, bool)>>,
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
        record.apply(&Change {
            event_key: effect.event_key,
            stamp: effect.stamp,
            received: effect.received,
            fields: &effect.fields,
        });
        let after = (version + 1, record);
        let doc = serde_json::to_string(&after.1).map_err(|_| Obstacle::TooLarge)?;
        if doc.len() > DOC_BYTES_MAX {
            return Err(Obstacle::TooLarge);
        }
        let doc_bytes = doc.len();
        let first = record_write(effect, &after, doc, before.is_some());
        let mut plan = Self { writes: vec![first], phones: vec![None], after, doc_bytes, events: Vec::new() };
        for change in phone_changes(effect, before, &plan.after.1) {
            let exists = known.existing.get(&change.phone).copied().or(change.must_exist.then_some(true));
            if effect.publishes && exists == Some(false) {
                plan.events.push(event::phone_created(&change.phone));
            }
            plan.writes.push(change.write(effect, known.phones.get(&change.phone), exists));
            plan.phones.push(Some((change.phone, change.must_exist)));
        }
        if effect.publishes {
            let (kind, system) = (effect.kind, effect.system.as_str());
            plan.events.extend(event::of_change(kind, &effect.record_id, system, before, &plan.after.1));
        }
        Ok(plan)
    }

    /// The numbers that it changes.
    pub(super) fn phones(&self) -> impl Iterator<Item = &E164> {
        self.phones.iter().flatten().map(|(phone, _)| phone)
    }

    /// The numbers of which subscribers are to be told if they are new, and nobody knows yet whether they are.
    pub(super) fn undecided(&self, effect: &Effect<'_>, known: &Known) -> Vec<E164> {
        let open = |(phone, must_exist): &&(E164, bool)| !must_exist && !known.existing.contains_key(phone);
        let phones = self.phones.iter().flatten().filter(|_| effect.publishes).filter(open);
        phones.map(|(phone, _)| phone.clone()).collect()
    }

    /// Takes in what a refused transaction told. `refusals` are those of [`Plan::writes`].
    pub(super) fn learn(&self, refusals: Vec<Option<Refusal>>, known: &mut Known) -> Result<(), Obstacle> {
        for (phone, refusal) in self.phones.iter().zip(refusals) {
            match (phone, refusal) {
                (_, None) => {}
                (None, Some(item)) => known.record = item.as_ref().and_then(stored),
                (Some((_, true)), Some(None)) => return Err(Obstacle::UnknownPhone),
                (Some((phone, _)), Some(item)) => {
                    known.note_phone(phone.clone(), item.is_some());
                    let n = |name| item.as_ref().and_then(|i| i.get_number(name));
                    known.phones.insert(phone.clone(), Times { first: n("f"), last: n("l"), paid: n("pl") });
                }
            }
        }
        Ok(())
    }
}

/// Reads a record's item.
pub(super) fn stored(item: &Item) -> Option<Stored> {
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

/// What changes on one number's item.
struct PhoneChange {
    phone: E164,
    add: Counters,
    contact: Option<(i64, i64)>,
    paid: Option<i64>,
    must_exist: bool,
}

fn phone_changes(effect: &Effect<'_>, before: Option<&Record>, after: &Record) -> Vec<PhoneChange> {
    if effect.kind != Kind::Interaction {
        // A contact's or company's number is thereby known to the CRM.
        let named = |record: &Record| E164::try_from(record.text("phone_number")?.to_owned()).ok();
        let phone = named(after).filter(|phone| before.and_then(named).as_ref() != Some(phone));
        let known = |phone| PhoneChange { phone, add: Counters::new(), contact: None, paid: None, must_exist: false };
        return phone.map(known).into_iter().collect();
    }
    let old = before.and_then(contribution);
    let new = contribution(after);
    let mut changes = Vec::new();
    let moved = old.as_ref().map(|o| &o.phone) != new.as_ref().map(|n| &n.phone);
    if let Some(old) = old.as_ref().filter(|_| moved) {
        let add = difference(&Counters::new(), &old.counters);
        changes.push(PhoneChange { phone: old.phone.clone(), add, contact: None, paid: None, must_exist: false });
    }
    if let Some(new) = new {
        let old = old.filter(|_| !moved);
        let add = difference(&new.counters, old.as_ref().map_or(&Counters::new(), |o| &o.counters));
        let ms = |at: Timestamp| at.as_millisecond();
        let same = old.as_ref().is_some_and(|o| o.contact == new.contact);
        let contact = (!same).then_some((ms(new.contact.0), ms(new.contact.1)));
        let paid = new.paid_at.filter(|at| old.as_ref().and_then(|o| o.paid_at) != Some(*at)).map(ms);
        if !add.is_empty() || contact.is_some() || paid.is_some() {
            let must_exist = old.is_none() && effect.unknown_phone == UnknownPhone::Fail;
            changes.push(PhoneChange { phone: new.phone, add, contact, paid, must_exist });
        }
    }
    changes
}

impl PhoneChange {
    /// The counters are added to blindly. First and last contact can only widen: the guess is that this event is the
    /// latest; where it isn't, the refusal brings the stored times.
    fn write(&self, effect: &Effect<'_>, known: Option<&Times>, exists: Option<bool>) -> Write {
        let n = |ms: i64| AttributeValue::N(ms.to_string());
        let mut set = Vec::new();
        let mut set_once = vec![("cr".to_owned(), n(effect.received.as_millisecond()))];
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        match exists {
            Some(true) if self.must_exist || effect.publishes => conditions.push("attribute_exists(pk)".to_owned()),
            Some(false) if effect.publishes => conditions.push(ABSENT.to_owned()),
            _ => {}
        }
        let mut extend = |name: &str, to: i64, old: Option<Option<i64>>, outside: fn(i64, i64) -> bool| match old {
            Some(Some(old)) if !outside(to, old) => {}
            Some(old) => {
                set.push((name.to_owned(), n(to)));
                match old {
                    None => conditions.push(format!("attribute_not_exists({name})")),
                    Some(old) => {
                        conditions.push(format!("{name} = :{name}"));
                        values.push((format!(":{name}"), n(old)));
                    }
                }
            }
            None => {
                // The guess leaves a first contact alone and moves the last ones on.
                let assign = if name == "f" { &mut set_once } else { &mut set };
                assign.push((name.to_owned(), n(to)));
                conditions.push(format!("(attribute_not_exists({name}) OR {name} <= :{name})"));
                values.push((format!(":{name}"), n(to)));
            }
        };
        if let Some((first, last)) = self.contact {
            extend("f", first, known.map(|k| k.first), |to, old| to < old);
            extend("l", last, known.map(|k| k.last), |to, old| to > old);
        }
        if let Some(paid) = self.paid {
            extend("pl", paid, known.map(|k| k.paid), |to, old| to > old);
        }
        let add = self.add.iter().map(|(name, amount)| (name.clone(), *amount)).collect();
        let key = phone_key(effect.tenant, &self.phone);
        Write::Update { key, set, set_once, add, condition: conditions.join(" AND "), values }
    }
}
