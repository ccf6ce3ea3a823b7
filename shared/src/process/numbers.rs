//! What a change of a record changes on the items of phone numbers. Pure.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::effect::{Effect, Kind, phone_key};
use crate::{
    mapping::UnknownPhone,
    phone::E164,
    record::Record,
    statistics::{Counters, contribution, difference},
    store::{ABSENT, Item, Update, Write},
};

/// The times on a number's item, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Times {
    first: Option<i64>,
    last: Option<i64>,
    paid: Option<i64>,
}

impl Times {
    /// Reads them from a number's item.
    pub(super) fn of(item: Option<&Item>) -> Self {
        let n = |name| item.and_then(|item| item.get_number(name));
        Self { first: n("f"), last: n("l"), paid: n("pl") }
    }
}

/// What changes on one number's item.
pub(super) struct PhoneChange {
    pub(super) phone: E164,
    add: Counters,
    contact: Option<(i64, i64)>,
    paid: Option<i64>,
    pub(super) must_exist: bool,
}

pub(super) fn phone_changes(effect: &Effect<'_>, before: Option<&Record>, after: &Record) -> Vec<PhoneChange> {
    if effect.kind != Kind::Interaction {
        // A contact's or company's number is thereby known to the CRM.
        let named = |record: &Record| E164::try_from(record.text("phone_number")?.to_owned()).ok();
        let phone = named(after).filter(|phone| before.and_then(named).as_ref() != Some(phone));
        let known = |phone| PhoneChange { phone, add: Counters::new(), contact: None, paid: None, must_exist: false };
        return phone.map(known).into_iter().collect();
    }
    let old = before.and_then(contribution);
    let new = contribution(after);
    let mut changes = Vec::new();
    let moved = old.as_ref().map(|o| &o.phone) != new.as_ref().map(|n| &n.phone);
    if let Some(old) = old.as_ref().filter(|_| moved) {
        let add = difference(&Counters::new(), &old.counters);
        changes.push(PhoneChange { phone: old.phone.clone(), add, contact: None, paid: None, must_exist: false });
    }
    if let Some(new) = new {
        let old = old.filter(|_| !moved);
        let add = difference(&new.counters, old.as_ref().map_or(&Counters::new(), |o| &o.counters));
        let ms = |at: Timestamp| at.as_millisecond();
        let same = old.as_ref().is_some_and(|o| o.contact == new.contact);
        let contact = (!same).then_some((ms(new.contact.0), ms(new.contact.1)));
        let paid = new.paid_at.filter(|at| old.as_ref().and_then(|o| o.paid_at) != Some(*at)).map(ms);
        if !add.is_empty() || contact.is_some() || paid.is_some() {
            let must_exist = old.is_none() && effect.unknown_phone == UnknownPhone::Fail;
            changes.push(PhoneChange { phone: new.phone, add, contact, paid, must_exist });
        }
    }
    changes
}

impl PhoneChange {
    /// The counters are added to blindly. First and last contact can only widen: the guess is that this event is the
    /// latest; where it isn't, the refusal brings the stored times.
    pub(super) fn write(&self, effect: &Effect<'_>, known: Option<&Times>, exists: Option<bool>) -> Write {
        let n = |ms: i64| AttributeValue::N(ms.to_string());
        let mut set = Vec::new();
        let mut set_once = vec![("cr".to_owned(), n(effect.received.as_millisecond()))];
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        match exists {
            Some(true) if self.must_exist || effect.publishes => conditions.push("attribute_exists(pk)".to_owned()),
            Some(false) if effect.publishes => conditions.push(ABSENT.to_owned()),
            _ => {}
        }
        let mut extend = |name: &str, to: i64, old: Option<Option<i64>>, outside: fn(i64, i64) -> bool| match old {
            Some(Some(old)) if !outside(to, old) => {}
            Some(old) => {
                set.push((name.to_owned(), n(to)));
                match old {
                    None => conditions.push(format!("attribute_not_exists({name})")),
                    Some(old) => {
                        conditions.push(format!("{name} = :{name}"));
                        values.push((format!(":{name}"), n(old)));
                    }
                }
            }
            None => {
                // The guess leaves a first contact alone and moves the last ones on.
                let assign = if name == "f" { &mut set_once } else { &mut set };
                assign.push((name.to_owned(), n(to)));
                conditions.push(format!("(attribute_not_exists({name}) OR {name} <= :{name})"));
                values.push((format!(":{name}"), n(to)));
            }
        };
        if let Some((first, last)) = self.contact {
            extend("f", first, known.map(|k| k.first), |to, old| to < old);
            extend("l", last, known.map(|k| k.last), |to, old| to > old);
        }
        if let Some(paid) = self.paid {
            extend("pl", paid, known.map(|k| k.paid), |to, old| to > old);
        }
        let add = self.add.iter().map(|(name, amount)| (name.clone(), *amount)).collect();
        let key = phone_key(effect.tenant, &self.phone);
        Write::Update(Update {
            key,
            set,
            set_once,
            add,
            remove: Vec::new(),
            condition: conditions.join(" AND "),
            values,
        })
    }
}
