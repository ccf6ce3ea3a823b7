//! A rule reversed: from one of our records to the form of the other system (contract §3, §5).

use serde_json::{Map, Value};

use super::compile::{CompiledField, CompiledRule};
use super::duration;
use super::money;
use super::path::Step;
use super::transform::{Lookup, Transform};

/// A record in the form of the other system.
#[derive(Debug, Clone, PartialEq)]
pub struct Outward {
    /// The payload.
    pub value: Value,
    /// The record's fields that the rule names but can't be reversed for: their path is an expression, or a
    /// transform has no inverse for this value.
    pub left_out: Vec<String>,
}

/// What becomes of a field that is there and `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// Nothing: it is like a field that isn't there.
    Skip,
    /// It is set to `null`, so that the other system takes its value away.
    Send,
}

impl CompiledRule {
    /// Maps a record outward by the rule's event of this type: each field's value goes to the first plain path of the
    /// field, through the inverse of its transforms. `record` has the form of the API, bags such as `metadata` nested, and
    /// need hold only some of the fields. `None` if the rule doesn't name the event.
    ///
    /// Where one field leads into another's value, as `smrt_crm_id` may into `custom_fields`, both make one object, and
    /// the field with the longer path decides.
    ///
    /// What comes out maps in again to the same values.
    #[must_use]
    pub fn outward(&self, event_type: &str, record: &Map<String, Value>, nulls: Nulls) -> Option<Outward> {
        let event = self.event(event_type)?;
        let mut placed: Vec<(&[Step], Value, &str)> = Vec::new();
        let mut left_out = Vec::new();
        for field in event.fields.iter().filter(|field| field.paths.is_some()) {
            let value = match field_of(record, &field.name) {
                None => continue,
                Some(Value::Null) if nulls == Nulls::Skip => continue,
                Some(Value::Null) => Some(Value::Null),
                Some(value) => field.invert(value, record),
            };
            match (field.target(), value) {
                // Of two fields with one path the first counts.
                (Some(target), Some(value)) if placed.iter().all(|(other, ..)| *other != target) => {
                    placed.push((target, value, &field.name));
                }
                _ => left_out.push(field.name.clone()),
            }
        }
        // What leads into another field's value comes after it.
        placed.sort_by_key(|(target, ..)| target.len());
        let mut payload = Value::Object(Map::new());
        for (target, value, name) in placed {
            if set(&mut payload, target, value).is_none() {
                left_out.push(name.to_owned());
            }
        }
        left_out.sort_unstable();
        Some(Outward { value: payload, left_out })
    }
}

impl CompiledField {
    fn target(&self) -> Option<&[Step]> {
        self.paths.as_ref()?.first_writable()
    }

    fn invert(&self, value: &Value, record: &Map<String, Value>) -> Option<Value> {
        self.transforms.iter().rev().try_fold(value.clone(), |value, transform| transform.invert(value, record))
    }
}

impl Transform {
    /// A value that this transform makes `value` of; `None` where there is none, or more than one.
    fn invert(&self, value: Value, record: &Map<String, Value>) -> Option<Value> {
        match self {
            Self::Duration(duration::Unit::Milliseconds) => value.as_u64()?.checked_mul(1_000).map(Value::from),
            Self::Money { unit: money::Unit::Major, currency, currency_paths } => {
                let recorded = field_of(record, "payment.currency").or_else(|| record.get("currency"));
                let currency = match currency_paths {
                    Some(_) => recorded?.as_str()?,
                    None => currency.as_deref().unwrap_or_default(),
                };
                Some(money::major_units(value.as_i64()?, money::exponent(currency)).into())
            }
            Self::Lookup(lookup) => lookup.invert(&value),
            Self::Constant(_) | Self::JoinList { .. } | Self::JoinPaths { .. } => None,
            // Each takes its own results as they are.
            Self::Phone
            | Self::Duration(duration::Unit::Seconds)
            | Self::Timestamp
            | Self::Money { .. }
            | Self::Lowercase
            | Self::Uppercase
            | Self::Trim
            | Self::Integer
            | Self::Number
            | Self::Boolean
            | Self::Text => Some(value),
            // For systems that hold everything as text.
            Self::String => Some(match value {
                Value::Number(_) | Value::Bool(_) => Value::String(value.to_string()),
                other => other,
            }),
        }
    }
}

impl Lookup {
    /// The one key that leads to this value.
    fn invert(&self, value: &Value) -> Option<Value> {
        let mut keys = self.entries.iter().filter(|(_, ours)| *ours == value).map(|(key, _)| key);
        match (keys.next(), keys.next()) {
            (Some(key), None) => Some(key.as_str().into()),
            _ => None,
        }
    }
}

/// The value of a field by its name in a rule, e.g. `custom_fields.tier`.
fn field_of<'a>(record: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    match name.split_once('.') {
        Some((bag, inner)) => record.get(bag)?.get(inner),
        None => record.get(name),
    }
}

/// Sets a value at a path, making what leads there, in place of what a bag that was set before holds at that path; `None`
/// if something stands in the way.
fn set(payload: &mut Value, steps: &[Step], value: Value) -> Option<()> {
    let mut place = payload;
    for step in steps {
        place = match step {
            Step::Key(key) => {
                if place.is_null() {
                    *place = Value::Object(Map::new());
                }
                place.as_object_mut()?.entry(&**key).or_insert(Value::Null)
            }
            Step::Index(index) => {
                let index = usize::try_from(*index).ok()?;
                if place.is_null() {
                    *place = Value::Array(Vec::new());
                }
                let list = place.as_array_mut()?;
                if list.len() <= index {
                    list.resize(index + 1, Value::Null);
                }
                list.get_mut(index)?
            }
        };
    }
    match (place, value) {
        (Value::Object(there), Value::Object(more)) => there.extend(more),
        (place, value) => *place = value,
    }
    Some(())
}
