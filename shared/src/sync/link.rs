//! What ties one of our records to the same record at one system: its id there, what is known of it there, and the mark
//! that says that it is to be sent. One item for each record and system.
//!
//! The mark is on the sparse index `due`, so that what changed is found without a scan; its time says when the record may be
//! sent next. Whoever writes the item counts its version up, and what was decided on an older version isn't written: so a
//! mark is cleared only if the record hasn't changed meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde_json::Value;

use super::known::{Known, fingerprint};
use crate::{
    connector::Entity,
    ids::{SystemId, TenantId},
    record::DELETED,
    store::{ABSENT, Item, Key, Update, Values, Write},
    time::millis_text,
};

/// Partitions of the index, for each entity. Each takes 1,000 writes a second.
pub(super) const SHARDS: u32 = 4;

/// Fields that are made by us when a record is sent. That they changed is no reason to send it.
pub(super) const COMPUTED: [&str; 3] = ["smrt_crm_id", "last_contact_at", "success_rate"];

/// Which record at which system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tenant.
    pub tenant: TenantId,
    /// The system.
    pub system: SystemId,
    /// The kind of record.
    pub entity: Entity,
    /// Our id of the record.
    pub record_id: String,
}

impl Place {
    /// The key of its link.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::of(&self.tenant, &format!("link#{}", self.system), self.record_id.clone())
    }

    /// Where a mark that is due at `at` stands on the index: partition and sort key.
    fn mark(&self, at: Timestamp) -> (String, String) {
        let sort = format!("{}{}", marks_prefix(&self.tenant, &self.system), millis_text(at));
        (marks_partition(&self.tenant, self.entity), sort)
    }
}

/// The partition of the index in which a tenant's marks of this entity are.
#[must_use]
pub fn marks_partition(tenant: &TenantId, entity: Entity) -> String {
    let shard = tenant.as_str().bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % SHARDS;
    shard_partition(entity, shard)
}

pub(super) fn shard_partition(entity: Entity, shard: u32) -> String {
    format!("sync#{}#{shard}", entity.as_str())
}

/// What the sort keys of a tenant's marks for a system begin with; the time follows.
#[must_use]
pub fn marks_prefix(tenant: &TenantId, system: &SystemId) -> String {
    format!("{tenant}#{system}#")
}

/// The key under which a record's id over there leads to ours.
#[must_use]
pub fn external_key(tenant: &TenantId, system: &SystemId, entity: Entity, external_id: &str) -> Key {
    Key::of(tenant, &format!("ext#{system}"), format!("{}#{external_id}", entity.as_str()))
}

/// The write that lets an external id lead to our record, where it leads nowhere or there already.
#[must_use]
pub fn external_write(place: &Place, external_id: &str, instead_of: Option<&str>) -> Write {
    let key = external_key(&place.tenant, &place.system, place.entity, external_id);
    let known = instead_of.unwrap_or(&place.record_id).to_owned();
    Write::Put {
        item: Item::new(&key).text("rec", place.record_id.as_str()),
        condition: "attribute_not_exists(pk) OR rec = :rec",
        values: vec![(":rec", AttributeValue::S(known))],
    }
}

/// The write that marks a record, whatever is known of it: it changed to `version` at `now`, because of what the log finds by
/// `correlation_id`.
#[must_use]
pub fn mark(place: &Place, version: i64, now: Timestamp, correlation_id: Option<&str>) -> Write {
    let marking = marking(place, now).set("dirty", number(version));
    Write::Update(match correlation_id {
        Some(id) => marking.set("cor", AttributeValue::S(id.to_owned())),
        None => marking.remove("cor"),
    })
}

/// What marks a record once more that failed: its tries begin anew.
#[must_use]
pub fn mark_again(place: &Place, now: Timestamp) -> Update {
    marking(place, now).set("tries", number(0)).when("attribute_exists(pk)", &[])
}

/// Takes the mark off a link, whatever it is.
#[must_use]
pub fn unmark(link: &Key) -> Write {
    let update = Update::new(link).remove("due_pk").remove("due_at").remove("since").add("lv", 1);
    Write::Update(update.when("attribute_exists(pk)", &[]))
}

fn marking(place: &Place, now: Timestamp) -> Update {
    let (partition, sort) = place.mark(now);
    // One that waits for its next try goes on waiting.
    Update::new(&place.key())
        .set("due_pk", AttributeValue::S(partition))
        .set_once("due_at", AttributeValue::S(sort))
        .set_once("since", number(now.as_millisecond()))
        .add("lv", 1)
}

