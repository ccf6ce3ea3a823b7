//! `publish-events`: finds the subscriptions that want an event, and queues a delivery for each.
//!
//! The table's stream hands over what was put into the [outbox](crate::event), at least once and in the order of each item's
//! partition. What can't be queued is reported, and the stream gives it again from there.

mod sweep;

use std::{collections::HashMap, sync::Arc};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use lambda_runtime::{Error, LambdaEvent};
use serde::Deserialize;
use serde_json::{Value, json};

pub use self::sweep::{handle as sweep, sweep_item};
use crate::{
    event::{Event, events_of},
    hub::Edge,
    ids::TenantId,
    operation::{Deliver, Operation},
    store::{Delayed, Item},
    subscription::Subscription,
    tenant::TenantContext,
};

/// An event that is larger doesn't travel with its message: ten messages share the 1 MiB of a batch.
const EVENT_BYTES_MAX: usize = 64 * 1024;

/// A record of the stream, as far as it matters
/// (<https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>). The crate `aws_lambda_events` would read all of a batch
/// or nothing, and brings a second library for dates.
#[derive(Deserialize)]
struct Record {
    dynamodb: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    new_image: HashMap<String, Attribute>,
}

/// An attribute; of the types that an item of the outbox has.
#[derive(Deserialize)]
enum Attribute {
    S(String),
    N(String),
    B(String),
}

/// Publishes one batch.
///
/// # Errors
/// None: each record has its own outcome.
pub async fn handle(edge: &Edge, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let records = event.payload.get("Records").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (mut messages, mut of, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let mut lines: Vec<Line> = Vec::new();
    for (n, record) in records.iter().enumerate() {
        let Some((context, events)) = read(record) else {
            // Whatever it is, it stays so: the next ones mustn't wait for it.
            tracing::error!(sequence_number = sequence_number(record), "a record of the stream isn't one of ours");
            continue;
        };
        let hub = edge.acting_for(&context);
        let subscriptions = match hub.subscriptions.all(&hub.store, &context, hub.now()).await {
            Ok(subscriptions) => subscriptions,
            Err(error) => {
                let correlation_id = correlation_of(&events);
                tracing::warn!(tenant = %context.tenant(), correlation_id, %error, "events can't be published now");
                failed.push(n);
                continue;
            }
        };
        let before = messages.len();
        for (id, event) in &events {
            for delivery in deliveries(&context, &subscriptions, (id, event)) {
                of.push(n);
                messages.push(now(delivery));
            }
        }
        lines.push(Line { n, context, events, deliveries: messages.len() - before });
    }
    let taken = if messages.is_empty() { Ok(Vec::new()) } else { edge.store.enqueue_all(messages).await };
    let taken = taken.unwrap_or_else(|error| {
        tracing::warn!(%error, "no delivery can be queued now");
        Vec::new()
    });
    failed.extend(of.iter().enumerate().filter(|(position, _)| !taken.contains(position)).map(|(_, n)| *n));
    failed.sort_unstable();
    failed.dedup();
    for line in &lines {
        line.log(failed.contains(&line.n));
    }
    let failures = failed.iter().filter_map(|n| records.get(*n)).map(sequence_number);
    let failures: Vec<Value> = failures.map(|number| json!({"itemIdentifier": number})).collect();
    Ok(json!({"batchItemFailures": failures}))
}

/// What one item of the outbox was made into.
struct Line {
    n: usize,
    context: TenantContext,
    events: Vec<(String, Event)>,
    deliveries: usize,
}

impl Line {
    /// `failed`: not all of the deliveries are queued, and the stream gives the item again.
    fn log(&self, failed: bool) {
        let (tenant, correlation_id) = (self.context.tenant(), correlation_of(&self.events));
        let (events, deliveries) = (self.events.len(), self.deliveries);
        tracing::info!(%tenant, correlation_id, events, deliveries, failed, "published");
    }
}

/// The events of one change came of one thing.
fn correlation_of(events: &[(String, Event)]) -> Option<&str> {
    events.first()?.1.correlation_id.as_deref()
}

fn sequence_number(record: &Value) -> &str {
    record.pointer("/dynamodb/SequenceNumber").and_then(Value::as_str).unwrap_or_default()
}

/// The events of a record, and whose they are: only our own transactions write into the outbox.
fn read(record: &Value) -> Option<(TenantContext, Vec<(String, Event)>)> {
    let record = Record::deserialize(record).ok()?;
    let attribute = |attribute: Attribute| {
        Some(match attribute {
            Attribute::S(text) => AttributeValue::S(text),
            Attribute::N(number) => AttributeValue::N(number),
            Attribute::B(base64) => AttributeValue::B(Blob::new(BASE64.decode(base64).ok()?)),
        })
    };
    let image = record.dynamodb.new_image.into_iter().map(|(name, value)| Some((name, attribute(value)?)));
    let item = Item(image.collect::<Option<_>>()?);
    let tenant = TenantId::parse(item.get_text("pk")?.strip_suffix("#evt")?).ok()?;
    Some((TenantContext::authenticated(tenant), events_of(&item)?))
}

/// The deliveries of an event to the active subscriptions that want it.
fn deliveries<'a>(
    context: &'a TenantContext,
    subscriptions: &'a [Arc<Subscription>],
    (id, event): (&'a str, &'a Event),
) -> impl Iterator<Item = Deliver> + 'a {
    let tenant = context.tenant();
    let wanting = subscriptions.iter().filter(move |s| s.is_active() && s.wants(tenant, id, event));
    wanting.map(move |subscription| {
        let correlation_id = event.correlation_id.clone();
        let event = (event.data.len() <= EVENT_BYTES_MAX).then(|| event.clone());
        Deliver { event, correlation_id, ..Deliver::first(tenant, &subscription.id, id) }
    })
}

/// The message of a delivery that is to be made now.
fn now(delivery: Deliver) -> Delayed {
    Delayed { message: Operation::Deliver(Box::new(delivery)).to_message(), delay_seconds: 0 }
}
