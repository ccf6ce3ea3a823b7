//! Contacts that are marked, and the runs that send them.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use shared::{
    hub::Edge,
    mapping::Merge,
    operation::{Operation, SyncTask},
    record::{Change, Record, Stamp},
    store::{Item, Key, Write},
    sync::{
        job,
        link::{Link, Place},
        schedule,
        state::Scope,
    },
};
use tracing::Instrument;

/// The function that is measured.
pub const FUNCTION: &str = "sync-contacts";
/// So many links and records `BatchWriteItem` takes.
const CONTACTS_AT_ONCE: usize = 12;
/// The function's time.
const INVOCATION: Duration = Duration::from_mins(5);

/// Writes contacts at `version`, each marked as a change of it does.
pub async fn change(hub: &Edge, scope: &Scope, contacts: Range<usize>, version: i64) {
    let all: Vec<usize> = contacts.collect();
    for chunk in all.chunks(CONTACTS_AT_ONCE) {
        let places: Vec<_> = chunk.iter().map(|n| scope.place(&format!("con_{n:08}"))).collect();
        let links = if version == 1 {
            vec![None; places.len()]
        } else {
            let keys: Vec<Key> = places.iter().map(Place::key).collect();
            hub.store.get_many(&keys).await.unwrap()
        };
        let mut items = Vec::new();
        for ((n, place), link) in chunk.iter().zip(&places).zip(links) {
            let mut link = link.as_ref().map(Link::from_item).unwrap_or_default();
            link.mark(version, hub.now(), None);
            let Write::Put { item, .. } = link.write(place) else { unreachable!("a link is put") };
            let doc = serde_json::to_string(&contact(hub, *n, version)).unwrap();
            let record = Item::new(&Key::of(&scope.tenant, "con", place.record_id.as_str()));
            items.extend([item, record.text("sys", "bench").text("doc", doc).number("v", version)]);
        }
        hub.store.put_all(items).await.unwrap();
    }
}

/// A contact of six fields; each version has another first name.
fn contact(hub: &Edge, n: usize, version: i64) -> Record {
    let mut record = Record::default();
    for version in 1..=version {
        let fields = [
            ("first_name", json!(format!("Ada {version}"))),
            ("last_name", json!(format!("Lovelace {n}"))),
            ("phone_number", json!(format!("+1415{:07}", 2_000_000 + n))),
            ("email", json!(format!("ada.{n}@example.com"))),
            ("company_name", json!("Analytical Engines")),
            ("custom_fields.tier", json!("gold")),
        ];
        let fields: BTreeMap<String, (Value, Merge)> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), (value, Merge::Last))).collect();
        let received = hub.now();
        let at = received.checked_sub(Duration::from_secs(60 - version.unsigned_abs())).unwrap();
        let key = format!("{version:016x}");
        record.apply(&Change { event_key: &key, stamp: Stamp::new(Some(at), 0, received), received, fields: &fields });
    }
    record
}

/// Invokes the function as the runtime does, with a job as the schedule makes it.
pub async fn run(hub: &Edge, scope: &Scope) {
    let body = Operation::Sync(schedule::job(scope, SyncTask::Send, None, None)).to_message().body;
    let record = json!({"messageId": "19dd0b57-b21e-4ac1-bd88-01bbb068cb78", "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body, "attributes": {}, "messageAttributes": {}});
    let mut context = Context::default();
    let deadline = hub.now().checked_add(INVOCATION).unwrap();
    context.deadline = deadline.as_millisecond().try_into().unwrap();
    let span = tracing::info_span!("Lambda runtime invoke", requestId = "8286a188-ba32-4475-8077-530cd35c09a9");
    let answer =
        job::handle(hub, LambdaEvent::new(serde_json::from_value(json!({"Records": [record]})).unwrap(), context))
            .instrument(span)
            .await
            .unwrap();
    assert!(answer.batch_item_failures.is_empty());
}
