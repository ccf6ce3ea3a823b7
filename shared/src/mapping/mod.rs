//! Mapping rules: what a system's events mean, as data (contract §3).
//!
//! A [`Rule`] is read from JSON by [`parse_rule`], compiled once by [`Rule::compile`], and then maps payloads with
//! [`CompiledRule::map`], or records back into payloads with [`CompiledRule::outward`]. Everything here is a pure
//! function of its arguments; nothing that a tenant writes or a system sends makes it panic or take unbounded time.
//!
//! ```json
//! {"system_id": "sarah_ai", "event_id": "event_id", "event_type": "event_type", "key": "call.id",
//!  "events": {"call.ended": {"interaction_type": "outbound_call", "fields": {
//!    "phone_number": {"path": "call.destination_number", "transform": "phone", "required": true},
//!    "duration_seconds": {"path": ["call.duration_seconds", "call.duration"], "transform": "duration"},
//!    "outcome": {"path": "call.disposition", "transform": {"lookup": {"SALE": "sale"}, "default": "other"}}}}}}
//! ```
//!
//! **Paths** are dotted (`contact.phones[0].number`), a list of alternatives of which the first that finds something
//! counts, or `JMESPath` within the bounds of its module here.
//!
//! **Transforms**, one or a list in turn: `phone`; `duration`, `{"duration": "milliseconds"}`; `timestamp`; `money`,
//! `{"money": {"unit": "major|minor", "currency": "USD", "currency_path": …}}`; `{"lookup": {…}, "default": …}`;
//! `lowercase`; `uppercase`; `trim`; `integer`; `number`; `boolean`; `string`; `{"constant": …}`; `join` and
//! `{"join": ", "}` of a list, `{"join": {"paths": […], "separator": " "}}` of several places.
//!
//! **Validators**, one or a list: `e164`, `email`, `url`, `currency`, `{"pattern": …}` (a regular expression, anchored
//! only as written), `{"min": …, "max": …}` (of numbers, not of lengths), `{"one_of": […]}`.
//!
//! A field whose transform or validator refuses the value is left out with a warning; a `required` one fails the
//! event, and so does a phone number of an interaction that is none. In a contact or a company, `null` or a blank text
//! says that there is no value, and takes the one away that was there; what isn't there at all says nothing.
//!
//! A call of 2 KiB is mapped by its built-in rule in about 2 µs, phone number included.

mod apply;
mod compile;
mod duration;
mod expression;
mod fields;
mod filter;
mod money;
mod outward;
mod path;
mod place;
mod preview;
mod rule;
mod scalar;
mod transform;
mod validate;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::connector::Entity;

pub use apply::{Mapped, MappedField, Outcome, Target, code};
pub use compile::CompiledRule;
pub use filter::Filter;
pub use outward::{Nulls, Outward};
pub use path::PATH_BYTES_MAX;
pub use place::Place;
pub use preview::{Preview, preview};
pub use rule::{
    Action, COSTLY_PARTS_MAX, EVENTS_MAX, EventRule, EventType, FIELDS_MAX, FieldRule, HeaderType, Merge, Paths,
    Problem, RULE_BYTES_MAX, RecordKind, Rule, STEPS_MAX, UnknownEvent, UnknownPhone, WithoutPhone, parse_rule,
};
pub use scalar::timestamp;
pub use transform::LOOKUP_ENTRIES_MAX;
pub use validate::PATTERN_BYTES_MAX;

/// The systems that have a built-in rule.
pub const BUILTIN_SYSTEMS: [&str; 5] = ["sarah_ai", "payment_processor", "stripe", "github", "external_crm"];

/// The built-in rule of a system as JSON, `None` for a system that has none.
#[must_use]
pub fn builtin(system_id: &str) -> Option<&'static str> {
    match system_id {
        "sarah_ai" => Some(include_str!("../../rules/sarah_ai.json")),
        "payment_processor" => Some(include_str!("../../rules/payment_processor.json")),
        "stripe" => Some(include_str!("../../rules/stripe.json")),
        "github" => Some(include_str!("../../rules/github.json")),
        "external_crm" => Some(include_str!("../../rules/external_crm.json")),
        // Of any system whose `outbound` has that preset.
        "hubspot" => Some(include_str!("../../rules/hubspot.json")),
        _ => None,
    }
}

/// The rule by which a tenant's own CRM writes its contacts and companies: each field stands under its own name. Compiled once.
///
/// # Errors
/// The rule's faults; it has none.
pub fn own_rule(entity: Entity) -> Result<Arc<CompiledRule>, Problem> {
    static COMPILED: Mutex<BTreeMap<Entity, Arc<CompiledRule>>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(rule) = compiled.get(&entity) {
        return Ok(Arc::clone(rule));
    }
    let mut fields = BTreeMap::new();
    for name in ["first_name", "last_name", "phone_number", "email", "company_id", "company_name", "name", "domain"] {
        if fields::kind(entity.record(), name).is_ok() {
            let validate = (name == "email").then(|| "email".into());
            fields.insert(
                name.to_owned(),
                FieldRule { path: Some(Paths::One(name.to_owned())), validate, ..FieldRule::default() },
            );
        }
    }
    let event = EventRule { record: Some(entity.record()), fields, ..EventRule::default() };
    let rule = Rule { events: BTreeMap::from([("*".to_owned(), event)]), ..Rule::default() };
    let first = |problems: Vec<Problem>| problems.into_iter().next().unwrap_or_else(|| Problem::new("", "is faulty"));
    let rule = Arc::new(rule.compile().map_err(first)?);
    compiled.insert(entity, Arc::clone(&rule));
    Ok(rule)
}

#[cfg(test)]
mod tests;
