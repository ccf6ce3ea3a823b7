//! What is kept in step with a CRM.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{mapping::RecordKind, process::Kind};

/// One kind of record that is synced (contract §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// A person.
    Contact,
    /// A company.
    Company,
    /// Something that happened with a phone number.
    Interaction,
}

impl Entity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Contact, Self::Company, Self::Interaction];

    /// Its word in configuration, paths and keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Company => "company",
            Self::Interaction => "interaction",
        }
    }

    /// The entity of exactly this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.as_str() == word)
    }

    /// Its kind in mapping rules.
    #[must_use]
    pub fn record(self) -> RecordKind {
        match self {
            Self::Contact => RecordKind::Contact,
            Self::Company => RecordKind::Company,
            Self::Interaction => RecordKind::Interaction,
        }
    }

    /// The entity of this kind; `None` for kinds that aren't synced.
    #[must_use]
    pub fn of(kind: Kind) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.kind() == kind)
    }

    /// Its kind in keys and ids.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Contact => Kind::Contact,
            Self::Company => Kind::Company,
            Self::Interaction => Kind::Interaction,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_taken_exactly() {
        for entity in Entity::ALL {
            assert_eq!(Entity::parse(entity.as_str()), Some(entity));
            assert_eq!(json!(entity), json!(entity.as_str()));
        }
        for word in ["", "Contact", "contacts", "contact ", "merchant"] {
            assert_eq!(Entity::parse(word), None, "{word}");
        }
    }
}
