//! Events and their deliveries: reading them, and trying one again.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Call, invalid, not_found};
use crate::{
    deliver::{
        asked,
        record::{DeliveryStatus, Record, delivery_key, delivery_of, delivery_partition},
    },
    event::{event_place, event_types, events_of, first_id_at},
    operation::Operation,
    problem::Problem,
    process::Status,
    store::{Item, Range},
    time::just_after,
    view::json_of,
};

/// A delivery that is tried again.
#[derive(Serialize, JsonSchema)]
pub(super) struct RetryingDelivery<'a> {
    id: &'a str,
    #[schemars(extend("const" = "queued"))]
    status: Status,
    event_id: &'a str,
    subscription_id: &'a str,
}

impl Call<'_> {
    pub(super) fn event_types(&self) -> Result<Value, Problem> {
        self.only(&[])?;
        Ok(json!({"data": event_types(), "next_cursor": null}))
    }

    pub(super) async fn event(&self, id: &str) -> Result<Value, Problem> {
        let (key, n) = event_place(self.tenant(), id).ok_or_else(|| not_found("event"))?;
        let item = self.hub.store.get(&key).await?;
        let events = item.as_ref().and_then(events_of).unwrap_or_default();
        let (id, event) = events.into_iter().nth(n).ok_or_else(|| not_found("event"))?;
        Ok(event.view(self.tenant(), &id))
    }

    /// A subscription's deliveries, the newest events first.
    pub(super) async fn deliveries(&self, id: &str) -> Result<Value, Problem> {
        self.only(&["status", "since", "until", "limit", "cursor"])?;
        self.subscription(id).await?;
        let status = self.query("status");
        if status.as_deref().is_some_and(|status| DeliveryStatus::parse(status).is_none()) {
            return Err(invalid("status", "must be pending, succeeded or exhausted"));
        }
        let filters: Vec<(&str, &str)> = status.iter().map(|status| ("st", status.as_str())).collect();
        let span = self.span()?;
        let range = Range {
            from: span.since.map_or_else(|| "evt_".into(), first_id_at),
            to: span.until.map_or_else(|| "evt_~".into(), |until| first_id_at(just_after(until))),
        };
        let view = |item: &Item| Some(Record::from_item(item)?.view(id, item.get_text("sk")?));
        self.page_of(&delivery_partition(self.tenant(), id), &range, &filters, false, view).await
    }

    pub(super) async fn delivery(&self, id: &str) -> Result<Value, Problem> {
        let (subscription, event, record) = self.stored_delivery(id).await?;
        Ok(record.view(&subscription, &event))
    }

    /// Tries it again now, whatever became of it; the schedule begins anew.
    pub(super) async fn retry_delivery(&self, id: &str) -> Result<Value, Problem> {
        let (subscription, event, _) = self.stored_delivery(id).await?;
        let delivery = asked(self.tenant(), &subscription, &event);
        self.hub.send_at(&Operation::Deliver(Box::new(delivery)), self.hub.now()).await?;
        Ok(json_of(&RetryingDelivery { id, status: Status::Queued, event_id: &event, subscription_id: &subscription }))
    }

    async fn stored_delivery(&self, id: &str) -> Result<(String, String, Record), Problem> {
        let (subscription, event) = delivery_of(id).ok_or_else(|| not_found("delivery"))?;
        let item = self.hub.store.get(&delivery_key(self.tenant(), &subscription, &event)).await?;
        let record = item.as_ref().and_then(Record::from_item).ok_or_else(|| not_found("delivery"))?;
        Ok((subscription, event, record))
    }
}
