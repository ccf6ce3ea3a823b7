//! Suspending a tenant and letting it go on.
//!
//! The tenant's item says so, for webhooks, API keys, syncs and what waits in the retry queue; and a mark beside its
//! subscriptions, for deliveries, which read those anyway. What waits looks again every 15 minutes, and nothing of it is lost.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;

use super::{AdministerError, Done, Order, living};
use crate::{
    hub::Hub,
    integration::Tenant,
    partitions::suspended_key,
    registry::listed,
    store::{Commit, Item, Write},
    tenant::TenantContext,
};

/// Others change the tenant's item at the same time at most so often in a row.
const ROUNDS_MAX: u32 = 10;

/// Sets whether a tenant is active.
pub(super) async fn set(
    hub: &Hub,
    context: &TenantContext,
    active: bool,
    order: &Order,
) -> Result<Done, AdministerError> {
    for _ in 0..ROUNDS_MAX {
        let (item, tenant) = living(hub, context).await?;
        let changed = tenant.active != active;
        let answer = Done::plain(json!({"active": active, "changed": changed, "note": note(active, changed)}));
        if order.dry_run || write(hub, context, item, &Tenant { active, ..tenant }).await? {
            return Ok(answer);
        }
    }
    Err(AdministerError::Busy)
}

/// Writes a tenant in the place of what its item says; `false` where that was changed meanwhile.
pub(super) async fn write(
    hub: &Hub,
    context: &TenantContext,
    item: Item,
    tenant: &Tenant,
) -> Result<bool, AdministerError> {
    let before = item.get_text("doc").unwrap_or_default().to_owned();
    let item = listed(item, context.tenant()).text("doc", serde_json::to_string(tenant).unwrap_or_default());
    let mark = suspended_key(context.tenant());
    let mark = if tenant.active {
        Write::Delete(mark)
    } else {
        Write::Put { item: Item::new(&mark), condition: "", values: Vec::new() }
    };
    let values = vec![(":doc", AttributeValue::S(before))];
    let writes = vec![Write::Put { item, condition: "doc = :doc", values }, mark];
    Ok(matches!(hub.store.commit(writes).await?, Commit::Done))
}

fn note(active: bool, changed: bool) -> &'static str {
    match (active, changed) {
        (true, true) => {
            "webhooks are taken within 10 s, API keys within a minute; what waited goes on within 15 minutes"
        }
        (true, false) => "nothing was changed: the tenant is active",
        (false, true) => {
            "webhooks are refused and deliveries held within 10 s, API keys refused within a minute; a sync that runs ends with its page"
        }
        (false, false) => "nothing was changed: the tenant is suspended already",
    }
}
