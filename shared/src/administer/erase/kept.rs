//! Erasing what is kept of what came in: inbound events, what waits, answers.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Erasing, ROUNDS_MAX, records::ids_in};
use crate::{
    administer::AdministerError,
    inbound::InboundEvent,
    operation::Operation,
    process::{Status, inbound_key, inbound_list},
    store::{Item, Key, Update},
};

/// What the mark of an erased event says of itself.
const WARNING: &str = "what this event said was erased on request; the record stays, so that a repeat has no effect";

impl Erasing<'_> {
    /// Of an inbound event its mark stays. The note of a repeat is no mark, and goes.
    pub(super) async fn inbound(&mut self, item: Item) -> Result<(), AdministerError> {
        self.counts.add("in");
        let Some(key) = item.key().filter(|_| !self.dry_run) else { return Ok(()) };
        let mut item = Some(item);
        for _ in 0..ROUNDS_MAX {
            let Some(old) = item.take() else { return Ok(()) };
            let status = old.get_text("st").unwrap_or_default().to_owned();
            if status == Status::Duplicate.as_str() {
                return Ok(self.hub.store.delete(&key).await?);
            }
            let values = vec![(":st", AttributeValue::S(status))];
            if self.hub.store.put(self.mark_of(&old), "st = :st", values).await?.is_ok() {
                return Ok(());
            }
            item = self.hub.store.get(&key).await?;
        }
        Err(AdministerError::Busy)
    }

    /// The mark: nothing replaces one that is processed, and without a time to live it counts for good.
    fn mark_of(&self, old: &Item) -> Item {
        let mut mark = old.clone();
        for name in ["body", "form", "hdr", "sid", "err", "code", "fail", "warn", "ttl"] {
            mark.0.remove(name);
        }
        let named: Vec<String> = mark.0.keys().filter(|name| *name != "sk").cloned().collect();
        for name in named {
            if mark.get_text(&name).is_some_and(|text| self.number.in_document(text, false)) {
                mark.0.remove(&name);
            }
        }
        mark.text("st", Status::Processed.as_str()).text("warn", serde_json::json!([WARNING]).to_string())
    }

    /// A message that waits for more than a quarter of an hour. What an inbound event would have made is as if it had been made.
    pub(super) async fn waiting(&mut self, item: &Item) -> Result<(), AdministerError> {
        let message = item.get_text("msg").unwrap_or_default();
        match Operation::from_message(message, self.hub.now()) {
            Ok(Operation::Inbound(waiting)) if self.names(&waiting.event) => {
                if !self.dry_run {
                    self.mark_unseen(&waiting.event).await?;
                }
                self.delete("wait", item).await
            }
            Ok(Operation::Deliver(delivery)) => {
                let Some(event) = &delivery.event else { return Ok(()) };
                let mut ids = Vec::new();
                ids_in(&serde_json::from_str(&event.data).unwrap_or_default(), &mut ids);
                let keys: Vec<Key> = ids.iter().filter_map(|id| self.record_key(id)).collect();
                let is_named = self.number.in_document(&event.data, false) || !self.gone_of(keys).await?.is_empty();
                if is_named { self.delete("wait", item).await } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn names(&self, event: &InboundEvent) -> bool {
        self.number.in_document(&event.body, event.form)
            || event.headers.values().chain(&event.signed_id).any(|text| self.number.in_text(text))
    }

    /// Leaves the mark of an event that wasn't processed yet.
    async fn mark_unseen(&self, event: &InboundEvent) -> Result<(), AdministerError> {
        let (hub, tenant) = (self.hub, self.context.tenant());
        let target = hub.registry.find(&hub.store, tenant, &event.system_id, hub.now()).await?;
        let payload = event.payload().unwrap_or_default();
        let identity = event.identity(target.as_ref().map(|target| &*target.integration.rule), &payload);
        let key = inbound_key(tenant, &event.inbound_id(&identity));
        let mark = Item::new(&key).listed(&inbound_list(tenant), event.received_at);
        let mark = mark.text("sys", event.system_id.as_str()).text("eid", identity);
        let queued = vec![(":queued", AttributeValue::S(Status::Queued.as_str().into()))];
        hub.store.put(self.mark_of(&mark), "attribute_not_exists(pk) OR st = :queued", queued).await?.ok();
        Ok(())
    }

    /// The answer that is kept for a repeat of an API call: the call stays known as done.
    pub(super) async fn answer_kept(&mut self, item: Item) -> Result<(), AdministerError> {
        self.counts.add("idem");
        if !self.dry_run {
            self.hub.store.put(item.text("answer", "null"), "attribute_exists(pk)", Vec::new()).await?.ok();
        }
        Ok(())
    }

    /// The error of a sync, that may repeat what a CRM said.
    pub(super) async fn sync_state(&mut self, item: &Item) -> Result<(), AdministerError> {
        self.counts.add("sync");
        if let Some(key) = item.key().filter(|_| !self.dry_run) {
            let update = Update::new(&key).remove("err").when("attribute_exists(pk)", &[]);
            self.hub.store.update(update).await?.ok();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::process::KeptEvent;

    /// A mark must be one that the rest of the hub can read.
    #[test]
    fn the_least_that_a_mark_has_is_enough() {
        let key = Key { pk: "acme#in".into(), sk: "inb_1".into() };
        let item = Item::new(&key).listed("acme#in", Timestamp::UNIX_EPOCH).text("sys", "crm").text("st", "processed");
        assert!(KeptEvent::from_item(&item).is_some_and(|kept| kept.body.is_none()));
    }
}
