//! Applying a compiled rule to a payload.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::compile::{ANY_EVENT, CompiledEvent, CompiledEventType, CompiledField, CompiledRule};
use super::fields::Kind;
use super::path::{Source, is_blank};
use super::rule::{Action, Merge, RecordKind, UnknownEvent, UnknownPhone, WithoutPhone};
use super::scalar;
use super::transform::Context;
use crate::phone::Region;

/// The codes of [`Outcome::Failed`].
pub mod code {
    /// The payload names no event type.
    pub const NO_EVENT_TYPE: &str = "no_event_type";
    /// The rule doesn't name this event type.
    pub const UNKNOWN_EVENT_TYPE: &str = "unknown_event_type";
    /// The event of an interaction names no phone number.
    pub const NO_CUSTOMER_PHONE: &str = "no_customer_phone";
    /// What stands where an interaction's phone number should is none.
    pub const INVALID_PHONE_NUMBER: &str = "invalid_phone_number";
    /// A required field found nothing.
    pub const REQUIRED_FIELD_MISSING: &str = "required_field_missing";
    /// A required field's value was refused.
    pub const INVALID_FIELD: &str = "invalid_field";
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Something that happened with a phone number.
    Interaction {
        /// Its type, e.g. `outbound_call`.
        interaction_type: String,
    },
    /// A person.
    Contact,
    /// A company.
    Company,
    /// A merchant of the payment processor.
    Merchant,
}

/// A field's value, and how it meets the values of other events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MappedField {
    /// The value in our form.
    pub value: Value,
    /// How it meets the values that other events of the same key give.
    pub merge: Merge,
}

/// What an event says, in our terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// What it is about.
    pub target: Target,
    /// Whether that is made or changed, or removed.
    pub action: Action,
    /// All events with one key make one record; `None` for an event that stands alone.
    pub key: Option<String>,
    /// When it happened, if it says so.
    pub occurred_at: Option<Timestamp>,
    /// The later of two events of one key and one time is the one with the higher rank.
    pub rank: u16,
    /// Whether it contributes a call to the number's statistics.
    pub counts_as_call: bool,
    /// What to do if the CRM doesn't know the phone number.
    pub unknown_phone: UnknownPhone,
    /// The fields by name, e.g. `phone_number` or `metadata.sarah_call_id`. An interaction without `phone_number`
    /// waits under its key.
    pub fields: BTreeMap<String, MappedField>,
    /// What was left out and why, a sentence each; never a value of the payload.
    pub warnings: Vec<String>,
}

impl Mapped {
    /// The value of a field as text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.value.as_str()
    }
}

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It says this.
    Mapped(Mapped),
    /// There is nothing to do with it.
    Ignored {
        /// Its type.
        event_type: String,
    },
    /// It can't be applied.
    Failed {
        /// One of [`code`].
        code: &'static str,
        /// What is wrong and what to do, for a person.
        error: String,
        /// What was left out besides, and why.
        warnings: Vec<String>,
    },
}

/// An event half way: everything found, nothing judged.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) interaction_type: Option<String>,
    pub(super) fields: BTreeMap<String, MappedField>,
    pub(super) warnings: Vec<String>,
    pub(super) errors: Vec<(&'static str, String)>,
    /// The fields whose paths found nothing, by index.
    pub(super) missing: Vec<usize>,
}

impl CompiledRule {
    /// The event's identity where the rule's path finds one.
    #[must_use]
    pub fn event_id(&self, payload: &Value) -> Option<String> {
        self.event_id.as_ref()?.find_text(&Source::new(payload))
    }

    /// The header that names the event's type, in lower case, for a system that names it there.
    #[must_use]
    pub fn event_type_header(&self) -> Option<&str> {
        match &self.event_type {
            CompiledEventType::Header { header, .. } => Some(header),
            CompiledEventType::Body(_) | CompiledEventType::Single => None,
        }
    }

