//! What is to be done to a record: an event with its mapping, or a change of our own.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    connector::{Entity, Outbound},
    hub::Hub,
    ids::{SystemId, TenantId, derived},
    inbound::InboundEvent,
    mapping::{Action, Mapped, Merge, Target as MappedTarget, UnknownPhone},
    phone::E164,
    record::{DELETED, OCCURRED_AT, Stamp},
    registry::Target,
    statistics::CALL_ENDED,
    store::{Key, StoreError},
    sync::told::{Told, told},
    tenant::TenantContext,
};

/// Kinds of records. The name is both the kind in the key and the beginning of the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that happened with a phone number.
    Interaction,
    /// A person.
    Contact,
    /// A company.
    Company,
    /// A merchant of a payment processor.
    Merchant,
}

impl Kind {
    /// The kind in keys and ids.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interaction => "int",
            Self::Contact => "con",
            Self::Company => "com",
            Self::Merchant => "mer",
        }
    }

    fn of(target: &MappedTarget) -> Self {
        match target {
            MappedTarget::Interaction { .. } => Self::Interaction,
            MappedTarget::Contact => Self::Contact,
            MappedTarget::Company => Self::Company,
            MappedTarget::Merchant => Self::Merchant,
        }
    }

    /// The name of the record's id in an answer's `data`.
    #[must_use]
    pub fn id_name(self) -> &'static str {
        match self {
            Self::Interaction => "interaction_id",
            Self::Contact => "contact_id",
            Self::Company => "company_id",
            Self::Merchant => "merchant_id",
        }
    }
}

/// The id of the record that the other side's `key` stands for.
#[must_use]
pub fn record_id(kind: Kind, tenant: &TenantId, system: &SystemId, key: &str) -> String {
    derived(kind.name(), &[tenant.as_str(), system.as_str(), "key", key])
}

/// The list of a number's interactions on the index by time.
#[must_use]
pub fn interactions_list(tenant: &TenantId, phone: &E164) -> String {
    format!("{tenant}#phone#{phone}")
}

/// The key of a number's statistics.
#[must_use]
pub fn phone_key(tenant: &TenantId, phone: &E164) -> Key {
    Key::of(tenant, "phone", phone.as_str())
}

/// An event with its mapping, ready to be applied.
pub(crate) struct Effect<'a> {
    pub tenant: &'a TenantId,
    pub system: &'a SystemId,
    pub kind: Kind,
    pub record_id: String,
    pub event_key: &'a str,
    pub received: Timestamp,
    pub stamp: Stamp,
    pub fields: BTreeMap<String, (Value, Merge)>,
    pub unknown_phone: UnknownPhone,
    /// Whether subscribers may want to know.
    pub publishes: bool,
    /// Systems that have such records too, and are to be told of the change.
    pub syncs: Vec<SystemId>,
    /// What the change is at the system that it comes from, where that is kept in step with us.
    pub told: Option<Told>,
    /// The record's version before, where it may be changed only as it was seen; 0 where there may be none.
    pub expects: Option<i64>,
    /// When it is applied.
    pub now: Timestamp,
    /// What it came of, for the log.
    pub correlation_id: Option<&'a str>,
}

impl<'a> Effect<'a> {
    /// What an event says. Where its system is kept in step with us, only what is news; that takes a read.
    pub(super) async fn of_event(
        hub: &Hub,
        context: &TenantContext,
        target: &'a Target,
        (event, event_key, identity): (&'a InboundEvent, &'a str, &str),
        mapped: &Mapped,
    ) -> Result<Self, StoreError> {
        let (tenant, system) = (&target.tenant, &target.integration.system_id);
        let names = (identity, event_key);
        let mut effect = Self::new(&target.tenant_id, system, names, event.received_at, mapped.clone());
        effect.publishes = tenant.publishes;
        effect.now = hub.now();
        let Some(entity) = Entity::of(effect.kind) else { return Ok(effect) };
        effect.syncs = tenant.synced(entity).filter(|other| *other != system).cloned().collect();
        if let Some(outbound) = &target.integration.outbound
            && outbound.entity(entity).is_some()
            && let Some(external_id) = &mapped.key
        {
            effect.judge(hub, context, (entity, outbound), external_id).await?;
        }
        Ok(effect)
    }

    /// Leaves only what is news of what the system says of the record that it calls `external_id`.
    pub(crate) async fn judge(
        &mut self,
        hub: &Hub,
        context: &TenantContext,
        (entity, outbound): (Entity, &Arc<Outbound>),
        external_id: &str,
    ) -> Result<(), StoreError> {
        let fields = std::mem::take(&mut self.fields);
        let (mut told, fields) = told(hub, context, (self.system, entity, outbound), external_id, fields).await?;
        self.fields = told.news(fields, self.stamp.time());
        self.record_id.clone_from(&told.place.record_id);
        self.told = Some(told);
        Ok(())
    }

    pub(crate) fn new(
        tenant: &'a TenantId,
        system: &'a SystemId,
        (identity, event_key): (&str, &'a str),
        received: Timestamp,
        mapped: Mapped,
    ) -> Self {
        let kind = Kind::of(&mapped.target);
        let record_id = match &mapped.key {
            Some(key) => record_id(kind, tenant, system, key),
            None => derived(kind.name(), &[tenant.as_str(), system.as_str(), "event", identity]),
        };
        let mut fields: BTreeMap<_, _> = mapped.fields.into_iter().map(|(n, f)| (n, (f.value, f.merge))).collect();
        // What orders changes of a record of the other side is its own `updated_at`; of anything else, when it happened.
        let updated_at = fields.get("updated_at").and_then(|(v, _)| v.as_str()?.parse().ok());
        let stamp = Stamp::new(updated_at.or(mapped.occurred_at), mapped.rank, received);
        if let Some(at) = mapped.occurred_at {
            fields.entry(OCCURRED_AT.into()).or_insert_with(|| (Value::String(at.to_string()), Merge::Min));
        }
        if kind != Kind::Interaction
            && let Some(key) = mapped.key
        {
            fields.insert("external_id".into(), (key.into(), Merge::First));
        }
        if mapped.counts_as_call {
            fields.insert(CALL_ENDED.into(), (Value::from(1), Merge::Last));
        }
        if let MappedTarget::Interaction { interaction_type } = &mapped.target {
            fields.insert("interaction_type".into(), (interaction_type.clone().into(), Merge::Last));
        }
        // Only what the other side keeps under an `updated_at` can be deleted there and come back.
        if mapped.action == Action::Delete || fields.contains_key("updated_at") {
            fields.insert(DELETED.into(), ((mapped.action == Action::Delete).into(), Merge::Last));
        }
        let bare = Self::bare((tenant, system), (kind, record_id), event_key, received);
        Self { stamp, fields, unknown_phone: mapped.unknown_phone, ..bare }
    }

    /// A change without fields yet, of a record that is known by its id.
    pub(crate) fn bare(
        (tenant, system): (&'a TenantId, &'a SystemId),
        (kind, record_id): (Kind, String),
        event_key: &'a str,
        now: Timestamp,
    ) -> Self {
        Self {
            tenant,
            system,
            kind,
            record_id,
            event_key,
            received: now,
            stamp: Stamp::new(Some(now), 0, now),
            fields: BTreeMap::new(),
            unknown_phone: UnknownPhone::Create,
            publishes: false,
            syncs: Vec::new(),
            told: None,
            expects: None,
            now,
            correlation_id: None,
        }
    }

    pub(crate) fn record_key(&self) -> Key {
        Key::of(self.tenant, self.kind.name(), self.record_id.clone())
    }
}
