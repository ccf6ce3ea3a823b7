//! What an `outbound` looks like, for the API's description. It isn't derived, because no type holds one as it is written: the
//! preset fills in what is left out.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// The JSON Schema of an integration's `outbound`.
pub struct OutboundSchema;

impl JsonSchema for OutboundSchema {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Outbound".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // A test reads it.
        serde_json::from_str(include_str!("../../../connectors/schema.json")).unwrap_or_default()
    }
}