    /// The event's type; `headers` gives a header's value by its name in lower case.
    ///
    /// For a type in a header with an action it is both, e.g. `issues.opened`. For a rule without `event_type` it is
    /// `*`.
    #[must_use]
    pub fn event_type<'h>(&self, payload: &Value, headers: &dyn Fn(&str) -> Option<&'h str>) -> Option<String> {
        match &self.event_type {
            CompiledEventType::Single => Some(ANY_EVENT.to_owned()),
            CompiledEventType::Body(paths) => paths.find_text(&Source::new(payload)),
            CompiledEventType::Header { header, action } => {
                let event = headers(header)?;
                let action = action.as_ref().and_then(|paths| paths.find_text(&Source::new(payload)));
                Some(action.map_or_else(|| event.to_owned(), |action| format!("{event}.{action}")))
            }
        }
    }

    /// Maps an event of the type that [`Self::event_type`] found. Numbers without a country code are read as numbers
    /// of `region`.
    #[must_use]
    pub fn map(&self, event_type: Option<&str>, payload: &Value, region: &Region) -> Outcome {
        let failed = |code, error: String| Outcome::Failed { code, error, warnings: Vec::new() };
        let Some(event_type) = event_type else {
            return failed(code::NO_EVENT_TYPE, "The event names no type where its mapping looks for one.".to_owned());
        };
        let ignored = || Outcome::Ignored { event_type: event_type.to_owned() };
        match self.event(event_type) {
            Some(event) => event.map(&Source::new(payload), region).unwrap_or_else(ignored),
            None if self.unknown_event == UnknownEvent::Ignore => ignored(),
            None => failed(
                code::UNKNOWN_EVENT_TYPE,
                format!("Unknown event type: {}. Name it in the mapping, then replay the event.", shown(event_type)),
            ),
        }
    }

    /// The text that one field of an event would get; `None` where there is none or it is refused.
    #[must_use]
    pub fn field_text(&self, event_type: &str, field: &str, payload: &Value, region: &Region) -> Option<String> {
        let field = self.event(event_type)?.fields.iter().find(|known| known.name == field)?;
        let value = field.fill(&Context { source: &Source::new(payload), region }).ok()??;
        value.as_str().map(str::to_owned)
    }

    /// The names of an event's fields, sorted.
    pub fn fields(&self, event_type: &str) -> impl Iterator<Item = &str> {
        self.event(event_type).into_iter().flat_map(|event| event.fields.iter().map(|field| field.name.as_str()))
    }

    /// The rule's event for this type: the one of the same name, else that of the type without its action, else `*`.
    pub(super) fn event(&self, event_type: &str) -> Option<&CompiledEvent> {
        let without_action = match &self.event_type {
            CompiledEventType::Header { action: Some(_), .. } => event_type.split_once('.').map(|(event, _)| event),
            _ => None,
        };
        let named = self.events.get(event_type).or_else(|| self.events.get(without_action?));
        named.or_else(|| self.events.get(ANY_EVENT))
    }
}

impl CompiledEvent {
    /// What the event says; `None` if there is nothing to do with it.
    fn map(&self, source: &Source<'_>, region: &Region) -> Option<Outcome> {
        let key = self.key.as_ref().and_then(|paths| paths.find_text(source));
        let mut draft = self.draft(source, region);
        if self.lacks_phone(&draft) {
            match self.without_phone {
                WithoutPhone::Ignore => return None,
                WithoutPhone::Wait if key.is_some() => {}
                WithoutPhone::Wait | WithoutPhone::Fail => draft.errors.push(self.no_customer_phone()),
            }
        }
        if let Some((code, _)) = draft.errors.first() {
            let sentences: Vec<&str> = draft.errors.iter().map(|(_, error)| error.as_str()).collect();
            return Some(Outcome::Failed { code, error: sentences.join(" "), warnings: draft.warnings });
        }
        let occurred_at = self.occurred_at(source, &mut draft.warnings);
        Some(Outcome::Mapped(Mapped {
            target: self.target(draft.interaction_type),
            action: self.action,
            key,
            occurred_at,
            rank: self.rank,
            counts_as_call: self.counts_as_call,
            unknown_phone: self.unknown_phone,
            fields: draft.fields,
            warnings: draft.warnings,
        }))
    }

    /// Fills every field that can be filled, and notes the rest.
    pub(super) fn draft(&self, source: &Source<'_>, region: &Region) -> Draft {
        let context = Context { source, region };
        let mut draft = Draft::default();
        for (index, field) in self.fields.iter().enumerate() {
            let found = if self.empties(field, source) { Ok(Some(Value::Null)) } else { field.fill(&context) };
            match found {
                Ok(Some(value)) => draft.put(field, value),
                Ok(None) if field.required => draft.errors.push(field.is_missing(self.record)),
                Ok(None) => draft.missing.push(index),
                Err(reason) if field.required || self.is_identity(field) => {
                    draft.errors.push(field.is_invalid(&reason));
                }
                Err(reason) => draft.warnings.push(format!("{} was left out: {}", field.name, field.says(&reason))),
            }
        }
        draft
    }

