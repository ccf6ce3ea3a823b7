//! From a rule as written to one that maps: every path, transform and validator compiled, every fault named.

use std::collections::HashMap;

use serde_json::Value;

use super::fields::{self, Kind};
use super::path::{PathList, Source};
use super::rule::{
    Action, COSTLY_PARTS_MAX, EVENTS_MAX, EventRule, EventType, FIELDS_MAX, FieldRule, Merge, Paths, Problem,
    RecordKind, Rule, UnknownEvent, UnknownPhone, WithoutPhone,
};
use super::transform::{Context, Transform};
use super::validate::Validator;
use crate::phone::Region;

/// The event that stands for every type that a rule doesn't name.
pub(super) const ANY_EVENT: &str = "*";
/// Longest name of an event type or an interaction type, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// A rule that is ready to map. Made by [`Rule::compile`]; costs some tenths of a millisecond, so keep it.
pub struct CompiledRule {
    pub(super) event_id: Option<PathList>,
    pub(super) event_type: CompiledEventType,
    pub(super) unknown_event: UnknownEvent,
    pub(super) events: HashMap<String, CompiledEvent>,
}

/// Where an event's type stands.
pub(super) enum CompiledEventType {
    /// Nowhere: all events are of one kind.
    Single,
    Body(PathList),
    Header {
        header: String,
        action: Option<PathList>,
    },
}

/// What one event type means.
pub(super) struct CompiledEvent {
    pub(super) record: RecordKind,
    /// Of an interaction; empty for other records.
    pub(super) interaction_type: String,
    pub(super) action: Action,
    pub(super) key: Option<PathList>,
    pub(super) occurred_at: Option<PathList>,
    pub(super) unknown_phone: UnknownPhone,
    pub(super) without_phone: WithoutPhone,
    pub(super) rank: u16,
    pub(super) counts_as_call: bool,
    pub(super) fields: Vec<CompiledField>,
}

/// How one field is filled.
pub(super) struct CompiledField {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// `None` where the first transform makes the value by itself.
    pub(super) paths: Option<PathList>,
    pub(super) transforms: Vec<Transform>,
    pub(super) validators: Vec<Validator>,
    pub(super) default: Option<Value>,
    pub(super) required: bool,
    pub(super) merge: Merge,
}

impl CompiledEvent {
    fn costly_parts(&self) -> usize {
        let in_head = [&self.key, &self.occurred_at].into_iter().flatten().map(PathList::expressions);
        in_head.chain(self.fields.iter().map(CompiledField::costly_parts)).sum()
    }
}

impl CompiledField {
    fn costly_parts(&self) -> usize {
        let patterns = self.validators.iter().filter(|validator| matches!(validator, Validator::Pattern(_))).count();
        let transforms: usize = self.transforms.iter().map(Transform::expressions).sum();
        patterns + transforms + self.paths.as_ref().map_or(0, PathList::expressions)
    }
}

impl Rule {
    /// Compiles the rule. What it leaves out of the head (paths to identity, type, key and time, and what to do with
    /// the unknown) is taken from the built-in rule of its system, if it has one.
    ///
    /// # Errors
    /// All faults at once, each with its place.
    pub fn compile(&self) -> Result<CompiledRule, Vec<Problem>> {
        let builtin: Rule =
            super::builtin(&self.system_id).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let mut problems = Vec::new();
        let rule = Compiler { rule: self, builtin: &builtin, problems: &mut problems }.compile();
        if problems.is_empty() { Ok(rule) } else { Err(problems) }
    }
}

fn is_call(event: &EventRule) -> bool {
    event.interaction_type.as_ref().is_some_and(|name| name.ends_with("call"))
}

/// Collects the faults while it goes on compiling.
struct Compiler<'a> {
    rule: &'a Rule,
    builtin: &'a Rule,
    problems: &'a mut Vec<Problem>,
}

