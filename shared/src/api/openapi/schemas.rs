//! The schemas that the document is made of: of the code's own types, by `schemars`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use crate::phone::{E164, Region};

/// The schema of what a `T` is read from.
pub(super) fn read<T: JsonSchema>() -> Value {
    schema_of::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// The schema of what a `T` is written as.
pub(super) fn written<T: JsonSchema>() -> Value {
    schema_of::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn schema_of<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let settings = settings.with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("title");
    }
    without_asides(&mut schema);
    schema
}

/// Takes out of descriptions what is for readers of the code: where in the contract a rule stands.
fn without_asides(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description")
                && let Some((before, aside)) = text.split_once(" (contract §")
                && let Some((_, after)) = aside.split_once(')')
            {
                *text = format!("{before}{after}");
            }
            fields.values_mut().for_each(without_asides);
        }
        Value::Array(list) => list.iter_mut().for_each(without_asides),
        _ => {}
    }
}

/// An object's schema with another field.
pub(super) fn with(mut schema: Value, name: &str, field: Value, is_required: bool) -> Value {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(name.to_owned(), field);
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut).filter(|_| is_required) {
        required.push(name.into());
    }
    schema
}

/// An object's schema, whose fields must not be others than those that it names.
pub(super) fn closed(mut schema: Value) -> Value {
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("additionalProperties".into(), false.into());
    }
    schema
}

/// An object's schema, none of whose fields is required.
pub(super) fn partial(mut schema: Value) -> Value {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("required");
    }
    schema
}

/// A page of a list.
pub(super) fn page(of: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["data", "next_cursor"],
        "properties": {
            "data": {"type": "array", "items": of},
            "next_cursor": {"type": ["string", "null"], "description": "`cursor` of the next page; `null` on the last one."},
        },
    })
}

/// A secret that an answer shows once.
pub(super) fn secret(description: &str) -> Value {
    json!({"type": "string", "readOnly": true, "description": description})
}

// Records are maps: which fields one has, and of what form, is the mapping's. These are the fields that each has in any case, or
// that can be written. Every answer in the hub's tests is checked against them.

/// A number in E.164 form; a blank text is none.
const NUMBER_OR_NONE: &str = r"^(\+[1-9][0-9]{6,14})?$";

/// An e-mail address; a blank text is none.
fn address_or_none(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [{"type": "string", "format": "email"}, {"type": "string", "maxLength": 0}, {"type": "null"}]})
}

/// Something that happened with a phone number.
#[derive(JsonSchema)]
#[expect(dead_code, clippy::struct_field_names, reason = "described, never made; the names are the contract's")]
pub(super) struct Interaction {
    id: String,
    /// `null` until an event names one.
    phone_number: Option<E164>,
    /// The system that it came from.
    system_id: String,
    interaction_type: Option<String>,
    outcome: Option<String>,
    duration_seconds: Option<f64>,
    agent_name: Option<String>,
    metadata: Map<String, Value>,
    occurred_at: Timestamp,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A person.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Contact {
    id: String,
    first_name: Option<String>,
    last_name: Option<String>,
    phone_number: Option<E164>,
    email: Option<String>,
    company_id: Option<String>,
    company_name: Option<String>,
    custom_fields: Map<String, Value>,
    /// The system that wrote it first; `smrt_crm` is this API.
    system_id: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A company.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Company {
    id: String,
    name: Option<String>,
    domain: Option<String>,
    phone_number: Option<E164>,
    custom_fields: Map<String, Value>,
    /// The system that wrote it first; `smrt_crm` is this API.
    system_id: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A merchant of a payment processor.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Merchant {
    id: String,
    name: Option<String>,
    status: Option<String>,
    metadata: Map<String, Value>,
    system_id: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A contact to be written. Fields that aren't given are emptied. What an answer has besides (`id`, `updated_at`, …) may be sent
/// back, and counts for nothing.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct ContactFields {
    first_name: Option<String>,
    last_name: Option<String>,
    #[schemars(regex(pattern = NUMBER_OR_NONE))]
    phone_number: Option<String>,
    #[schemars(default, schema_with = "address_or_none")]
    email: Option<String>,
    company_id: Option<String>,
    company_name: Option<String>,
    custom_fields: Option<Map<String, Value>>,
}

/// A company to be written. Fields that aren't given are emptied. What an answer has besides (`id`, `updated_at`, …) may be sent
/// back, and counts for nothing.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct CompanyFields {
    name: Option<String>,
    domain: Option<String>,
    #[schemars(regex(pattern = NUMBER_OR_NONE))]
    phone_number: Option<String>,
    custom_fields: Option<Map<String, Value>>,
}

/// A mapping rule that is to be tried.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "described; it is read in parts, so that a rule's faults are an answer and not an error")]
pub(super) struct PreviewRequest {
    /// The rule. Its faults are in the answer's `errors`.
    mapping: Value,
    /// What a system would send.
    payload: Value,
    /// The country in whose form numbers are read; US by default.
    default_region: Option<Region>,
}

/// Type of event that subscriptions can ask for.
#[derive(JsonSchema)]
#[schemars(rename = "EventType")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct EventTypeShown {
    event_type: crate::event::EventType,
    description: String,
    /// The JSON Schema (2020-12) of its payload.
    schema: Map<String, Value>,
    example: Map<String, Value>,
}

/// Collects schemas under their names, and gives references to them.
#[derive(Default)]
pub(super) struct Components(BTreeMap<String, Value>);

impl Components {
    /// A reference to the schema of this name, which is noted.
    pub(super) fn reference(&mut self, name: &str, schema: impl FnOnce() -> Value) -> Value {
        if !self.0.contains_key(name) {
            let mut schema = schema();
            self.hoist(&mut schema);
            self.0.insert(name.to_owned(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// Moves definitions within a schema to where a document has them.
    fn hoist(&mut self, schema: &mut Value) {
        match schema {
            Value::Object(fields) => {
                if let Some(Value::Object(own)) = fields.remove("$defs") {
                    for (name, mut schema) in own {
                        self.hoist(&mut schema);
                        self.0.insert(name, schema);
                    }
                }
                if let Some(Value::String(place)) = fields.get_mut("$ref") {
                    *place = place.replace("#/$defs/", "#/components/schemas/");
                }
                fields.values_mut().for_each(|value| self.hoist(value));
            }
            Value::Array(list) => list.iter_mut().for_each(|value| self.hoist(value)),
            _ => {}
        }
    }

    pub(super) fn into_value(self, examples: &Map<String, Value>) -> Value {
        let shown = |(name, mut schema): (String, Value)| {
            if let (Some(fields), Some(example)) = (schema.as_object_mut(), examples.get(&name)) {
                fields.insert("examples".into(), json!([example]));
            }
            (name, schema)
        };
        self.0.into_iter().map(shown).collect::<Map<_, _>>().into()
    }
}
