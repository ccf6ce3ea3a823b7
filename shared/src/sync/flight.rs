//! What a run is about to send: noted before it is sent, so that what comes of it can be told from news, and so that the next
//! run knows what may have arrived where this one dies.

use std::collections::BTreeMap;

use super::{
    link::{Link, Need, Place},
    page::Sending,
    run::Run,
};
use crate::{
    codec,
    store::{Item, Key, StoreError},
};

/// What it can unpack to: a page of records of a few dozen fields each.
const BYTES_MAX: usize = 2_000_000;

/// Fingerprints of what is sent, by record and field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flight(pub BTreeMap<String, BTreeMap<String, String>>);

impl Flight {
    /// Reads it from the run's item.
    #[must_use]
    pub fn from_item(item: &Item) -> Self {
        let plain = item.get_bytes("flight").and_then(|packed| codec::unpack(packed, BYTES_MAX).ok());
        Self(plain.and_then(|plain| serde_json::from_slice(&plain).ok()).unwrap_or_default())
    }

    /// As the run's item keeps it.
    #[must_use]
    pub fn packed(&self) -> Vec<u8> {
        codec::pack(&serde_json::to_vec(&self.0).unwrap_or_default())
    }

    /// What is sent of one record.
    pub fn of(&self, record_id: &str) -> impl Iterator<Item = (&String, &String)> {
        self.0.get(record_id).into_iter().flatten()
    }
}

impl Run<'_> {
    /// Notes on their links what the run before was about to send when it ended, for that may have arrived.
    pub(super) async fn take_over(&self, left: &Flight) -> Result<(), StoreError> {
        let places: Vec<Place> = left.0.keys().map(|id| self.scope.place(id)).collect();
        let keys: Vec<Key> = places.iter().map(Place::key).collect();
        let found = if keys.is_empty() { Vec::new() } else { self.hub.store.get_many(&keys).await? };
        for (place, item) in places.into_iter().zip(found) {
            let link = item.as_ref().map(Link::from_item).unwrap_or_default();
            // What isn't marked is settled.
            if link.mark.is_none() {
                continue;
            }
            let sending = Sending { place, link, values: None, need: Need::Nothing };
            let doubt = |link: &mut Link, _| {
                link.in_doubt |= !link.is_there();
                for (field, sent) in left.of(&sending.place.record_id) {
                    link.known.note_in_doubt(field, sent);
                }
                Vec::new()
            };
            self.write_link(&sending, doubt).await?;
        }
        Ok(())
    }
}
