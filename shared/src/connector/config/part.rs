//! Reading configuration part by part, so that every fault is named with its place.

use serde_json::{Map, Value};

use crate::integration::FieldError;

/// An object of the configuration and its place.
pub(super) struct Part<'a> {
    place: String,
    fields: &'a Map<String, Value>,
    faults: &'a mut Vec<FieldError>,
}

impl<'a> Part<'a> {
    /// Reads `json` as an object that has only the `known` fields. What else it is, or has, is noted.
    pub(super) fn of(
        place: impl Into<String>,
        json: &'a Value,
        known: &[&str],
        faults: &'a mut Vec<FieldError>,
    ) -> Option<Self> {
        let place = place.into();
        let Some(fields) = json.as_object() else {
            faults.push(FieldError::new(place, format!("must be an object with {}", known.join(", "))));
            return None;
        };
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            let message = format!("there is no such field; there are {}", known.join(", "));
            faults.push(FieldError::new(format!("{place}.{shown}"), message));
        }
        Some(Self { place, fields, faults })
    }

    /// The field, unless it is absent or `null`.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// The place of a field.
    pub(super) fn place(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    /// Notes a fault of a field.
    pub(super) fn note(&mut self, name: &str, message: impl Into<String>) {
        self.faults.push(FieldError::new(self.place(name), message));
    }

    /// What came of a field, or a note of why nothing did.
    pub(super) fn take<T>(&mut self, name: &str, outcome: Result<T, impl Into<String>>) -> Option<T> {
        outcome.map_err(|message| self.note(name, message)).ok()
    }

    /// A text of 1 to `bytes_max` bytes without control characters; anything else that is there is noted.
    pub(super) fn text(&mut self, name: &str, bytes_max: usize) -> Option<&'a str> {
        let text = self.get(name)?.as_str();
        let text = text.filter(|text| (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control));
        if text.is_none() {
            self.note(name, format!("must be text of 1 to {bytes_max} bytes without control characters"));
        }
        text
    }

    /// A text that must be there.
    pub(super) fn required(&mut self, name: &str, bytes_max: usize) -> Option<&'a str> {
        if self.get(name).is_none() {
            self.note(name, "is required");
        }
        self.text(name, bytes_max)
    }

    /// A field that is an object with only the `known` fields.
    pub(super) fn part(&mut self, name: &str, known: &[&str]) -> Option<Part<'_>> {
        let json = self.get(name)?;
        Part::of(self.place(name), json, known, self.faults)
    }

    /// Where faults are noted.
    pub(super) fn faults(&mut self) -> &mut Vec<FieldError> {
        self.faults
    }
}
