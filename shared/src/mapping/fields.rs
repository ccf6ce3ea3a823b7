//! The fields that a rule can fill, for an interaction and for each kind of record, and what each must hold.
//!
//! `smrt_crm_id` says which of our records is meant. It, `last_contact_at` and `success_rate` are made by us and sent to a
//! CRM (contract §5).

use super::rule::{Merge, RecordKind};

/// What a field holds. A value is brought into this form after the rule's own transforms, so that nothing else is
/// stored whatever a tenant's rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A phone number in E.164.
    Phone,
    /// Text of at most [`TEXT_CHARS_MAX`] characters.
    Text,
    /// A length of time in whole seconds.
    Seconds,
    /// A moment in RFC 3339, UTC.
    Time,
    /// An amount of money in minor units.
    Minor,
    /// An ISO 4217 code in capitals.
    Currency,
    /// Any JSON.
    Any,
}

/// Longest text that a field of a record holds; longer text belongs into metadata.
pub(super) const TEXT_CHARS_MAX: usize = 1_024;
/// Longest name after `metadata.` or `custom_fields.`.
const NAME_CHARS_MAX: usize = 128;

const INTERACTION: &[(&str, Kind)] = &[
    ("phone_number", Kind::Phone),
    ("interaction_type", Kind::Text),
    ("duration_seconds", Kind::Seconds),
    ("outcome", Kind::Text),
    ("agent_name", Kind::Text),
    ("direction", Kind::Text),
    ("occurred_at", Kind::Time),
    ("updated_at", Kind::Time),
    ("payment.amount", Kind::Minor),
    ("payment.currency", Kind::Currency),
    ("payment.status", Kind::Text),
    ("payment.refunded", Kind::Minor),
    ("payment.charge_id", Kind::Text),
    ("payment.paid_at", Kind::Time),
    ("payment.processor", Kind::Text),
    ("smrt_crm_id", Kind::Text),
    ("metadata", Kind::Any),
];

const CONTACT: &[(&str, Kind)] = &[
    ("first_name", Kind::Text),
    ("last_name", Kind::Text),
    ("phone_number", Kind::Phone),
    ("email", Kind::Text),
    ("company_id", Kind::Text),
    ("company_name", Kind::Text),
    ("smrt_crm_id", Kind::Text),
    ("last_contact_at", Kind::Time),
    ("success_rate", Kind::Any),
    ("updated_at", Kind::Time),
    ("custom_fields", Kind::Any),
];

const COMPANY: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("domain", Kind::Text),
    ("phone_number", Kind::Phone),
    ("smrt_crm_id", Kind::Text),
    ("updated_at", Kind::Time),
    ("custom_fields", Kind::Any),
];

const MERCHANT: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("status", Kind::Text),
    ("email", Kind::Text),
    ("phone_number", Kind::Phone),
    ("country", Kind::Text),
    ("currency", Kind::Currency),
    ("updated_at", Kind::Time),
    ("metadata", Kind::Any),
];

fn known(record: RecordKind) -> &'static [(&'static str, Kind)] {
    match record {
        RecordKind::Interaction => INTERACTION,
        RecordKind::Contact => CONTACT,
        RecordKind::Company => COMPANY,
        RecordKind::Merchant => MERCHANT,
    }
}

/// What the field `name` of such a record holds.
///
/// # Errors
/// For a name that doesn't exist: a sentence with the nearest name that does.
pub(super) fn kind(record: RecordKind, name: &str) -> Result<Kind, String> {
    let fields = known(record);
    if let Some((_, kind)) = fields.iter().find(|(known, _)| *known == name) {
        return Ok(*kind);
    }
    if let Some((bag @ ("metadata" | "custom_fields"), inner)) = name.split_once('.')
        && fields.iter().any(|(known, _)| *known == bag)
    {
        let well_formed = !inner.is_empty()
            && inner.len() <= NAME_CHARS_MAX
            && inner.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        return if well_formed {
            Ok(Kind::Any)
        } else {
            Err(format!("the name after `{bag}.` must be 1 to {NAME_CHARS_MAX} letters, digits, `_` or `-`"))
        };
    }
    let nearest = nearest(name, fields.iter().map(|(known, _)| *known));
    Err(format!("there is no field `{name}`; did you mean `{nearest}`?"))
}

/// How values of several events meet in this field, where the rule doesn't say.
pub(super) fn default_merge(record: RecordKind, name: &str) -> Merge {
    match (record, name) {
        (RecordKind::Interaction, "occurred_at") => Merge::Min,
        (_, "updated_at") | (RecordKind::Interaction, "payment.refunded") => Merge::Max,
        _ => Merge::Last,
    }
}

/// The known name that holds `name`, or else has the smallest edit distance to it.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    known.min_by_key(|candidate| (!candidate.contains(name), distance(name, candidate))).unwrap_or_default()
}

/// Levenshtein distance in bytes.
fn distance(from: &str, to: &str) -> usize {
    // The distances of the part of `from` read so far to the beginnings of `to`, of one byte, two bytes and so on.
    let mut row: Vec<usize> = (1..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (above, b) in row.iter_mut().zip(to.bytes()) {
            left = (diagonal + usize::from(a != b)).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, left);
        }
    }
    row.last().copied().unwrap_or(from.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_known_one() {
        let table = [
            (RecordKind::Interaction, "duration", "duration_seconds"),
            (RecordKind::Interaction, "phone", "phone_number"),
            (RecordKind::Interaction, "payment.ammount", "payment.amount"),
            (RecordKind::Contact, "firstname", "first_name"),
            (RecordKind::Company, "custom_field", "custom_fields"),
        ];
        for (record, name, expected) in table {
            let message = kind(record, name).expect_err(name);
            assert!(message.ends_with(&format!("did you mean `{expected}`?")), "{message}");
        }
    }

    #[test]
    fn bags_take_any_plain_name() {
        assert_eq!(kind(RecordKind::Interaction, "metadata.sarah_call_id"), Ok(Kind::Any));
        assert_eq!(kind(RecordKind::Contact, "custom_fields.smrt_crm_id"), Ok(Kind::Any));
        for (record, name) in [
            (RecordKind::Interaction, "metadata."),
            (RecordKind::Interaction, "metadata.a.b"),
            (RecordKind::Interaction, "custom_fields.x"),
            (RecordKind::Contact, "metadata.x"),
        ] {
            assert!(kind(record, name).is_err(), "{name}");
        }
    }

    #[test]
    fn distances_of_the_textbook() {
        for (from, to, expected) in [("kitten", "sitting", 3), ("", "abc", 3), ("same", "same", 0), ("flaw", "lawn", 2)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }
}
