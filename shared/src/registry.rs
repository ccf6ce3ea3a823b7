//! Which tenants and systems exist, and how they are configured; cached in the copy.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{
    cache::Cache,
    ids::{SystemId, TenantId},
    integration::{Direction, Integration, IntegrationConfig, Tenant},
    store::{Item, Key, Range, Store, StoreError},
    tenant::TenantContext,
};

/// What the remembered systems may take.
const KNOWN_BYTES_MAX: usize = 8_000_000;
/// What the remembered names that don't exist may take, so that guessing costs the guesser and not us (contract §2). Kept
/// apart, so that guesses can't push out what exists.
const UNKNOWN_BYTES_MAX: usize = 2_000_000;
/// A tenant's own rule takes about ten times its text when compiled (measured: `sarah_ai`'s 4 KB take 39 KB). The built-in
/// rules are compiled once for all.
const COMPILED_FACTOR: usize = 10;

/// What a compiled `outbound` takes beside its text: the parts of a preset that a tenant changes are compiled for it alone,
/// up to 5 KB for each of three entities.
const OUTBOUND_BYTES: usize = 15_000;

/// A tenant's active system.
pub struct Target {
    /// The tenant's id.
    pub tenant_id: TenantId,
    /// The tenant.
    pub tenant: Tenant,
    /// The system.
    pub integration: Integration,
    source: [String; 2],
}

impl Target {
    fn bytes(&self) -> usize {
        let outbound = self.integration.outbound.as_ref().map_or(0, |_| OUTBOUND_BYTES);
        1_000 + outbound + COMPILED_FACTOR * (self.source[0].len() + self.source[1].len())
    }

    /// Whether the system sends to us.
    fn is_inbound(&self) -> bool {
        self.integration.config.direction != Direction::Outbound
    }
}

type Name = (TenantId, SystemId);

/// The cache.
pub struct Registry {
    ttl: Duration,
    known: Cache<Name, Arc<Target>>,
    unknown: Cache<Name, ()>,
}

/// The key of a tenant's own item.
#[must_use]
pub fn tenant_key(tenant: &TenantId) -> Key {
    Key::of(tenant, CONFIG, "tenant")
}

/// The partition of the index `due` that lists all tenants.
pub const TENANTS: &str = "tenants";

/// A tenant's own item with what lists it among all tenants.
#[must_use]
pub fn listed(item: Item, tenant: &TenantId) -> Item {
    item.text("due_pk", TENANTS).text("due_at", tenant.as_str())
}

/// The key of a system's item.
#[must_use]
pub fn integration_key(tenant: &TenantId, system: &SystemId) -> Key {
    Key::of(tenant, CONFIG, format!("{INTEGRATION}{system}"))
}

/// Where all of a tenant's systems are: the partition, and the part of it.
#[must_use]
pub fn integrations(tenant: &TenantId) -> (String, Range) {
    (Key::of(tenant, CONFIG, "").pk, Range::prefixed(INTEGRATION))
}

/// The system of an item at this sort key; `None` where that isn't a system's.
#[must_use]
pub fn integration_of(sort_key: &str) -> Option<SystemId> {
    SystemId::parse(sort_key.strip_prefix(INTEGRATION)?).ok()
}

const CONFIG: &str = "config";
const INTEGRATION: &str = "integration#";