    /// Whether the event takes a value away: a contact or a company has `null` or a blank text where the value would be. What
    /// happened with a number doesn't lose its facts.
    fn empties(&self, field: &CompiledField, source: &Source<'_>) -> bool {
        matches!(self.record, RecordKind::Contact | RecordKind::Company)
            && self.action == Action::Upsert
            && field.merge == Merge::Last
            && !field.required
            && field.default.is_none()
            && field.paths.as_ref().is_some_and(|paths| paths.find_empty(source))
    }

    /// An interaction's phone number says whose it is, so it can't be left out.
    fn is_identity(&self, field: &CompiledField) -> bool {
        field.kind == Kind::Phone && self.record == RecordKind::Interaction
    }

    /// Whether an interaction would come of it that belongs to no number.
    pub(super) fn lacks_phone(&self, draft: &Draft) -> bool {
        self.record == RecordKind::Interaction
            && self.action == Action::Upsert
            && draft.errors.is_empty()
            && !draft.fields.contains_key("phone_number")
    }

    /// The error of an event that should name a number and doesn't.
    pub(super) fn no_customer_phone(&self) -> (&'static str, String) {
        let field = self.fields.iter().find(|field| field.kind == Kind::Phone);
        field.map_or_else(
            || (code::NO_CUSTOMER_PHONE, "No customer phone: the mapping has no field phone_number.".to_owned()),
            |field| field.is_missing(self.record),
        )
    }

    pub(super) fn target(&self, interaction_type: Option<String>) -> Target {
        match self.record {
            RecordKind::Interaction => {
                let interaction_type = interaction_type.unwrap_or_else(|| self.interaction_type.clone());
                Target::Interaction { interaction_type }
            }
            RecordKind::Contact => Target::Contact,
            RecordKind::Company => Target::Company,
            RecordKind::Merchant => Target::Merchant,
        }
    }

    fn occurred_at(&self, source: &Source<'_>, warnings: &mut Vec<String>) -> Option<Timestamp> {
        let found = self.occurred_at.as_ref()?.find(source)?;
        let time = scalar::timestamp(&found);
        if time.is_none() {
            warnings.push("The event's time was left out: it is not a time in RFC 3339 or Unix time.".to_owned());
        }
        time
    }
}

impl Draft {
    fn put(&mut self, field: &CompiledField, value: Value) {
        match value {
            Value::String(kind) if field.name == "interaction_type" => self.interaction_type = Some(kind),
            value => drop(self.fields.insert(field.name.clone(), MappedField { value, merge: field.merge })),
        }
    }
}

impl CompiledField {
    /// The field's value; `None` if the payload has none, an error with the reason if it is refused.
    fn fill(&self, context: &Context<'_>) -> Result<Option<Value>, String> {
        let found = match &self.paths {
            // Systems send an empty text for a number that they don't have.
            Some(paths) => paths.find(context.source).filter(|found| self.kind != Kind::Phone || !is_blank(found)),
            None => Some(Cow::Owned(Value::Null)),
        };
        let Some(mut value) = found else {
            return Ok(self.default.clone());
        };
        for transform in &self.transforms {
            value = Cow::Owned(transform.apply(&value, context)?);
        }
        self.validators.iter().try_for_each(|validator| validator.check(&value))?;
        Ok(Some(value.into_owned()))
    }

    pub(super) fn is_missing(&self, record: RecordKind) -> (&'static str, String) {
        let paths = self.paths.as_ref().map_or("its mapping", |paths| paths.text());
        if self.kind == Kind::Phone && record == RecordKind::Interaction {
            (code::NO_CUSTOMER_PHONE, format!("No customer phone: {paths} found nothing."))
        } else {
            (
                code::REQUIRED_FIELD_MISSING,
                format!("The required field {} is missing: {paths} found nothing.", self.name),
            )
        }
    }

    fn is_invalid(&self, reason: &str) -> (&'static str, String) {
        let code = if self.kind == Kind::Phone { code::INVALID_PHONE_NUMBER } else { code::INVALID_FIELD };
        (code, format!("The field {} can't be taken: {}", self.name, self.says(reason)))
    }

    /// The reason as the end of a sentence.
    fn says(&self, reason: &str) -> String {
        let place = self.paths.as_ref().map_or("its mapping", |paths| paths.text());
        format!("the value of {place} {reason}.")
    }
}

/// An event type as it can stand in a message: short, and without control characters.
fn shown(event_type: &str) -> String {
    event_type.chars().take(100).filter(|c| !c.is_control()).collect()
}
