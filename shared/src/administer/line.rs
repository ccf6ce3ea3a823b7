//! Items as lines of an export: as the API shows them, and where it doesn't, as they are. What is secret isn't in the table.

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};

use super::page::label;
use crate::{
    api,
    deliver::record::Record,
    event::events_of,
    hub::Hub,
    keys,
    partitions::Partition,
    phone::E164,
    process::{KeptEvent, Kind, record_of},
    registry::{integration_of, tenant_key},
    store::Item,
    subscription::Subscription,
    sync::link::Link,
    tenant::TenantContext,
    view,
};

/// What lines are made with.
pub(super) struct Lines<'a> {
    pub hub: &'a Hub,
    pub context: &'a TenantContext,
    pub success_outcomes: Vec<String>,
}

impl Lines<'_> {
    /// The lines of an item: one, but for the events of one change.
    pub(super) fn of(&self, partition: &Partition, item: &Item) -> Vec<Value> {
        let sk = item.get_text("sk").unwrap_or_default();
        if partition.kind == "evt"
            && let Some(events) = events_of(item)
        {
            let tenant = self.context.tenant();
            return events.iter().map(|(id, event)| line("event", id, event.view(tenant, id))).collect();
        }
        let (kind, view) = self.view(partition, item);
        let (kind, view) = match view {
            Some(view) => (kind, view),
            None => (label(partition.kind), raw(partition, item)),
        };
        let id = view.get("id").and_then(Value::as_str).filter(|_| partition.kind != "ext").unwrap_or(sk).to_owned();
        vec![line(kind, &id, view)]
    }

    fn view(&self, partition: &Partition, item: &Item) -> (&'static str, Option<Value>) {
        let sk = item.get_text("sk").unwrap_or_default();
        let view = match partition.kind {
            "con" => record(Kind::Contact, item),
            "com" => record(Kind::Company, item),
            "int" => record(Kind::Interaction, item),
            "mer" => record(Kind::Merchant, item),
            "phone" => {
                E164::try_from(sk.to_owned()).ok().map(|phone| view::phone_number(&phone, item, &self.success_outcomes))
            }
            "in" => KeptEvent::from_item(item).map(|event| view::inbound_event(&event)),
            "fail" => view::failure(item),
            "key" => keys::view(item),
            "sub" => Subscription::from_item(item, self.hub.settings.reach).map(|subscription| subscription.view()),
            "dlv" => Record::from_item(item)
                .zip(partition.of.as_deref())
                .map(|(record, subscription)| record.view(subscription, sk)),
            "link" => Some(link(partition, sk, &Link::from_item(item))),
            "wait" => item.get_text("msg").and_then(|message| serde_json::from_str(message).ok()),
            "config" if integration_of(sk).is_some() => {
                let view = api::integration_view(&self.hub.settings.public_url, self.context.tenant(), item);
                return ("integration", view);
            }
            "config" if sk == tenant_key(self.context.tenant()).sk => {
                return ("tenant", item.get_text("doc").and_then(|doc| serde_json::from_str(doc).ok()));
            }
            _ => None,
        };
        (label(partition.kind), view)
    }
}

/// Deleted ones too: what they said is still there.
fn record(kind: Kind, item: &Item) -> Option<Value> {
    let mut view = view::record_item(kind, item)?;
    if record_of(item).is_some_and(|record| record.is_deleted()) {
        view.as_object_mut()?.insert("deleted".into(), true.into());
    }
    Some(view)
}

fn link(partition: &Partition, record_id: &str, link: &Link) -> Value {
    json!({
        "system_id": partition.of,
        "record_id": record_id,
        "external_id": link.external_id,
        "waiting_since": link.mark.map(|mark| mark.since.to_string()),
        "last_error": link.error,
        "failure_id": link.failure_id,
    })
}

fn line(kind: &str, id: &str, view: Value) -> Value {
    let mut fields = match view {
        Value::Object(fields) => fields,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    // What a message waits for has a kind of its own.
    if let Some(own) = fields.insert("kind".into(), kind.into()) {
        fields.insert("message_kind".into(), own);
    }
    fields.insert("id".into(), id.into());
    Value::Object(fields)
}

/// An item as it is, without its keys, and with the system that it is of.
fn raw(partition: &Partition, item: &Item) -> Value {
    let own = item.0.iter().filter(|(name, _)| *name != "pk" && *name != "sk");
    let own = own.map(|(name, value)| (name.clone(), plain(value)));
    let system = partition.of.iter().map(|system| ("system_id".to_owned(), system.as_str().into()));
    Value::Object(own.chain(system).collect())
}

fn plain(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => text.as_str().into(),
        AttributeValue::N(number) => serde_json::from_str(number).unwrap_or_else(|_| number.as_str().into()),
        AttributeValue::B(bytes) => BASE64.encode(bytes.as_ref()).into(),
        AttributeValue::Bool(yes) => (*yes).into(),
        other => format!("{other:?}").into(),
    }
}