impl Compiler<'_> {
    fn compile(mut self) -> CompiledRule {
        let (rule, builtin) = (self.rule, self.builtin);
        if rule.events.len() > EVENTS_MAX {
            self.fault("events", format!("a rule names at most {EVENTS_MAX} events"));
        }
        CompiledRule {
            event_id: self.paths("event_id", rule.event_id.as_ref().or(builtin.event_id.as_ref())),
            event_type: self.event_type(),
            unknown_event: rule.unknown_event.or(builtin.unknown_event).unwrap_or(UnknownEvent::Ignore),
            events: rule.events.iter().map(|(name, event)| (name.clone(), self.event(name, event))).collect(),
        }
    }

    fn fault(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(place, message));
    }

    /// What compiled, or nothing and a fault.
    fn take<T>(&mut self, place: &str, compiled: Result<T, String>) -> Option<T> {
        compiled.map_err(|message| self.fault(place, message)).ok()
    }

    fn paths(&mut self, place: &str, paths: Option<&Paths>) -> Option<PathList> {
        self.take(place, PathList::compile(paths?))
    }

    fn event_type(&mut self) -> CompiledEventType {
        match self.rule.event_type.as_ref().or(self.builtin.event_type.as_ref()) {
            Some(EventType::Body(paths)) => {
                self.paths("event_type", Some(paths)).map_or(CompiledEventType::Single, CompiledEventType::Body)
            }
            Some(EventType::Header(from)) => CompiledEventType::Header {
                header: from.header.to_ascii_lowercase(),
                action: self.paths("event_type.action", from.action.as_ref()),
            },
            None => {
                if self.rule.events.keys().any(|name| name != ANY_EVENT) {
                    self.fault("event_type", "is missing; only a rule whose one event is `*` goes without");
                }
                CompiledEventType::Single
            }
        }
    }

    fn event(&mut self, name: &str, event: &EventRule) -> CompiledEvent {
        let place = format!("events.{name}");
        let (rule, builtin) = (self.rule, self.builtin);
        let builtin_event = builtin.events.get(name);
        let record = event.record.unwrap_or(RecordKind::Interaction);
        self.check_event(&place, name, event, record);
        let key = event.key.as_ref().or(rule.key.as_ref());
        let key = key.or_else(|| builtin_event.and_then(|event| event.key.as_ref())).or(builtin.key.as_ref());
        let occurred_at = event.occurred_at.as_ref().or(rule.occurred_at.as_ref()).or(builtin.occurred_at.as_ref());
        let unknown_phone = event.unknown_phone.or(rule.unknown_phone).or(builtin.unknown_phone);
        let without_phone = event.without_phone.or(rule.without_phone).or(builtin.without_phone);
        let compiled = CompiledEvent {
            record,
            interaction_type: event.interaction_type.clone().unwrap_or_default(),
            action: event.action,
            key: self.paths(&format!("{place}.key"), key),
            occurred_at: self.paths(&format!("{place}.occurred_at"), occurred_at),
            unknown_phone: unknown_phone.unwrap_or(UnknownPhone::Create),
            without_phone: without_phone.unwrap_or(WithoutPhone::Fail),
            rank: event.rank,
            counts_as_call: event.counts_as_call.unwrap_or_else(|| is_call(event)),
            fields: event.fields.iter().filter_map(|(name, field)| self.field(&place, record, name, field)).collect(),
        };
        if compiled.costly_parts() > COSTLY_PARTS_MAX {
            self.fault(place, format!("an event has at most {COSTLY_PARTS_MAX} expressions and patterns"));
        }
        compiled
    }

    fn check_event(&mut self, place: &str, name: &str, event: &EventRule, record: RecordKind) {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            self.fault(place, format!("the name of an event type has 1 to {NAME_BYTES_MAX} bytes"));
        }
        if event.fields.len() > FIELDS_MAX {
            self.fault(place, format!("an event has at most {FIELDS_MAX} fields"));
        }
        match (record, event.interaction_type.as_deref()) {
            (RecordKind::Interaction, None) => {
                self.fault(place, "needs an `interaction_type`, or a `record` of another kind");
            }
            (RecordKind::Interaction, Some(kind)) if kind.is_empty() || kind.len() > NAME_BYTES_MAX => {
                self.fault(place, format!("`interaction_type` has 1 to {NAME_BYTES_MAX} bytes"));
            }
            (RecordKind::Contact | RecordKind::Company | RecordKind::Merchant, Some(_)) => {
                self.fault(place, "`interaction_type` belongs to interactions only");
            }
            _ => {}
        }
    }

    fn field(&mut self, place: &str, record: RecordKind, name: &str, field: &FieldRule) -> Option<CompiledField> {
        let place = format!("{place}.fields.{name}");
        let kind = self.take(&place, fields::kind(record, name))?;
        let spec = field.transform.as_ref();
        let mut transforms = match spec {
            Some(spec) => self.take(&place, Transform::compile_all(spec, field.value.as_ref()))?,
            None => Vec::new(),
        };
        self.check_sources(&place, field, &transforms);
        if let Some(finishing) = Transform::finishing(kind)
            && !transforms.last().is_some_and(|last| last.is_like(&finishing))
        {
            transforms.push(finishing);
        }
        let mut validators = match &field.validate {
            Some(spec) => self.take(&place, Validator::compile_all(spec))?,
            None => Vec::new(),
        };
        if kind == Kind::Currency {
            validators.push(Validator::Currency);
        }
        Some(CompiledField {
            name: name.to_owned(),
            kind,
            paths: self.paths(&place, field.path.as_ref()),
            default: self.default_value(&place, kind, field.default.as_ref()),
            transforms,
            validators,
            required: field.required,
            merge: field.merge.unwrap_or_else(|| fields::default_merge(record, name)),
        })
    }

    /// A value comes from a path or from a first transform that makes it, not from both.
    fn check_sources(&mut self, place: &str, field: &FieldRule, transforms: &[Transform]) {
        let made = transforms.first().is_some_and(Transform::makes_a_value);
        let makes_later = transforms.iter().skip(1).any(Transform::makes_a_value);
        let has_path = field.path.as_ref().is_some_and(|paths| !paths.as_slice().is_empty());
        let has_constant = transforms.iter().any(|transform| matches!(transform, Transform::Constant(_)));
        if made && has_path {
            self.fault(place, "`constant`, and `join` with paths, make the value by themselves; leave out `path`");
        } else if makes_later {
            self.fault(place, "`constant`, and `join` with paths, can only come first");
        } else if !made && !has_path {
            self.fault(place, "needs a `path`");
        }
        if field.value.is_some() && !has_constant {
            self.fault(place, "`value` belongs to the transform `constant`");
        }
    }

    /// The default in the form that the field holds.
    fn default_value(&mut self, place: &str, kind: Kind, default: Option<&Value>) -> Option<Value> {
        let default = default?;
        let Some(finishing) = Transform::finishing(kind) else {
            return Some(default.clone());
        };
        let context = Context { source: &Source::new(&Value::Null), region: &Region::default() };
        let finished = finishing.apply(default, &context);
        self.take(place, finished.map_err(|reason| format!("the default {reason}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_rule;
    use super::*;
    use serde_json::json;

    fn problems(rule: &Value) -> Vec<String> {
        let rule = parse_rule(rule).expect("of the right form");
        rule.compile().err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let rule = json!({"event_id": "a..b", "events": {
            "call": {"fields": {}},
            "deal": {"record": "company", "interaction_type": "x", "key": "[", "fields": {
                "nam": {"path": "x"},
                "name": {"path": "x", "transform": "fone"},
                "domain": {},
                "phone_number": {"path": "x", "validate": "phone"},
                "updated_at": {"path": "x", "default": "soon"},
                "custom_fields.a": {"path": "x", "transform": {"constant": 1}},
                "custom_fields.b": {"path": "x", "transform": ["trim", {"constant": 1}]},
                "custom_fields.c": {"path": "x", "value": 1},
                "custom_fields.d": {"path": "`1"}}}}});
        let expected = [
            "event_id: `a..b` is neither",
            "event_type: is missing",
            "events.call: needs an `interaction_type`",
            "events.deal: `interaction_type` belongs to interactions only",
            "events.deal.key: `[` is neither",
            "events.deal.fields.custom_fields.a: `constant`, and `join` with paths, make the value",
            "events.deal.fields.custom_fields.b: `constant`, and `join` with paths, can only come first",
            "events.deal.fields.custom_fields.c: `value` belongs to",
            "events.deal.fields.custom_fields.d: ``1` is neither",
            "events.deal.fields.domain: needs a `path`",
            "events.deal.fields.nam: there is no field `nam`; did you mean `name`?",
            "events.deal.fields.name: there is no transform `fone`",
            "events.deal.fields.phone_number: there is no validator `phone`",
            "events.deal.fields.updated_at: the default is not a time",
        ];
        let problems = problems(&rule);
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn sizes_are_limited() {
        let event = json!({"interaction_type": "x", "fields": {}});
        let events: serde_json::Map<_, _> = (0..=EVENTS_MAX).map(|i| (format!("e{i}"), event.clone())).collect();
        let rule = json!({"event_type": "t", "events": events});
        assert_eq!(problems(&rule), ["events: a rule names at most 200 events"]);
        let fields: serde_json::Map<_, _> =
            (0..=FIELDS_MAX).map(|i| (format!("metadata.f{i}"), json!({"path": "x"}))).collect();
        let rule = json!({"events": {"*": {"interaction_type": "x", "fields": fields}}});
        assert_eq!(problems(&rule), ["events.*: an event has at most 100 fields"]);
        let paths: Vec<String> = (0..30).map(|i| format!("a[?b == `{i}`]")).collect();
        let field = json!({"path": paths, "transform": {"money": {"currency_path": "a || b"}}});
        let other = json!({"path": "a", "validate": [{"pattern": "a"}, {"pattern": "b"}]});
        let rule =
            json!({"events": {"*": {"interaction_type": "x", "fields": {"metadata.a": field, "metadata.b": other}}}});
        assert_eq!(problems(&rule), ["events.*: an event has at most 32 expressions and patterns"]);
        let rule = json!({"events": {"*": {"interaction_type": "x", "fields": {
            "outcome": {"path": "x", "transform": vec!["trim"; 11]},
            "agent_name": {"path": "x", "validate": vec!["url"; 11]}}}}});
        assert_eq!(problems(&rule).len(), 2);
        let rule = json!({"events": {"*": {"interaction_type": "x".repeat(200), "fields": {}}}});
        assert_eq!(problems(&rule), ["events.*: `interaction_type` has 1 to 128 bytes"]);
    }
}
