//! What a change to a record means to subscribers. Pure.

use serde_json::{Map, Value, json};

use super::{Draft, EventType};
use crate::{phone::E164, process::Kind, record::Record, statistics::contribution, view};

/// The events of a record's change from `before` to `after`. Where nothing that subscribers can see changed, there are none.
#[must_use]
pub fn of_change(kind: Kind, id: &str, system: &str, before: Option<&Record>, after: &Record) -> Vec<Draft> {
    if kind == Kind::Interaction {
        return of_interaction(id, system, before, after);
    }
    let shown = |record: &Record| view::record(kind, id, system, record);
    let exists = |record: &&Record| !record.is_deleted();
    let old = before.filter(exists);
    let (created, updated, deleted, name) = match kind {
        Kind::Contact => {
            (EventType::ContactCreated, EventType::ContactUpdated, Some(EventType::ContactDeleted), "contact")
        }
        Kind::Company => {
            (EventType::CompanyCreated, EventType::CompanyUpdated, Some(EventType::CompanyDeleted), "company")
        }
        // The contract has one event for both, and none for the end.
        Kind::Merchant | Kind::Interaction => {
            (EventType::MerchantUpdated, EventType::MerchantUpdated, None, "merchant")
        }
    };
    let event_type = match (old, after.is_deleted()) {
        (None, true) => None,
        (None, false) => Some(created),
        (Some(_), true) => deleted,
        (Some(old), false) => differ(&shown(old), &shown(after)).then_some(updated),
    };
    // Of what is gone, its last state is told.
    let told = if after.is_deleted() { old.unwrap_or(after) } else { after };
    event_type.map(|event_type| (event_type, json!({name: shown(told)}))).into_iter().collect()
}

/// An interaction exists for subscribers once it has a phone number.
fn of_interaction(id: &str, system: &str, before: Option<&Record>, after: &Record) -> Vec<Draft> {
    let Some(now) = contribution(after) else { return Vec::new() };
    let old = before.filter(|record| contribution(record).is_some());
    let data = |record: &Record| json!({"phone_number": record.get("phone_number"), "interaction": interaction(id, system, record)});
    let mut drafts = Vec::new();
    let told = data(after);
    match old {
        None => drafts.push((EventType::InteractionCreated, told)),
        Some(old) if differ(&data(old), &told) => drafts.push((EventType::InteractionUpdated, told)),
        Some(_) => {}
    }
    let payment = |record: &Record| payment(id, record);
    if let Some(paid) = payment(after)
        && old.and_then(payment).as_ref() != Some(&paid)
    {
        drafts.push((EventType::PaymentRecorded, json!({"phone_number": now.phone.as_str(), "payment": paid})));
    }
    drafts
}

/// Whether two views differ in more than when they were last touched.
fn differ(one: &Value, other: &Value) -> bool {
    let strip = |value: &Value| {
        let mut value = value.clone();
        let inner = value.get_mut("interaction").map(Value::take);
        let mut inner = inner.unwrap_or(value);
        if let Some(fields) = inner.as_object_mut() {
            fields.remove("updated_at");
        }
        inner
    };
    one.get("phone_number") != other.get("phone_number") || strip(one) != strip(other)
}

/// The interaction as the contract's payload names its fields (§6), and what else the API shows of it.
fn interaction(id: &str, system: &str, record: &Record) -> Value {
    let mut shown = view::record(Kind::Interaction, id, system, record);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("phone_number");
        let kind = fields.remove("interaction_type").unwrap_or_default();
        fields.insert("type".into(), kind);
    }
    shown
}

/// What is known of the payment that an interaction is, if it is one.
fn payment(id: &str, record: &Record) -> Option<Value> {
    record.text("payment.status")?;
    let mut shown = Map::from_iter([("interaction_id".to_owned(), Value::from(id))]);
    for (name, value) in record.fields() {
        let own = name.strip_prefix("payment.").or_else(|| (name == "metadata.payment_id").then_some("payment_id"));
        // What is kept by charge, to add it up, is ours.
        if let Some(own) = own.filter(|own| !own.contains('.')) {
            shown.insert(own.to_owned(), value);
        }
    }
    Some(Value::Object(shown))
}

/// A number became known.
#[must_use]
pub fn phone_created(phone: &E164) -> Draft {
    (EventType::PhoneNumberCreated, json!({"phone_number": phone.as_str()}))
}

