//! Shows what a mapping makes of a payload, storing nothing.

use serde_json::Value;

use super::{Call, call::unknown_fields, internal, invalid_fields};
use crate::{integration::FieldError, mapping, phone::Region, problem::Problem};

impl Call<'_> {
    pub(super) fn preview(&self) -> Result<Value, Problem> {
        let mut fields = self.fields()?;
        let mut errors = unknown_fields(&fields, &["mapping", "payload", "default_region"]);
        let mut required = |name: &str| {
            let value = fields.remove(name);
            if value.is_none() {
                errors.push(FieldError::new(name, "is required"));
            }
            value.unwrap_or_default()
        };
        let (mapping, payload) = (required("mapping"), required("payload"));
        let region: Result<Region, _> = match fields.remove("default_region") {
            None | Some(Value::Null) => Ok(Region::default()),
            Some(region) => serde_json::from_value(region),
        };
        let region =
            region.map_err(|_| errors.push(FieldError::new("default_region", "must be an ISO 3166 code such as US")));
        match region {
            Ok(region) if errors.is_empty() => {
                serde_json::to_value(mapping::preview(&mapping, &payload, &region)).map_err(|_| internal())
            }
            _ => Err(invalid_fields(errors)),
        }
    }
}
