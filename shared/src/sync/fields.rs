//! Records as they are compared and sent: values by field. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::link::Fields;
use crate::{
    connector::{Entity, EntityPlan},
    ids::SystemId,
    mapping::Merge,
    process::Kind,
    record::Record,
    statistics::contribution,
    view,
};

/// The fields that hold others by name.
const BAGS: [&str; 2] = ["custom_fields", "metadata"];

/// What we add to a record over there, as presets name it. It comes back with the system's notifications, and isn't the
/// record's own.
const ADDED: [&str; 3] = ["smrt_crm_id", "last_call_date", "call_success_rate"];

/// The record as it is sent to a system; `None` where there is nothing to be there: it is deleted, or an interaction of
/// which no number is known yet.
#[must_use]
pub fn shown(entity: Entity, id: &str, system: &SystemId, record: &Record) -> Option<Map<String, Value>> {
    if record.is_deleted() || (entity.kind() == Kind::Interaction && contribution(record).is_none()) {
        return None;
    }
    let mut shown = view::record(entity.kind(), id, system.as_str(), record);
    let fields = shown.as_object_mut().map(std::mem::take)?;
    let own = |name: &String| !["updated_at", "created_at", "system_id", "external_id"].contains(&name.as_str());
    Some(fields.into_iter().filter(|(name, _)| own(name)).collect())
}

/// The values of the fields that the system's mapping names, out of a record as it is [`shown`].
#[must_use]
pub fn values(plan: &EntityPlan, shown: &Map<String, Value>) -> Fields {
    let mut values = Fields::new();
    for name in plan.fields().filter(|name| *name != "updated_at") {
        match name.split_once('.') {
            Some((bag, key)) => {
                let value = shown.get(bag).and_then(|bag| bag.get(key)).cloned();
                values.insert(name.to_owned(), value.unwrap_or_default());
            }
            None if BAGS.contains(&name) => {
                let bag = shown.get(name).and_then(Value::as_object);
                values.extend(bag.into_iter().flatten().map(|(key, value)| (format!("{name}.{key}"), value.clone())));
            }
            None => drop(values.insert(name.to_owned(), shown.get(name).cloned().unwrap_or_default())),
        }
    }
    values
}

/// The other way round: a part of a record with these values.
#[must_use]
pub fn nested<'a>(values: impl Iterator<Item = (&'a String, &'a Value)>) -> Map<String, Value> {
    let mut record = Map::new();
    for (name, value) in values {
        match name.split_once('.') {
            Some((bag, key)) => {
                let bag = record.entry(bag).or_insert_with(|| Value::Object(Map::new()));
                if let Some(bag) = bag.as_object_mut() {
                    bag.insert(key.to_owned(), value.clone());
                }
            }
            None => drop(record.insert(name.clone(), value.clone())),
        }
    }
    record
}

/// The fields of a change, each with how it meets others.
pub type Changed = BTreeMap<String, (Value, Merge)>;

/// Takes bags apart, so that each of their keys is a field of its own, and takes out what we had added. Gives our id of the
/// record, where the change names it.
#[must_use]
pub fn flattened(fields: Changed) -> (Changed, Option<String>) {
    let mut flat = Changed::new();
    let mut our_id = None;
    for (name, (value, merge)) in fields {
        if let (true, Value::Object(bag)) = (BAGS.contains(&name.as_str()), &value) {
            flat.extend(bag.iter().map(|(key, value)| (format!("{name}.{key}"), (value.clone(), merge))));
        } else {
            flat.insert(name, (value, merge));
        }
    }
    flat.retain(|name, (value, _)| {
        let key = name.split_once('.').map_or(name.as_str(), |(_, key)| key);
        if key == "smrt_crm_id" {
            our_id = value.as_str().map(str::to_owned);
        }
        !(ADDED.contains(&key) || super::link::COMPUTED.contains(&key))
    });
    (flat, our_id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bags_are_taken_apart_and_lose_what_we_added() {
        let bag = json!({"tier": "gold", "smrt_crm_id": "con_1", "last_call_date": "x", "call_success_rate": 0.5});
        let last = |value: Value| (value, Merge::Last);
        let fields = Changed::from([("custom_fields".into(), last(bag)), ("email".into(), last(json!("a@b.c")))]);
        let (flat, our_id) = flattened(fields);
        assert_eq!(our_id.as_deref(), Some("con_1"));
        let expected = [("custom_fields.tier".into(), last(json!("gold"))), ("email".into(), last(json!("a@b.c")))];
        assert_eq!(flat, Changed::from(expected));
    }

    #[test]
    fn parts_are_put_together_again() {
        let values = Fields::from([
            ("custom_fields.a".into(), json!(1)),
            ("custom_fields.b".into(), Value::Null),
            ("email".into(), json!("a@b.c")),
        ]);
        let whole = json!({"custom_fields": {"a": 1, "b": null}, "email": "a@b.c"});
        assert_eq!(Value::Object(nested(values.iter())), whole);
    }
}
