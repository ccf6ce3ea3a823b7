//! What a rule would make of a payload, for someone who is writing the rule (contract §7, `preview`).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::apply::{Draft, Target};
use super::compile::{ANY_EVENT, CompiledEvent, CompiledEventType, CompiledRule};
use super::parse_rule;
use super::path::Source;
use super::rule::{Problem, RecordKind, WithoutPhone};
use crate::phone::Region;

/// The answer to `POST /v1/mappings/preview`.
#[derive(Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Preview {
    /// The event's identity, if the rule finds one.
    pub event_id: Option<String>,
    /// The event's type, if the rule finds one.
    pub event_type: Option<String>,
    /// The type of the interaction that would be made; `null` for other records.
    pub interaction_type: Option<String>,
    /// The kind of record that would be made or changed.
    pub record: Option<RecordKind>,
    /// The fields, bags such as `metadata` nested.
    pub fields: Map<String, Value>,
    /// What would be left out and why, and which paths found nothing.
    pub warnings: Vec<String>,
    /// The faults of the rule, or why the event would fail.
    pub errors: Vec<String>,
}

/// Applies a rule to a payload and tells everything that would come of it. Nothing is stored.
#[must_use]
pub fn preview(mapping: &Value, payload: &Value, region: &Region) -> Preview {
    match parse_rule(mapping).and_then(|rule| rule.compile()) {
        Ok(rule) => rule.preview(payload, region),
        Err(problems) => Preview { errors: problems.iter().map(Problem::to_string).collect(), ..Preview::default() },
    }
}

impl CompiledRule {
    fn preview(&self, payload: &Value, region: &Region) -> Preview {
        let mut preview = Preview {
            event_id: self.event_id(payload),
            event_type: self.previewed_type(payload),
            ..Preview::default()
        };
        let Some(event_type) = preview.event_type.as_deref() else {
            let places = match &self.event_type {
                CompiledEventType::Body(paths) => format!("{} found nothing.", paths.text()),
                _ => {
                    "it stands in a header, which a preview doesn't have; leave only one event in the rule.".to_owned()
                }
            };
            preview.errors.push(format!("The event's type is not known: {places}"));
            return preview;
        };
        match self.event(event_type) {
            Some(event) => event.preview(&Source::new(payload), region, &mut preview),
            None => preview.errors.push("The rule doesn't name this event type.".to_owned()),
        }
        preview
    }

    /// The event's type; where it stands in a header, that of the rule's only event.
    fn previewed_type(&self, payload: &Value) -> Option<String> {
        self.event_type(payload, &|_| None).or_else(|| {
            let is_header = matches!(self.event_type, CompiledEventType::Header { .. });
            let mut names = self.events.keys().filter(|name| *name != ANY_EVENT);
            names.next().filter(|_| is_header && names.next().is_none()).cloned()
        })
    }
}

impl CompiledEvent {
    fn preview(&self, source: &Source<'_>, region: &Region, preview: &mut Preview) {
        let mut draft = self.draft(source, region);
        if self.lacks_phone(&draft) {
            match self.without_phone {
                WithoutPhone::Fail => draft.errors.push(self.no_customer_phone()),
                WithoutPhone::Wait => draft.warnings.push("It would wait until an event names the number.".to_owned()),
                WithoutPhone::Ignore => draft.warnings.push("It would be ignored: it names no number.".to_owned()),
            }
        }
        preview.warnings = self.nothing_found(&draft);
        preview.warnings.append(&mut draft.warnings);
        preview.errors.extend(draft.errors.into_iter().map(|(_, error)| error));
        preview.record = Some(self.record);
        if let Target::Interaction { interaction_type } = self.target(draft.interaction_type) {
            preview.interaction_type = Some(interaction_type);
        }
        for (name, field) in draft.fields {
            nest(&mut preview.fields, &name, field.value);
        }
    }

    fn nothing_found(&self, draft: &Draft) -> Vec<String> {
        let missing = draft.missing.iter().filter_map(|index| self.fields.get(*index));
        missing
            .filter_map(|field| {
                Some(format!("fields.{}: path {} found nothing", field.name, field.paths.as_ref()?.text()))
            })
            .collect()
    }
}

/// Sets `metadata.x` as `x` in `metadata`.
fn nest(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let Some((bag, inner)) = name.split_once('.') else {
        // A whole bag comes before its single entries, because names are in order.
        fields.insert(name.to_owned(), value);
        return;
    };
    let bag = fields.entry(bag).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(bag) = bag {
        bag.insert(inner.to_owned(), value);
    }
}