fn number(n: i64) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

/// A mark: when the record may be sent, and since when it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Not before this time.
    pub due: Timestamp,
    /// When it was marked first.
    pub since: Timestamp,
}

/// The link of a record to a system; without an item, the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// Counts the writes of the item; 0 where there is none.
    pub version: i64,
    /// The record's id over there.
    pub external_id: Option<String>,
    /// What its fields are there.
    pub known: Known,
    /// That it is to be sent.
    pub mark: Option<Mark>,
    /// The record's version when it was marked last.
    pub dirty: i64,
    /// Tries in vain since the last success.
    pub tries: u32,
    /// How often it was made there: the idempotency key of a creation counts it.
    pub creations: i64,
    /// Whether a creation may have happened without our knowing.
    pub in_doubt: bool,
    /// Why the last try was in vain.
    pub error: Option<String>,
    /// The failure that holds it.
    pub failure_id: Option<String>,
    /// What the log finds the record's latest change by, until both sides agree.
    pub correlation_id: Option<String>,
}

impl Link {
    /// Reads a link's item.
    #[must_use]
    pub fn from_item(item: &Item) -> Self {
        let text = |name: &str| item.get_text(name).map(str::to_owned);
        let number = |name: &str| item.get_number(name).unwrap_or_default();
        let due = item.get_text("due_at").and_then(|sort| sort.rsplit('#').next()?.parse().ok());
        let since = item.get_number("since").and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Self {
            version: number("lv"),
            external_id: text("ext"),
            known: item.get_text("known").and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
            mark: due.map(|due| Mark { due, since: since.unwrap_or(due) }),
            dirty: number("dirty"),
            tries: number("tries").try_into().unwrap_or_default(),
            creations: number("made"),
            in_doubt: number("doubt") != 0,
            error: text("err"),
            failure_id: text("fail"),
            correlation_id: text("cor"),
        }
    }

    /// The write that replaces the item that this link was read from.
    #[must_use]
    pub fn write(&self, place: &Place) -> Write {
        let (condition, values): (&'static str, Values) = match self.version {
            0 => (ABSENT, Vec::new()),
            version => ("lv = :lv", vec![(":lv", AttributeValue::N(version.to_string()))]),
        };
        let known = if self.known == Known::default() {
            String::new()
        } else {
            serde_json::to_string(&self.known).unwrap_or_default()
        };
        let mut item = Item::new(&place.key())
            .number("lv", self.version + 1)
            .number("dirty", self.dirty)
            .text("ext", self.external_id.as_deref().unwrap_or_default())
            .text("known", known)
            .text("err", self.error.as_deref().unwrap_or_default())
            .text("fail", self.failure_id.as_deref().unwrap_or_default())
            .text("cor", self.correlation_id.as_deref().unwrap_or_default());
        for (name, value) in
            [("tries", i64::from(self.tries)), ("made", self.creations), ("doubt", i64::from(self.in_doubt))]
        {
            if value != 0 {
                item = item.number(name, value);
            }
        }
        if let Some(mark) = self.mark {
            let (partition, sort) = place.mark(mark.due);
            item = item.text("due_pk", partition).text("due_at", sort).number("since", mark.since.as_millisecond());
        }
        Write::Put { item, condition, values }
    }

    /// Marks it as changed to `version`, where it isn't marked.
    pub fn mark(&mut self, version: i64, now: Timestamp, correlation_id: Option<&str>) {
        self.dirty = version;
        self.correlation_id = correlation_id.map(str::to_owned);
        self.mark = self.mark.or(Some(Mark { due: now, since: now }));
    }

    /// Whether it exists there, as far as is known.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.external_id.is_some() && self.known.latest(DELETED) != Some(&fingerprint(&true.into()))
    }

    /// What is to be done over there for a record with these values (`None`: it is deleted).
    #[must_use]
    pub fn need(&self, values: Option<&Fields>, deletes: bool) -> Need {
        let Some(values) = values else {
            return if self.is_there() && deletes { Need::Delete } else { Need::Nothing };
        };
        if !self.is_there() {
            return Need::Create;
        }
        // What is not known to be there, and isn't here, is no difference.
        let nothing = fingerprint(&Value::Null);
        let differs =
            |(name, value): &(&String, &Value)| self.known.latest(name).unwrap_or(&nothing) != fingerprint(value);
        let changed: BTreeSet<String> = values.iter().filter(differs).map(|(name, _)| name.clone()).collect();
        if changed.iter().all(|name| COMPUTED.contains(&name.as_str())) {
            return Need::Nothing;
        }
        Need::Update(changed)
    }

    /// Notes what the record is there since `at` (milliseconds of the other side's clock).
    pub fn note(&mut self, values: Option<&Fields>, at: i64) {
        self.known.note(DELETED, at, &fingerprint(&values.is_none().into()));
        for (name, value) in values.into_iter().flatten() {
            self.known.note(name, at, &fingerprint(value));
        }
    }
}

