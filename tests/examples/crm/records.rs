//! What the CRM keeps: contacts, companies and interactions, in memory.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

pub type Fields = Map<String, Value>;

/// Where the hub writes its own id.
const SMRT_ID: &str = "smrt_crm_id";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entity {
    Contact,
    Company,
    Interaction,
}

impl Entity {
    pub const ALL: [Self; 3] = [Self::Contact, Self::Company, Self::Interaction];

    pub fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Company => "company",
            Self::Interaction => "interaction",
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Self::Contact => "contacts",
            Self::Company => "companies",
            Self::Interaction => "interactions",
        }
    }

    fn id_prefix(self) -> &'static str {
        match self {
            Self::Contact => "crm_ct",
            Self::Company => "crm_co",
            Self::Interaction => "crm_act",
        }
    }
}

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Created,
    Updated,
    Deleted,
}

/// A change, as the hub is told of it.
#[derive(Clone, Debug)]
pub struct Change {
    pub number: u64,
    pub entity: Entity,
    pub what: What,
    pub at: Timestamp,
    /// The whole record; of a deleted one its id and the time.
    pub record: Fields,
}

#[derive(Default)]
struct Table {
    /// By the CRM's own id.
    records: BTreeMap<String, Fields>,
    /// The CRM's own ids by the hub's. More than one is a record that the hub made twice.
    by_smrt_id: HashMap<String, BTreeSet<String>>,
}

impl Table {
    /// Stores a record, or with `None` deletes it.
    fn set(&mut self, id: &str, record: Option<Fields>) {
        if let Some(known) = self.records.get(id).and_then(smrt_id) {
            self.by_smrt_id.entry(known.to_owned()).or_default().remove(id);
        }
        let Some(record) = record else {
            self.records.remove(id);
            return;
        };
        if let Some(known) = smrt_id(&record) {
            self.by_smrt_id.entry(known.to_owned()).or_default().insert(id.to_owned());
        }
        self.records.insert(id.to_owned(), record);
    }
}

/// All records.
pub struct Records {
    tables: BTreeMap<Entity, Table>,
    /// The number of the last record or change. Starts at the time, so that a CRM that starts again gives no id twice.
    count: u64,
}

impl Records {
    pub fn new(now: Timestamp) -> Self {
        let tables = Entity::ALL.map(|entity| (entity, Table::default())).into();
        Self { tables, count: now.as_millisecond().unsigned_abs() }
    }

    pub fn get(&self, entity: Entity, id: &str) -> Option<&Fields> {
        self.tables[&entity].records.get(id)
    }

    pub fn count(&self, entity: Entity) -> usize {
        self.tables[&entity].records.len()
    }

    /// Those with this id of the hub.
    pub fn with_smrt_id(&self, entity: Entity, smrt_id: &str) -> Vec<&Fields> {
        let table = &self.tables[&entity];
        table.by_smrt_id.get(smrt_id).into_iter().flatten().filter_map(|id| table.records.get(id)).collect()
    }

    /// The ids that the hub gave, each with the CRM's own ids.
    pub fn smrt_ids(&self, entity: Entity) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        let ids = self.tables[&entity].by_smrt_id.iter();
        ids.filter(|(_, own)| !own.is_empty()).map(|(smrt_id, own)| (smrt_id.as_str(), own))
    }

    /// A page in the order of ids, and the cursor of the next one if there is one.
    pub fn page(&self, entity: Entity, after: Option<&str>, limit: usize) -> (Vec<&Fields>, Option<&str>) {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.tables[&entity].records.range::<str, _>((start, Bound::Unbounded));
        let page: Vec<_> = rest.by_ref().take(limit).collect();
        let next = rest.next().and_then(|_| page.last()).map(|(id, _)| id.as_str());
        (page.into_iter().map(|(_, record)| record).collect(), next)
    }

    pub fn create(&mut self, entity: Entity, record: Fields, now: Timestamp) -> Change {
        self.count += 1;
        let id = format!("{}_{}", entity.id_prefix(), self.count);
        self.store(entity, What::Created, &id, record, whole_milliseconds(now))
    }

    /// Changes a record by a JSON merge patch (RFC 7396); `None` where there is none.
    pub fn edit(&mut self, entity: Entity, id: &str, patch: Fields, now: Timestamp) -> Option<Change> {
        let mut record = self.get(entity, id)?.clone().into();
        let at = later(self.get(entity, id)?, now);
        merge(&mut record, Value::Object(patch));
        let Value::Object(record) = record else { return None };
        Some(self.store(entity, What::Updated, id, record, at))
    }

    pub fn remove(&mut self, entity: Entity, id: &str, now: Timestamp) -> Option<Change> {
        let at = later(self.get(entity, id)?, now);
        self.tables.entry(entity).or_default().set(id, None);
        let gone = [("id", Value::from(id)), ("deleted_at", at.to_string().into())];
        let record = gone.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        self.count += 1;
        Some(Change { number: self.count, entity, what: What::Deleted, at, record })
    }

    fn store(&mut self, entity: Entity, what: What, id: &str, mut record: Fields, at: Timestamp) -> Change {
        record.insert("updated_at".into(), at.to_string().into());
        record.insert("id".into(), id.into());
        self.tables.entry(entity).or_default().set(id, Some(record.clone()));
        self.count += 1;
        Change { number: self.count, entity, what, at, record }
    }
}

fn smrt_id(record: &Fields) -> Option<&str> {
    record.get("custom_fields")?.get(SMRT_ID)?.as_str()
}

/// The time of a change: later than the record's last one, so that the order of changes can be told by their times.
fn later(record: &Fields, now: Timestamp) -> Timestamp {
    let last = record.get("updated_at").and_then(|time| time.as_str()?.parse::<Timestamp>().ok());
    let next = last.and_then(|last| last.checked_add(SignedDuration::from_millis(1)).ok());
    next.map_or(whole_milliseconds(now), |next| next.max(whole_milliseconds(now)))
}

fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_does_what_the_rfc_says() {
        // Appendix A, as far as a record can be the target.
        let table = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut target, patch, expected) in table {
            merge(&mut target, patch.clone());
            assert_eq!(target, expected, "{patch}");
        }
    }

    #[test]
    fn a_record_s_changes_have_growing_times_even_when_the_clock_stands() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let mut records = Records::new(now);
        let made = records.create(Entity::Contact, Fields::new(), now);
        let id = made.record["id"].as_str().unwrap();
        let edited = records.edit(Entity::Contact, id, Fields::new(), now).unwrap();
        let removed = records.remove(Entity::Contact, id, now).unwrap();
        assert!(made.at < edited.at && edited.at < removed.at);
        assert!(records.edit(Entity::Contact, id, Fields::new(), now).is_none());
    }
}
