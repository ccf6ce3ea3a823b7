//! A delivery that is out of attempts: its record says so, and a failure holds it (contract §4), from where it can be sent
//! through again.

use serde_json::json;

use super::{
    attempt::ttl,
    payload,
    record::{Attempt, DeliveryStatus, Record, delivery_id},
};
use crate::{
    codec,
    event::{self, Event, EventType},
    hub::Hub,
    ids::sortable,
    operation::Deliver,
    process::{Failure, failure_key, failure_list},
    store::{Commit, Item, StoreError, Write},
    time::millis_text,
};

/// The contract's name (§1) of what failed.
const OPERATION: &str = "make_delivery";

const CODE: &str = "delivery_exhausted";

/// Keeps it, in one transaction. Where another copy is at work on the same delivery, that one's word counts.
pub(super) async fn keep(
    hub: &Hub,
    delivery: &Deliver,
    before: Option<Record>,
    event: &Event,
    attempt: Attempt,
) -> Result<(), StoreError> {
    let now = hub.now();
    let held_by = before.as_ref().and_then(|before| before.failure_id.clone()).or(delivery.failure_id.clone());
    let error = attempt.error.clone().unwrap_or_default();
    let failure = Failure {
        id: held_by.unwrap_or_else(|| sortable("fail", now, (hub.random)())),
        code: CODE.to_owned(),
        error: format!("the endpoint failed at every attempt, at last with {error}; mend it, then retry"),
    };
    let (condition, values) = Record::unchanged(before.as_ref());
    let record = before.unwrap_or_else(|| Record::new(event.event_type.as_str())).with(attempt);
    let record = Record {
        status: DeliveryStatus::Exhausted,
        next_attempt_at: None,
        failure_id: Some(failure.id.clone()),
        ..record
    };
    let writes = [
        Write::Put { item: record.item(delivery, ttl(hub)), condition, values },
        Write::Put { item: failure_item(hub, delivery, event, &record, &failure), condition: "", values: Vec::new() },
    ];
    let outbox = told(delivery, event, &failure).and_then(|draft| {
        let (moment, correlation_id) = ((now, (hub.random)()), delivery.correlation_id.as_deref());
        event::outbox(&delivery.tenant_id, &[draft], moment, &hub.settings, correlation_id)
    });
    match hub.store.commit(writes.into_iter().chain(outbox).collect()).await? {
        Commit::Done => hub.metrics.exhausted(delivery, &failure),
        Commit::Refused(_) => {}
        Commit::Conflict => {
            return Err(StoreError::Unavailable {
                operation: "TransactWriteItems",
                reason: "another copy is at work on the same delivery".into(),
            });
        }
    }
    Ok(())
}

/// Subscribers are told, but not that they couldn't be told of a failure: that would go on for ever.
fn told(delivery: &Deliver, event: &Event, failure: &Failure) -> Option<event::Draft> {
    let about = json!({
        "delivery_id": delivery_id(&delivery.subscription_id, &delivery.event_id),
        "subscription_id": delivery.subscription_id,
        "event_id": delivery.event_id,
    });
    let draft = event::failure(&failure.id, OPERATION, &about, (&failure.code, &failure.error));
    (event.event_type != EventType::OperationFailed).then_some(draft)
}

fn failure_item(hub: &Hub, delivery: &Deliver, event: &Event, record: &Record, failure: &Failure) -> Item {
    let (tenant, now) = (&delivery.tenant_id, hub.now());
    let (payload, _) = payload::build(tenant, &delivery.event_id, event, record.made, &[]);
    let first = record.attempts.first().map_or(now, |attempt| attempt.at);
    Item::new(&failure_key(tenant, &failure.id))
        .listed(&failure_list(tenant), now)
        .text("op", OPERATION)
        .text("sub", delivery.subscription_id.as_str())
        .text("evt", delivery.event_id.as_str())
        .text("code", failure.code.as_str())
        .text("err", failure.error.as_str())
        .text("first", millis_text(first))
        .text("last", millis_text(now))
        .number("attempts", record.made.into())
        .number("ttl", now.as_second().saturating_add_unsigned(hub.settings.failure_retention.as_secs()))
        .bytes("body", codec::pack(payload.as_bytes()))
}

/// The delivery that a failure holds; `None` where it holds something else.
#[must_use]
pub fn held_by(failure: &Item, tenant: &crate::ids::TenantId) -> Option<(String, Deliver)> {
    let (subscription, event) = (failure.get_text("sub")?, failure.get_text("evt")?);
    let failure_id = failure.get_text("sk").map(str::to_owned);
    Some((event.to_owned(), Deliver { failure_id, ..super::asked(tenant, subscription, event) }))
}
