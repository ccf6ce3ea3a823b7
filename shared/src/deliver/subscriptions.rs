//! The subscriptions of tenants, cached in the copy.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    cache::Cache,
    endpoint::Reach,
    ids::TenantId,
    partitions::SUSPENDED,
    store::{Range, Store, StoreError},
    subscription::{SUBSCRIPTIONS_MAX, Subscription, subscription_partition},
    tenant::TenantContext,
};

/// What the remembered subscriptions may take.
const BYTES_MAX: usize = 8_000_000;

/// All of one tenant.
pub type All = Arc<Vec<Arc<Subscription>>>;

/// The cache.
pub struct Subscriptions {
    ttl: Duration,
    reach: Reach,
    cache: Cache<TenantId, Known>,
}

/// What is known of a tenant.
#[derive(Clone)]
struct Known {
    all: All,
    is_suspended: bool,
}

impl Subscriptions {
    /// Empty. `ttl` is how long they are used without looking again.
    #[must_use]
    pub fn new(ttl: Duration, reach: Reach) -> Self {
        Self { ttl, reach, cache: Cache::new(BYTES_MAX) }
    }

    /// The tenant's subscriptions; for up to an hour as this copy knew them last, while they can't be read.
    ///
    /// # Errors
    /// [`StoreError`] where they can't be read.
    pub async fn all(&self, store: &Store, context: &TenantContext, now: Timestamp) -> Result<All, StoreError> {
        self.known(store, context, now).await.map(|known| known.all)
    }

    /// Whether the tenant is suspended: nothing is delivered then. Known with the subscriptions, without a read of its own.
    ///
    /// # Errors
    /// As [`Subscriptions::all`].
    pub async fn is_suspended(
        &self,
        store: &Store,
        context: &TenantContext,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.known(store, context, now).await.map(|known| known.is_suspended)
    }

    async fn known(&self, store: &Store, context: &TenantContext, now: Timestamp) -> Result<Known, StoreError> {
        if let Some(known) = self.cache.fresh(context.tenant(), self.ttl, now) {
            return Ok(known);
        }
        let read = self.read(store, context, now).await;
        read.or_else(|error| self.cache.last_known(context.tenant(), now).ok_or(error))
    }

    /// One subscription. Bad news, that it is gone or disabled, is looked at again: it may be older than the message that
    /// asks.
    ///
    /// # Errors
    /// As [`Subscriptions::all`].
    pub async fn find(
        &self,
        store: &Store,
        context: &TenantContext,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<Subscription>>, StoreError> {
        let named = |all: &All| all.iter().find(|subscription| subscription.id == id).cloned();
        match self.cache.fresh(context.tenant(), self.ttl, now).and_then(|known| named(&known.all)) {
            Some(found) if found.is_active() => Ok(Some(found)),
            _ => self.read(store, context, now).await.map(|known| named(&known.all)),
        }
    }

    /// Looks again the next time.
    pub fn forget(&self, tenant: &TenantId) {
        self.cache.remove(tenant);
    }

    async fn read(&self, store: &Store, context: &TenantContext, now: Timestamp) -> Result<Known, StoreError> {
        let limit = i32::try_from(SUBSCRIPTIONS_MAX).unwrap_or(i32::MAX);
        let partition = subscription_partition(context.tenant());
        // The mark that the tenant is suspended sorts behind its subscriptions.
        let range = Range { from: "sub_".to_owned(), to: SUSPENDED.to_owned() };
        let (mut found, mut after, mut is_suspended) = (Vec::new(), None, false);
        loop {
            // A page ends at 1 MB.
            let page = store.range(&partition, &range, &[], (after, limit, true)).await?;
            is_suspended |= page.items.iter().any(|item| item.get_text("sk") == Some(SUSPENDED));
            found.extend(page.items.iter().filter_map(|item| Subscription::from_item(item, self.reach)).map(Arc::new));
            after = page.next.map(|(_, key)| key.sk);
            if after.is_none() {
                break;
            }
        }
        let bytes = found.iter().map(|subscription| subscription.bytes()).sum();
        let known = Known { all: Arc::new(found), is_suspended };
        self.cache.put(context.tenant().clone(), known.clone(), bytes, now);
        Ok(known)
    }
}
