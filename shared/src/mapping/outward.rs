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

impl CompiledRule {
    /// Maps a record outward by the rule's event of this type: each field's value goes to the first plain path of the
    /// field, through the inverse of its transforms. `record` has the form of the API, bags such as `metadata` nested.
    /// `None` if the rule doesn't name the event.
    ///
    /// What comes out maps in again to the same values.
    #[must_use]
    pub fn outward(&self, event_type: &str, record: &Map<String, Value>) -> Option<Outward> {
        let event = self.event(event_type)?;
        let mut payload = Value::Object(Map::new());
        let mut left_out = Vec::new();
        for field in event.fields.iter().filter(|field| field.paths.is_some()) {
            let Some(value) = field_of(record, &field.name).filter(|value| !value.is_null()) else {
                continue;
            };
            let placed = field.invert(value, record).and_then(|value| set(&mut payload, field.target()?, value));
            if placed.is_none() {
                left_out.push(field.name.clone());
            }
        }
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
            | Self::String
            | Self::Text => Some(value),
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

/// Sets a value at a path, making what leads there; `None` if something else stands in the way.
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
    if !place.is_null() {
        return None;
    }
    *place = value;
    Some(())
}
