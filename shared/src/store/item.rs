//! Items and their attributes: building and reading without ceremony.

use std::collections::HashMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use jiff::Timestamp;

use crate::{ids::TenantId, time::millis_text};

/// The key of an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

impl Key {
    /// A key among one kind of one tenant's data: `{tenant}#{kind}`.
    #[must_use]
    pub fn of(tenant: &TenantId, kind: &str, sk: impl Into<String>) -> Self {
        Self { pk: format!("{tenant}#{kind}"), sk: sk.into() }
    }

    /// As attributes.
    #[must_use]
    pub fn attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            ("pk".to_owned(), AttributeValue::S(self.pk.clone())),
            ("sk".to_owned(), AttributeValue::S(self.sk.clone())),
        ])
    }
}

/// An item as a map of attributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item(pub HashMap<String, AttributeValue>);

impl Item {
    /// An item with this key and nothing else.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        Self(key.attributes())
    }

    /// Its key; `None` where it has none of ours.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        Some(Key { pk: self.get_text("pk")?.to_owned(), sk: self.get_text("sk")?.to_owned() })
    }

    /// With a text; empty texts are left out.
    #[must_use]
    pub fn text(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.0.insert(name.to_owned(), AttributeValue::S(value));
        }
        self
    }

    /// In `list` on the index by time, at `at`; of items of one moment, the end of the sort key decides.
    #[must_use]
    pub fn listed(self, list: &str, at: Timestamp) -> Self {
        let id = self.get_text("sk").unwrap_or_default();
        let end = id.len().checked_sub(8).and_then(|start| id.get(start..)).unwrap_or_default();
        let sort = format!("{}#{end}", millis_text(at));
        self.text("g1pk", list).text("g1sk", sort)
    }

    /// With a number.
    #[must_use]
    pub fn number(mut self, name: &str, value: i64) -> Self {
        self.0.insert(name.to_owned(), AttributeValue::N(value.to_string()));
        self
    }

    /// With bytes.
    #[must_use]
    pub fn bytes(mut self, name: &str, value: Vec<u8>) -> Self {
        self.0.insert(name.to_owned(), AttributeValue::B(Blob::new(value)));
        self
    }

    /// A text attribute.
    #[must_use]
    pub fn get_text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_s().ok().map(String::as_str)
    }

    /// A number attribute.
    #[must_use]
    pub fn get_number(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_n().ok()?.parse().ok()
    }

    /// A bytes attribute.
    #[must_use]
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name)?.as_b().ok().map(Blob::as_ref)
    }

    /// Every number attribute.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_n().ok()?.parse().ok()?)))
    }
}
