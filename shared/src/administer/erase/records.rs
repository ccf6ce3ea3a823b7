//! Erasing records: what hangs on the number goes, and with it what it counts for; elsewhere only the mention goes.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use super::{Erasing, ROUNDS_MAX};
use crate::{
    administer::AdministerError,
    connector::Entity,
    event::{event_place, events_of},
    partitions::Partition,
    process::{Kind, phone_key, record_of, stored},
    record::Record,
    statistics::{Counters, contribution, difference},
    store::{Commit, Item, Key, Update, Write},
    sync::{
        link::{Link, Place},
        matches,
    },
};

/// Records that are read in one go.
const READ_MAX: usize = 100;

fn kind_of(name: &str) -> Option<Kind> {
    [Kind::Contact, Kind::Company, Kind::Interaction, Kind::Merchant].into_iter().find(|kind| kind.name() == name)
}

impl Erasing<'_> {
    /// Whether a record is erased as a whole: a person's, or what happened with the number.
    fn takes(&self, kind: Kind, record: &Record) -> bool {
        match kind {
            Kind::Contact => record.fields().any(|(_, value)| self.number.in_value(&value)),
            Kind::Interaction => record.text("phone_number") == Some(self.number.e164().as_str()),
            Kind::Company | Kind::Merchant => false,
        }
    }

    /// What a record is to be; `None` where it stays as it is.
    fn cleared(&self, kind: Kind, record: &Record) -> Option<Record> {
        if self.takes(kind, record) {
            return Some(record.erased());
        }
        let mut scrubbed = record.clone();
        scrubbed.scrub(|value| self.number.in_value(value)).then_some(scrubbed)
    }

    pub(super) async fn record(&mut self, kind: &str, item: Item) -> Result<(), AdministerError> {
        let (Some(kind), Some(key)) = (kind_of(kind), item.key()) else { return Ok(()) };
        let Some(record) = record_of(&item) else { return Ok(()) };
        if record.is_erased() || self.takes(kind, &record) {
            self.note_external(kind, &key.sk).await?;
        }
        if self.cleared(kind, &record).is_none() {
            return Ok(());
        }
        self.counts.add(kind.name());
        if self.dry_run {
            return Ok(());
        }
        let (mut item, mut counts) = (Some(item), true);
        for _ in 0..ROUNDS_MAX {
            let Some(old) = item.take() else { return Ok(()) };
            let Some(writes) = self.writes(kind, &key, &old, counts) else { return Ok(()) };
            match self.hub.store.commit(writes).await? {
                Commit::Done => return Ok(()),
                // Its number has no item, so that there is nothing to count down.
                Commit::Refused(refusals) if refusals.first().is_some_and(Option::is_none) => counts = false,
                Commit::Refused(_) | Commit::Conflict => {}
            }
            item = self.hub.store.get(&key).await?;
        }
        Err(AdministerError::Busy)
    }

    /// The record as it is to be, what that changes in its number's statistics, and under what it isn't found any more.
    fn writes(&self, kind: Kind, key: &Key, item: &Item, counts: bool) -> Option<Vec<Write>> {
        let (version, before) = stored(item)?;
        let after = self.cleared(kind, &before)?;
        let doc = serde_json::to_string(&after).ok()?;
        let mut new = item.clone().text("doc", doc).number("v", version + 1);
        if after.is_erased() {
            new.0.remove("g1pk");
            new.0.remove("g1sk");
        }
        let values = vec![(":v", AttributeValue::N(version.to_string()))];
        let mut writes = vec![Write::Put { item: new, condition: "v = :v", values }];
        let tenant = self.context.tenant();
        if let Some(old) = contribution(&before).filter(|_| kind == Kind::Interaction && counts) {
            let new = contribution(&after).map_or_else(Counters::new, |new| new.counters);
            let change = difference(&new, &old.counters);
            if !change.is_empty() {
                let update = Update::new(&phone_key(tenant, &old.phone)).when("attribute_exists(pk)", &[]);
                let update = change.iter().fold(update, |update, (name, amount)| update.add(name, *amount));
                writes.push(Write::Update(update));
            }
        }
        writes.extend(matches::writes(tenant, kind, &key.sk, (Some(&before), &after)));
        Some(writes)
    }

    /// Notes what a record is called at CRMs.
    async fn note_external(&mut self, kind: Kind, record_id: &str) -> Result<(), AdministerError> {
        let Some(entity) = Entity::of(kind) else { return Ok(()) };
        let tenant = self.context.tenant();
        let systems: Vec<_> = self.owners.systems.iter().cloned().collect();
        for systems in systems.chunks(READ_MAX) {
            let place = |system: &_| Place {
                tenant: tenant.clone(),
                system: Clone::clone(system),
                entity,
                record_id: record_id.to_owned(),
            };
            let keys: Vec<Key> = systems.iter().map(|system| place(system).key()).collect();
            let links = self.hub.store.get_many(&keys).await?;
            let named = systems.iter().zip(links).filter_map(|(system, link)| {
                let external_id = Link::from_item(&link?).external_id?;
                Some(json!({"system_id": system, "entity_type": entity, "record_id": record_id,
                    "external_id": external_id}))
            });
            self.external.extend(named);
        }
        Ok(())
    }

    /// The records that an item is about; of a delivery, its event.
    pub(super) fn references(&self, partition: &Partition, item: &Item) -> Vec<Key> {
        let text = |name: &str| item.get_text(name).unwrap_or_default();
        let mut ids: Vec<String> = Vec::new();
        match partition.kind {
            "in" => ids_in(&serde_json::from_str(text("data")).unwrap_or_default(), &mut ids),
            "fail" | "ext" => ids.push(text("rec").to_owned()),
            "link" => ids.push(text("sk").to_owned()),
            "evt" => told_of(item, &mut ids),
            "dlv" => {
                return event_place(self.context.tenant(), text("sk")).map(|(event, _)| event).into_iter().collect();
            }
            _ => {}
        }
        ids.into_iter().filter_map(|id| self.record_key(&id)).collect()
    }

    /// The key of a contact or an interaction of this id.
    pub(super) fn record_key(&self, id: &str) -> Option<Key> {
        let kind = id.split_once('_').map(|(kind, _)| kind).filter(|kind| ["con", "int"].contains(kind))?;
        Some(Key::of(self.context.tenant(), kind, id))
    }

    /// Those records that a page's items are about, and that are erased, or would be if this weren't a dry run.
    pub(super) async fn gone(&self, partition: &Partition, items: &[Item]) -> Result<HashSet<Key>, AdministerError> {
        let keys: HashSet<Key> = items.iter().flat_map(|item| self.references(partition, item)).collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        if partition.kind == "dlv" { self.events_gone(&keys).await } else { self.gone_of(keys).await }
    }

    /// Those events that are to be erased: they are, after their deliveries.
    async fn events_gone(&self, keys: &[Key]) -> Result<HashSet<Key>, AdministerError> {
        let mut gone = HashSet::new();
        for keys in keys.chunks(READ_MAX) {
            for (key, item) in keys.iter().zip(self.hub.store.get_many(keys).await?) {
                let Some(item) = item else { continue };
                let mut ids = Vec::new();
                told_of(&item, &mut ids);
                let records = ids.iter().filter_map(|id| self.record_key(id)).collect::<HashSet<_>>();
                let refers = !self.gone_of(records.into_iter().collect()).await?.is_empty();
                if refers || self.number.in_item(&item) {
                    gone.insert(key.clone());
                }
            }
        }
        Ok(gone)
    }

    pub(super) async fn gone_of(&self, keys: Vec<Key>) -> Result<HashSet<Key>, AdministerError> {
        let mut gone = HashSet::new();
        for keys in keys.chunks(READ_MAX) {
            let found = self.hub.store.get_many(keys).await?;
            for (key, item) in keys.iter().zip(found) {
                let kind = if key.sk.starts_with("con_") { Kind::Contact } else { Kind::Interaction };
                let record = item.as_ref().and_then(record_of);
                if record.is_some_and(|record| record.is_erased() || self.takes(kind, &record)) {
                    gone.insert(key.clone());
                }
            }
        }
        Ok(gone)
    }
}

/// The ids of the records that an item of the outbox tells of.
fn told_of(item: &Item, ids: &mut Vec<String>) {
    for (_, event) in events_of(item).unwrap_or_default() {
        ids_in(&serde_json::from_str(&event.data).unwrap_or_default(), ids);
    }
}

/// Fields that hold the id of a record of ours.
const ID_FIELDS: [&str; 4] = ["id", "interaction_id", "contact_id", "record_id"];

/// The ids of records of ours in what is told of them.
pub(super) fn ids_in(value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| ids_in(value, ids)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(id) if ID_FIELDS.contains(&name.as_str()) => ids.push(id.clone()),
                    value => ids_in(value, ids),
                }
            }
        }
        _ => {}
    }
}