/// An operation became a failure, or failed again.
#[must_use]
pub fn failure(id: &str, operation: &str, about: &Value, (code, error): (&str, &str)) -> Draft {
    let mut fields = json!({"id": id, "operation": operation, "code": code, "error": error});
    if let (Some(fields), Some(about)) = (fields.as_object_mut(), about.as_object()) {
        fields.extend(about.clone());
    }
    (EventType::OperationFailed, json!({"failure": fields}))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::{
        mapping::Merge,
        record::{Change, DELETED, Stamp},
    };

    /// The record after each of some events, one second apart.
    fn states(events: &[Value]) -> Vec<Record> {
        let mut record = Record::default();
        let mut states = Vec::new();
        for (n, event) in (1..).zip(events) {
            let at = Timestamp::from_second(1_768_000_000 + n).unwrap();
            let fields = event.as_object().unwrap();
            let fields: BTreeMap<_, _> = fields.iter().map(|(k, v)| (k.clone(), (v.clone(), Merge::Last))).collect();
            let key = format!("k{n}");
            record.apply(&Change {
                event_key: &key,
                stamp: Stamp::new(Some(at), 0, at),
                received: at,
                fields: &fields,
            });
            states.push(record.clone());
        }
        states
    }

    /// The types of the events of each of the changes.
    fn told(kind: Kind, events: &[Value]) -> Vec<String> {
        let states = states(events);
        let before = std::iter::once(None).chain(states.iter().map(Some));
        let of = |(before, after)| {
            let types = of_change(kind, "id_1", "sys", before, after);
            types.iter().map(|(t, _)| t.as_str()).collect::<Vec<_>>().join(" ")
        };
        before.zip(&states).map(of).collect()
    }

    #[test]
    fn an_interaction_is_told_once_it_has_a_number_and_when_it_changes() {
        let number = json!({"phone_number": "+14155550132"});
        let told = told(
            Kind::Interaction,
            &[json!({"metadata.a": 1}), number.clone(), number, json!({"outcome": "sale"}), json!({"$call": 1})],
        );
        let expected = ["", "phone_number.interaction.created", "", "phone_number.interaction.updated", ""];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_payment_is_recorded_whenever_its_state_changes() {
        let paid =
            |status: &str| json!({"phone_number": "+14155550132", "payment.status": status, "payment.amount": 4200});
        let events = [paid("failed"), paid("succeeded"), paid("succeeded"), json!({"payment.refunded": 100})];
        let created = "phone_number.interaction.created payment.recorded";
        // What a payment is counted for isn't shown on the interaction.
        assert_eq!(told(Kind::Interaction, &events), [created, "payment.recorded", "", "payment.recorded"]);
        let drafts = of_change(Kind::Interaction, "int_1", "stripe", None, &states(&events)[3]);
        let payment = &drafts[1].1["payment"];
        assert_eq!(
            *payment,
            json!({"interaction_id": "int_1", "status": "succeeded", "amount": 4200, "refunded": 100})
        );
    }

    #[test]
    fn contacts_come_change_go_and_come_back() {
        let events = [
            json!({DELETED: true}),
            json!({"email": "a@example.com", DELETED: false}),
            json!({"email": "a@example.com"}),
            json!({"email": "b@example.com"}),
            json!({DELETED: true}),
            json!({DELETED: false}),
        ];
        let expected = ["", "contact.created", "", "contact.updated", "contact.deleted", "contact.created"];
        assert_eq!(told(Kind::Contact, &events), expected);
        let states = states(&events);
        let gone = of_change(Kind::Contact, "con_1", "crm", Some(&states[3]), &states[4]);
        assert_eq!(gone[0].1["contact"]["email"], "b@example.com", "its last state");
        assert_eq!(told(Kind::Merchant, &[json!({"name": "A"}), json!({"name": "B"})]), ["merchant.updated"; 2]);
    }

    #[test]
    fn an_interaction_is_told_in_the_contracts_form() {
        let event = json!({"phone_number": "+14155550132", "interaction_type": "outbound_call", "outcome": "interested",
            "duration_seconds": 180, "agent_name": "Sarah", "metadata.sarah_call_id": "c1"});
        let drafts = of_change(Kind::Interaction, "int_1", "sarah_ai", None, &states(&[event])[0]);
        assert_eq!(
            drafts[0].1,
            json!({"phone_number": "+14155550132", "interaction": {
                "id": "int_1", "type": "outbound_call", "outcome": "interested", "duration_seconds": 180,
                "agent_name": "Sarah", "created_at": "2026-01-09T23:06:41Z", "system_id": "sarah_ai",
                "metadata": {"sarah_call_id": "c1"}, "occurred_at": "2026-01-09T23:06:41Z",
                "updated_at": "2026-01-09T23:06:41Z"}})
        );
    }
}
