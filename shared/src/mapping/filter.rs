//! Which events a subscription wants, by what their payloads say (contract §6).
//!
//! ```json
//! {"data.interaction.outcome": ["interested", "sale"], "data.interaction.system_id": "sarah_ai"}
//! ```
//!
//! Every path has to find the value, or one of the list. A path whose first step isn't a field of the payload is looked for
//! in its `data`. Or any `JMESPath` expression over the payload, as text, such as `starts_with(data.phone_number, '+1')`.
//! What it gives counts as in `JMESPath`: `false`, `null` and what is empty are no.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::path::{Path, Source};

/// Conditions of one filter, and values of one condition.
const CONDITIONS_MAX: usize = 20;
const VALUES_MAX: usize = 50;

/// Fields of a payload. What doesn't begin with one is looked for in `data`.
const PAYLOAD_FIELDS: [&str; 6] = ["data", "event_id", "event_type", "source_system", "tenant_id", "timestamp"];

/// A compiled filter.
pub struct Filter(Vec<Condition>);

impl JsonSchema for Filter {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Filter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let scalar = json!({"type": ["string", "number", "boolean", "null"]});
        json_schema!({"anyOf": [
            {"type": "string", "format": "jmespath", "description": "An expression over the payload."},
            {
                "type": "object", "minProperties": 1, "maxProperties": CONDITIONS_MAX,
                "propertyNames": {"format": "mapping-path"},
                "additionalProperties": {"anyOf": [
                    scalar, {"type": "array", "items": scalar, "minItems": 1, "maxItems": VALUES_MAX},
                ]},
                "description": "Paths, and the value or one of the values that each must find.",
            },
        ]})
    }
}

enum Condition {
    /// A `JMESPath` expression that has to give something.
    Gives(Path),
    /// A path that has to find one of these.
    IsOneOf(Path, Vec<Value>),
}

impl Filter {
    /// Compiles a filter as a tenant writes it.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn compile(filter: &Value) -> Result<Self, String> {
        match filter {
            Value::String(text) => Ok(Self(vec![Condition::Gives(compile(text)?)])),
            Value::Object(conditions) if (1..=CONDITIONS_MAX).contains(&conditions.len()) => {
                conditions.iter().map(|(path, wanted)| condition(path, wanted)).collect::<Result<_, _>>().map(Self)
            }
            Value::Object(_) => Err(format!("must have 1 to {CONDITIONS_MAX} conditions")),
            _ => Err("must be an object of paths and the values they must find, such as \
                      {\"data.interaction.outcome\": [\"interested\"]}, or a JMESPath expression as text"
                .to_owned()),
        }
    }

    /// Whether a payload passes.
    #[must_use]
    pub fn matches(&self, payload: &Value) -> bool {
        let source = Source::new(payload);
        self.0.iter().all(|condition| match condition {
            Condition::Gives(path) => path.find(&source).is_some_and(|found| is_true(&found)),
            Condition::IsOneOf(path, wanted) => wanted.contains(&path.find(&source).unwrap_or_default()),
        })
    }
}

fn condition(path: &str, wanted: &Value) -> Result<Condition, String> {
    let first = path.split(['.', '[']).next().unwrap_or_default();
    let full = if PAYLOAD_FIELDS.contains(&first) { path.to_owned() } else { format!("data.{path}") };
    let values = match wanted {
        Value::Array(values) if (1..=VALUES_MAX).contains(&values.len()) => values.clone(),
        Value::Array(_) => return Err(format!("`{path}` must have 1 to {VALUES_MAX} values")),
        Value::Object(_) => return Err(format!("`{path}` must be a value or a list of values, not an object")),
        value => vec![value.clone()],
    };
    Ok(Condition::IsOneOf(compile(&full)?, values))
}

fn compile(text: &str) -> Result<Path, String> {
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    Path::compile(text)
}

/// <https://jmespath.org/specification.html#or-expressions>
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters_pass_what_they_say() {
        let payload = json!({"event_type": "phone_number.interaction.created", "data": {"phone_number": "+14155550132",
            "interaction": {"outcome": "interested", "duration_seconds": 180, "agent_name": null, "metadata": {"tags": ["a"]}}}});
        let table = [
            (json!({"data.interaction.outcome": "interested"}), true),
            (json!({"interaction.outcome": ["sale", "interested"]}), true),
            (json!({"interaction.outcome": ["sale"]}), false),
            (json!({"interaction.outcome": "interested", "phone_number": "+1"}), false),
            (json!({"event_type": "phone_number.interaction.created"}), true),
            (json!({"interaction.duration_seconds": 180}), true),
            (json!({"interaction.duration_seconds": "180"}), false),
            (json!({"interaction.agent_name": null}), true),
            (json!({"interaction.nothing": null}), true),
            (json!({"interaction.metadata.tags[0]": "a"}), true),
            (json!("data.interaction.duration_seconds > `60`"), true),
            (json!("data.interaction.duration_seconds > `600`"), false),
            (json!("data.interaction.outcome"), true),
            (json!("data.interaction.agent_name"), false),
            (json!("contains(data.interaction.metadata.tags, 'b')"), false),
            (json!("sort(data)"), false),
        ];
        for (filter, passes) in table {
            assert_eq!(Filter::compile(&filter).ok().unwrap().matches(&payload), passes, "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_a_reason() {
        let many: Value = (0..21).map(|n| (format!("a{n}"), json!(1))).collect();
        let table = [
            (json!(""), "must not be empty"),
            (json!("data.["), "neither a dotted path nor JMESPath"),
            (json!({}), "1 to 20 conditions"),
            (many, "1 to 20 conditions"),
            (json!({"a": []}), "1 to 50 values"),
            (json!({"a": {"$gt": 1}}), "not an object"),
            (json!({"a b": 1}), "neither a dotted path nor JMESPath"),
            (json!([1]), "must be an object"),
            (json!(null), "must be an object"),
        ];
        for (filter, reason) in table {
            let error = Filter::compile(&filter).err().unwrap_or_else(|| panic!("{filter} is taken"));
            assert!(error.contains(reason), "{filter}: {error}");
        }
    }
}
