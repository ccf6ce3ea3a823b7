//! A mapping rule as it is written: JSON, kept as data, checked when it is compiled.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Largest rule, in bytes of compact JSON.
pub const RULE_BYTES_MAX: usize = 64 * 1024;
/// Most event types that one rule names.
pub const EVENTS_MAX: usize = 200;
/// Most fields of one event.
pub const FIELDS_MAX: usize = 100;
/// Most transforms of one field, and most validators.
pub const STEPS_MAX: usize = 10;
/// Most expressions and patterns of one event: the parts whose time grows with the payload by more than a glance.
/// On a 256 KiB body made for the purpose, one takes up to 50 ms.
pub const COSTLY_PARTS_MAX: usize = 32;

/// A fault in a rule, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The place in the rule, dotted, e.g. `events.call.ended.fields.outcome`; empty for the rule as a whole.
    pub field: String,
    /// What is wrong, as a sentence.
    pub message: String,
}

impl Problem {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.field, self.message) }
    }
}

/// One path, or several of which the first that finds something counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
pub enum Paths {
    /// A single path.
    One(String),
    /// Alternatives, in order of preference.
    Many(Vec<String>),
}

impl Paths {
    /// Reads paths from JSON; `None` if it is neither text nor a list of texts.
    pub(super) fn of(json: &Value) -> Option<Self> {
        Self::deserialize(json).ok()
    }

    /// The paths in order.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Many(paths) => paths,
        }
    }
}

/// Where an event's type stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a path, a list of paths, or {\"header\": …}")]
pub enum EventType {
    /// In the body.
    Body(Paths),
    /// In a request header.
    Header(HeaderType),
}

/// An event type that stands in a header, as GitHub's does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderType {
    /// The header's name, in lower case.
    pub header: String,
    /// A path in the body to what is done, e.g. `action`: the type is then `issues.opened`, and a rule for `issues`
    /// serves it where there is none for `issues.opened`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Paths>,
}

/// What to do with an event whose phone number the CRM doesn't know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownPhone {
    /// Make it known.
    Create,
    /// Fail the event; it can be replayed once the number is known.
    Fail,
}

/// What to do with an interaction's event that names no phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WithoutPhone {
    /// Fail it.
    Fail,
    /// Let it wait under its key until another event names the number.
    Wait,
    /// There is nothing to do with it.
    Ignore,
}

/// What to do with an event type that the rule doesn't name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownEvent {
    /// Fail the event.
    Fail,
    /// There is nothing to do with it.
    Ignore,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// Something that happened with a phone number.
    Interaction,
    /// A person.
    Contact,
    /// A company.
    Company,
    /// A merchant of the payment processor.
    Merchant,
}

/// What an event does to its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Makes it or changes it.
    #[default]
    Upsert,
    /// Removes it.
    Delete,
}

/// How the values that several events of one key give to a field meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// The latest event's value stands.
    Last,
    /// The earliest event's value stands.
    First,
    /// The smallest value stands.
    Min,
    /// The largest value stands.
    Max,
    /// All values stand, as a list without repeats.
    Append,
}

/// How one field is filled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldRule {
    /// Where the value stands in the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Paths>,
    /// One transform or a list of them, as described in [`super`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<Value>,
    /// The value of `"transform":"constant"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Taken where the path finds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// One validator or a list of them, as described in [`super`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<Value>,
    /// Whether the event fails without this field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// How values of several events meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<Merge>,
}

/// What one event type means.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// The type of the interaction that the event makes or changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interaction_type: Option<String>,
    /// The kind of record, where it isn't an interaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordKind>,
    /// What the event does to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub action: Action,
    /// Like [`Rule::key`], for this event alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Paths>,
    /// Like [`Rule::occurred_at`], for this event alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Paths>,
    /// Like [`Rule::unknown_phone`], for this event alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_phone: Option<UnknownPhone>,
    /// Like [`Rule::without_phone`], for this event alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_phone: Option<WithoutPhone>,
    /// Which of two events of one key and one time counts as the later: the one with the higher rank.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rank: u16,
    /// Whether the event contributes a call to the number's statistics; by default, if its interaction is of a type
    /// that ends in `call`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_as_call: Option<bool>,
    /// The fields by name.
    #[serde(default)]
    pub fields: BTreeMap<String, FieldRule>,
}