impl Registry {
    /// Remembers each answer for `ttl`.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, known: Cache::new(KNOWN_BYTES_MAX), unknown: Cache::new(UNKNOWN_BYTES_MAX) }
    }

    /// Whether the system is known to send to us, without looking; it may have been removed within the last seconds.
    #[must_use]
    pub fn knows(&self, tenant: &TenantId, system: &SystemId) -> bool {
        self.known.get(&(tenant.clone(), system.clone())).is_some_and(|(_, target)| target.is_inbound())
    }

    /// The system that sends to us, if it and its tenant exist and are active.
    ///
    /// # Errors
    /// [`StoreError`] where the configuration can't be read for the moment.
    pub async fn find(
        &self,
        store: &Store,
        tenant: &TenantId,
        system: &SystemId,
        now: Timestamp,
    ) -> Result<Option<Arc<Target>>, StoreError> {
        let found = self.active(store, tenant, system, now).await?;
        Ok(found.filter(|target| target.is_inbound()))
    }

    /// The system that we send to, if it and its tenant exist and are active: its integration has an `outbound`.
    ///
    /// # Errors
    /// [`StoreError`] where the configuration can't be read for the moment.
    pub async fn find_outbound(
        &self,
        store: &Store,
        tenant: &TenantId,
        system: &SystemId,
        now: Timestamp,
    ) -> Result<Option<Arc<Target>>, StoreError> {
        let found = self.active(store, tenant, system, now).await?;
        Ok(found.filter(|target| target.integration.outbound.is_some()))
    }

    /// The system, if it and its tenant exist and are active; for up to an hour as this copy knew it last, while the
    /// configuration can't be read: then webhooks wait in the queue, where else their senders would be turned away.
    async fn active(
        &self,
        store: &Store,
        tenant: &TenantId,
        system: &SystemId,
        now: Timestamp,
    ) -> Result<Option<Arc<Target>>, StoreError> {
        let name = (tenant.clone(), system.clone());
        if let Some(target) = self.known.fresh(&name, self.ttl, now) {
            return Ok(Some(target));
        }
        if self.unknown.fresh(&name, self.ttl, now).is_some() {
            return Ok(None);
        }
        let found = match self.read(store, &name).await {
            Ok(found) => found,
            Err(error) => return self.known.last_known(&name, now).map(Some).ok_or(error),
        };
        if let Some(target) = &found {
            self.known.put(name, target.clone(), target.bytes(), now);
        } else {
            self.known.remove(&name);
            self.unknown.put(name, (), 0, now);
        }
        Ok(found)
    }

    async fn read(&self, store: &Store, name: &Name) -> Result<Option<Arc<Target>>, StoreError> {
        match store.get_all([&tenant_key(&name.0), &integration_key(&name.0, &name.1)]).await? {
            [Some(tenant), Some(integration)] => self.target(name, [doc(&tenant), doc(&integration)]),
            _ => Ok(None),
        }
    }

    /// Compiles what was read, unless the cache holds the same compiled.
    fn target(&self, name: &Name, source: [String; 2]) -> Result<Option<Arc<Target>>, StoreError> {
        if let Some((_, target)) = self.known.get(name)
            && target.source == source
        {
            return Ok(Some(target));
        }
        let tenant: Tenant = stored(&source[0])?;
        let config: IntegrationConfig = stored(&source[1])?;
        if !tenant.active || !config.active {
            return Ok(None);
        }
        let integration = Integration::compile(name.1.clone(), config).map_err(|errors| {
            let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
            damaged(&list.join("; "))
        })?;
        Ok(Some(Arc::new(Target { tenant_id: name.0.clone(), tenant, integration, source })))
    }
}

/// A tenant as it is stored now; `None` where there is none.
///
/// # Errors
/// [`StoreError`] where it can't be read.
pub async fn tenant(store: &Store, context: &TenantContext) -> Result<Option<Tenant>, StoreError> {
    let item = store.get(&tenant_key(context.tenant())).await?;
    item.map(|item| stored(&doc(&item))).transpose()
}

/// Reads a tenant's own item; `None` where it is damaged.
#[must_use]
pub fn tenant_of(item: &Item) -> Option<Tenant> {
    serde_json::from_str(item.get_text("doc")?).ok()
}

fn doc(item: &Item) -> String {
    item.get_text("doc").unwrap_or_default().to_owned()
}

fn stored<T: DeserializeOwned>(doc: &str) -> Result<T, StoreError> {
    serde_json::from_str(doc).map_err(|e| damaged(&e.to_string()))
}

/// What is stored was checked when it was stored, so this is a newer version's form or damage: an operator's matter.
fn damaged(reason: &str) -> StoreError {
    StoreError::Unavailable {
        operation: "read configuration",
        reason: format!("stored configuration is unusable: {reason}"),
    }
}