/// The values of a record by field, bags such as `custom_fields` by key (`custom_fields.tier`).
pub type Fields = BTreeMap<String, Value>;

/// What is to be done over there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Both sides agree.
    Nothing,
    /// To make it.
    Create,
    /// To change these fields.
    Update(BTreeSet<String>),
    /// To delete it.
    Delete,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place() -> Place {
        Place {
            tenant: TenantId::parse("acme").unwrap(),
            system: SystemId::parse("crm").unwrap(),
            entity: Entity::Contact,
            record_id: "con_1".into(),
        }
    }

    fn fields(json: &Value) -> Fields {
        json.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    #[test]
    fn a_link_comes_back_from_its_item() {
        let now: Timestamp = "2026-01-15T12:00:00.5Z".parse().unwrap();
        let mut link = Link {
            external_id: Some("K#1".into()),
            dirty: 7,
            tries: 2,
            creations: 1,
            in_doubt: true,
            error: Some("no".into()),
            failure_id: Some("fail_1".into()),
            mark: Some(Mark { due: now, since: now }),
            ..Link::default()
        };
        link.note(Some(&fields(&json!({"email": "a@example.com"}))), 5);
        let Write::Put { item, condition, .. } = link.write(&place()) else { panic!("no put") };
        assert_eq!(condition, ABSENT);
        assert_eq!(Link::from_item(&item), Link { version: 1, ..link.clone() });
        assert_eq!(item.get_text("due_at"), Some("acme#crm#2026-01-15T12:00:00.500Z"));
        let Write::Put { item, condition, .. } = Link { version: 1, mark: None, ..link }.write(&place()) else {
            panic!("no put")
        };
        assert_eq!((condition, item.get_text("due_pk")), ("lv = :lv", None), "off the index");
    }

    #[test]
    fn what_is_to_be_done_is_what_differs() {
        let (here, changed) = (json!({"name": "A", "domain": null}), json!({"name": "B", "domain": null}));
        let there = |gone: bool| {
            let mut link = Link { external_id: Some("1".into()), ..Link::default() };
            link.note(Some(&fields(&here)).filter(|_| !gone), 5);
            link
        };
        let update = |names: &[&str]| Need::Update(names.iter().map(|name| (*name).to_owned()).collect());
        let with_id = json!({"name": "A", "smrt_crm_id": "com_1"});
        let both = json!({"name": "B", "smrt_crm_id": "com_1"});
        for (link, values, deletes, need) in [
            (Link::default(), Some(&here), true, Need::Create),
            (Link::default(), None, true, Need::Nothing),
            (there(false), Some(&here), true, Need::Nothing),
            (there(false), Some(&changed), true, update(&["name"])),
            (there(false), Some(&with_id), true, Need::Nothing), // only what we add
            (there(false), Some(&both), true, update(&["name", "smrt_crm_id"])),
            (there(false), None, true, Need::Delete),
            (there(false), None, false, Need::Nothing),
            (there(true), None, true, Need::Nothing),
            (there(true), Some(&here), true, Need::Create), // it came back here
        ] {
            let values = values.map(fields);
            assert_eq!(link.need(values.as_ref(), deletes), need, "{values:?} {deletes}");
        }
    }

    #[test]
    fn marks_of_one_system_stand_together() {
        let name = |text| SystemId::parse(text).unwrap();
        let (acme, other) = (TenantId::parse("acme").unwrap(), TenantId::parse("acme-2").unwrap());
        let prefixes = [
            marks_prefix(&acme, &name("crm")),
            marks_prefix(&acme, &name("crm-2")),
            marks_prefix(&acme, &name("crm2")),
            marks_prefix(&other, &name("crm")),
        ];
        assert!(prefixes.is_sorted(), "{prefixes:?}");
        for pair in prefixes.windows(2) {
            assert!(format!("{}~", pair[0]) < pair[1], "{pair:?}");
        }
    }
}