/// A mapping rule: what the events of one system mean (contract §3).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The system. What a rule for a built-in system leaves out is as in the built-in rule.
    #[serde(default)]
    pub system_id: String,
    /// The tenant's own count of this rule's versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Where the event's identity stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Paths>,
    /// Where the event's type stands. A rule for one kind of event leaves it out and names the event `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<EventType>,
    /// What the event belongs to, e.g. the id of a call: all events with one key make one record. An empty list
    /// says that each event stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Paths>,
    /// When the event happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Paths>,
    /// What to do with a phone number that the CRM doesn't know; to create it by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_phone: Option<UnknownPhone>,
    /// What to do with an event that names no phone number; to fail it by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_phone: Option<WithoutPhone>,
    /// What to do with an event type that is not named here; to ignore it by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_event: Option<UnknownEvent>,
    /// The event types; `*` is any type that isn't named.
    pub events: BTreeMap<String, EventRule>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a rule from JSON, part by part, so that each fault is named with its place.
///
/// # Errors
/// All places where the JSON has not the form of a rule. What its values say is checked by [`Rule::compile`].
pub fn parse_rule(json: &Value) -> Result<Rule, Vec<Problem>> {
    let Some(object) = json.as_object() else {
        return Err(vec![Problem::new("", "a mapping rule is a JSON object")]);
    };
    if json.to_string().len() > RULE_BYTES_MAX {
        return Err(vec![Problem::new("", format!("a mapping rule is at most {RULE_BYTES_MAX} bytes"))]);
    }
    let mut problems = Vec::new();
    let rule = parse_parts::<Rule>(object, "", "events", &mut problems, |place, event, problems| {
        let event = event.as_object().ok_or("is not an object").map_err(str::to_owned)?;
        let event = parse_parts::<EventRule>(event, place, "fields", problems, |_, field, _| {
            serde_json::from_value::<FieldRule>(field.clone()).map_err(|error| error.to_string())
        });
        Ok(event.unwrap_or_default())
    });
    match rule {
        Some(rule) if problems.is_empty() => Ok(rule),
        _ => Err(problems),
    }
}

/// A rule or an event of a rule, which holds named parts.
trait Whole: DeserializeOwned {
    type Part;
    fn with_parts(self, parts: BTreeMap<String, Self::Part>) -> Self;
}

impl Whole for Rule {
    type Part = EventRule;
    fn with_parts(self, events: BTreeMap<String, EventRule>) -> Self {
        Self { events, ..self }
    }
}

impl Whole for EventRule {
    type Part = FieldRule;
    fn with_parts(self, fields: BTreeMap<String, FieldRule>) -> Self {
        Self { fields, ..self }
    }
}

/// Reads an object apart from its parts, which stand under `parts_name`, and each part by itself.
fn parse_parts<T: Whole>(
    object: &Map<String, Value>,
    place: &str,
    parts_name: &str,
    problems: &mut Vec<Problem>,
    mut parse_part: impl FnMut(&str, &Value, &mut Vec<Problem>) -> Result<T::Part, String>,
) -> Option<T> {
    let mut head = object.clone();
    let mut parts = BTreeMap::new();
    match head.insert(parts_name.to_owned(), Value::Object(Map::new())) {
        Some(Value::Object(written)) => {
            for (name, part) in &written {
                let place = join(place, &format!("{parts_name}.{name}"));
                match parse_part(&place, part, problems) {
                    Ok(part) => drop(parts.insert(name.clone(), part)),
                    Err(message) => problems.push(Problem::new(place, message)),
                }
            }
        }
        Some(_) => problems.push(Problem::new(join(place, parts_name), "is not an object")),
        None => problems.push(Problem::new(join(place, parts_name), "is missing")),
    }
    match serde_json::from_value::<T>(Value::Object(head)) {
        Ok(whole) => Some(whole.with_parts(parts)),
        Err(error) => {
            problems.push(Problem::new(place, error.to_string()));
            None
        }
    }
}

fn join(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_fault_of_form_is_named_with_its_place() {
        let rule = json!({"sytem_id": "x", "events": {
            "a": {"rank": -1, "fields": {"outcome": {"pth": "x"}, "agent_name": 5}},
            "b": 7,
            "c": {"interaction_type": "x"}}});
        let problems = parse_rule(&rule).expect_err("faulty");
        let places: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
        assert_eq!(
            places,
            ["events.a.fields.agent_name", "events.a.fields.outcome", "events.a", "events.b", "events.c.fields", ""]
        );
        assert!(problems[1].message.contains("unknown field `pth`"), "{}", problems[1]);
    }

    #[test]
    fn what_is_no_object_or_too_large_is_refused() {
        assert_eq!(parse_rule(&json!([])).expect_err("a list")[0].message, "a mapping rule is a JSON object");
        let large = json!({"system_id": "x".repeat(RULE_BYTES_MAX), "events": {}});
        assert_eq!(parse_rule(&large).expect_err("large")[0].message, "a mapping rule is at most 65536 bytes");
        assert_eq!(parse_rule(&json!({})).expect_err("empty")[0].to_string(), "events: is missing");
    }
}
