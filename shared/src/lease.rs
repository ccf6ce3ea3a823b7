//! Leases: the right to do something for a tenant that two copies must not do at the same time.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use crate::{
    hub::Hub,
    store::{Commit, Item, Key, StoreError, Write},
    tenant::TenantContext,
};

/// The right to change the tenant's document of secrets, that Secrets Manager can only replace as a whole.
pub const SECRETS: &str = "provisioning";

/// No holder takes longer: the functions' own time-outs are shorter.
const SECONDS: i64 = 60;

/// A lease that was taken. It ends when its [`Lease::release`] is written, or by itself.
#[must_use]
#[derive(Clone)]
pub struct Lease(Item);

impl Lease {
    /// The write that gives it back, for the holder's last transaction.
    #[must_use]
    pub fn release(self) -> Write {
        Write::Put { item: self.0.text("lease_end", "0"), condition: "", values: Vec::new() }
    }

    /// Gives it back; where that fails, it ends by itself.
    pub async fn give_back(self, hub: &Hub) {
        if let Err(error) = hub.store.commit(vec![self.release()]).await {
            tracing::debug!(%error, "a lease ends by itself");
        }
    }
}

/// Takes the lease `name` of the tenant; `None` while another copy has it.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn take(hub: &Hub, context: &TenantContext, name: &str) -> Result<Option<Lease>, StoreError> {
    let item = Item::new(&Key::of(context.tenant(), "config", name));
    let sortable = |at: Timestamp, seconds: i64| format!("{:020}", at.as_second().saturating_add(seconds).max(0));
    let now = hub.now();
    let write = Write::Put {
        item: item.clone().text("lease_end", sortable(now, SECONDS)),
        condition: "attribute_not_exists(pk) OR lease_end < :now",
        values: vec![(":now", AttributeValue::S(sortable(now, 0)))],
    };
    match hub.store.commit(vec![write]).await? {
        Commit::Done => Ok(Some(Lease(item))),
        Commit::Conflict | Commit::Refused(_) => Ok(None),
    }
}
