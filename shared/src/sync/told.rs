//! What a system told of a record that we sync with it: which of our records it means, and what of it is news.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    fields::{Changed, flattened, shown, values},
    flight::Flight,
    known::fingerprint,
    link::{Link, Need, Place, external_key, external_write},
    state,
};
use crate::{
    connector::{Entity, Outbound},
    hub::Hub,
    ids::SystemId,
    process::record_id,
    record::{DELETED, Record},
    store::{Item, Key, StoreError, Write},
    tenant::TenantContext,
};

/// A system's word on one of our records.
pub struct Told {
    /// The record, and the system.
    pub place: Place,
    /// Their link as it was read.
    link: Link,
    /// The write that lets the id over there lead to ours, where it doesn't yet.
    external: Option<Write>,
    external_id: String,
    /// That the id over there is one that the record had before it was made there anew.
    is_stale: bool,
    /// That the record is ours by origin, and not one that was first told of over there.
    is_ours: bool,
    outbound: Arc<Outbound>,
    /// What it says, by field, and as of when.
    said: Vec<(String, String)>,
    at: i64,
}

/// Finds the record that `system` means by `external_id`: the one that the id leads to, else the one that the change itself
/// names as ours, else a new one. Takes the change apart, by field.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn told(
    hub: &Hub,
    context: &TenantContext,
    (system, entity, outbound): (&SystemId, Entity, &Arc<Outbound>),
    external_id: &str,
    fields: Changed,
) -> Result<(Told, Changed), StoreError> {
    let (tenant, kind) = (context.tenant(), entity.kind());
    let (fields, our_id) = flattened(fields);
    let place = |record_id: String| Place { tenant: tenant.clone(), system: system.clone(), entity, record_id };
    let own = place(record_id(kind, tenant, system, external_id));
    let hinted = our_id.filter(|id| *id != own.record_id && id.starts_with(kind.name())).map(&place);
    let external = external_key(tenant, system, entity, external_id);
    let mut keys = vec![external.clone(), state::run_key(tenant, system, entity), own.key()];
    keys.extend(hinted.iter().flat_map(|place| [place.key(), Key::of(tenant, kind.name(), place.record_id.clone())]));
    let mut found = hub.store.get_many(&keys).await?.into_iter();
    let mut next = || found.next().flatten();
    let (leads_to, run, own_link, hinted_link, hinted_record) = (next(), next(), next(), next(), next());
    let link_of = |item: Option<Item>| item.as_ref().map(Link::from_item).unwrap_or_default();
    let known = leads_to.as_ref().and_then(|item| item.get_text("rec")).map(str::to_owned);
    let is_free = |link: &Link| link.external_id.as_deref().is_none_or(|known| known == external_id);
    let (place, mut link) = match (known, hinted) {
        (Some(id), _) if id == own.record_id => (own, link_of(own_link)),
        (Some(id), Some(hinted)) if id == hinted.record_id => (hinted, link_of(hinted_link)),
        (Some(id), _) => {
            let place = place(id);
            let item = hub.store.get(&place.key()).await?;
            (place, link_of(item))
        }
        (None, Some(hinted)) if hinted_record.is_some() && is_free(&link_of(hinted_link.clone())) => {
            (hinted, link_of(hinted_link))
        }
        (None, _) => (own, link_of(own_link)),
    };
    for (field, sent) in run.as_ref().map(Flight::from_item).unwrap_or_default().of(&place.record_id) {
        link.known.note_in_doubt(field, sent);
    }
    let told = Told {
        is_ours: place.record_id != record_id(kind, tenant, system, external_id),
        external: leads_to.is_none().then(|| external_write(&place, external_id, None)),
        external_id: external_id.to_owned(),
        is_stale: !is_free(&link),
        outbound: Arc::clone(outbound),
        said: Vec::new(),
        at: 0,
        place,
        link,
    };
    Ok((told, fields))
}

impl Told {
    /// Leaves of the change what is news: what the system only knows from us is no edit of its own. `at` is the time that it
    /// speaks of, in milliseconds of its clock.
    #[must_use]
    pub fn news(&mut self, fields: Changed, at: i64) -> Changed {
        if self.is_stale {
            return Changed::new();
        }
        self.at = at;
        let is_compared = |name: &str| !["updated_at", "external_id"].contains(&name) && !is_mark(name);
        let said = fields.iter().filter(|(name, _)| is_compared(name));
        self.said = said.map(|(name, (value, _))| (name.clone(), fingerprint(value))).collect();
        let is_echo = |(name, said): &&(String, String)| self.link.known.is_echo(name, at, said);
        let echoes: Vec<&String> = self.said.iter().filter(is_echo).map(|(name, _)| name).collect();
        // Of an echo, what a record has over there alone is no news either.
        let is_theirs = |name: &str| ["updated_at", "external_id", "metadata.external_id"].contains(&name);
        let is_all = self.said.iter().all(|(name, _)| is_theirs(name) || echoes.contains(&name));
        // Where a record of ours is found again over there, what is empty there was never filled: that is no edit.
        let is_unfilled =
            |name: &str, value: &serde_json::Value| self.is_ours && value.is_null() && !self.link.known.has_value(name);
        let mut fields = fields;
        fields.retain(|name, (value, _)| {
            !(echoes.contains(&name) || (is_all && is_theirs(name)) || is_unfilled(name, value))
        });
        fields
    }

    /// The writes for the record as it is now: what the system has is noted, and the record is marked where both sides differ.
    #[must_use]
    pub fn writes(
        &self,
        (version, record): (i64, &Record),
        now: Timestamp,
        correlation_id: Option<&str>,
    ) -> Vec<Write> {
        if self.is_stale {
            return Vec::new();
        }
        let mut link = self.link.clone();
        link.external_id = Some(self.external_id.clone());
        link.in_doubt = false;
        for (field, said) in &self.said {
            link.known.note(field, self.at, said);
        }
        if let Some(plan) = self.outbound.entity(self.place.entity) {
            let shown = shown(self.place.entity, &self.place.record_id, &self.place.system, record);
            let values = shown.map(|shown| values(plan, &shown));
            if link.need(values.as_ref(), plan.deletes()) != Need::Nothing {
                link.mark(version, now, correlation_id);
            }
        }
        self.external.clone().into_iter().chain([link.write(&self.place)]).collect()
    }
}

/// Marks of our own on a record; that it is deleted is something that a system can say.
fn is_mark(name: &str) -> bool {
    name.starts_with('$') && name != DELETED
}
