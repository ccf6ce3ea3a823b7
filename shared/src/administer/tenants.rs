//! All tenants. Their items are listed on the index `due`, with keys only; those of tenants that were made before there was a
//! list get onto it by [`index`], or by whatever changes them next.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AdministerError, Done, Order, cursor, page::Budget, standing};
use crate::{
    hub::Edge,
    ids::TenantId,
    registry::{TENANTS, tenant_key, tenant_of},
    store::{Item, Key, StoreError},
    tenant::TenantContext,
};

/// A page of the tenants after `after`, in the order of their ids; all of them are there if it is shorter than `limit`.
pub(super) async fn after(edge: &Edge, after: Option<&str>, limit: i32) -> Result<Vec<TenantId>, StoreError> {
    // `#` is less than every character of a longer id that begins the same.
    let from = after.map_or_else(|| "0".to_owned(), |after| format!("{after}#"));
    let page = edge.store.due_between(TENANTS, (&from, "~"), None, limit).await?;
    let name = |item: &Item| TenantId::parse(item.get_text("due_at")?).ok();
    Ok(page.items.iter().filter_map(name).collect())
}

/// Lists them, with their names and whether they are active.
pub(super) async fn list(edge: &Edge, order: &Order) -> Result<Done, AdministerError> {
    let last: Option<String> = cursor::decode(order)?;
    let limit = i32::try_from(order.limit).unwrap_or(i32::MAX);
    let names = after(edge, last.as_deref(), limit).await?;
    let keys: Vec<Key> = names.iter().map(tenant_key).collect();
    let items = if keys.is_empty() { Vec::new() } else { edge.store.get_many(&keys).await? };
    let view = |item: &Item| {
        let tenant = tenant_of(item)?;
        Some(json!({"tenant_id": item.get_text("due_at"), "name": tenant.name, "active": tenant.active,
            "created_at": item.get_text("created_at"), "deleting_since": tenant.deleting_since}))
    };
    let data: Vec<Value> = items.iter().flatten().filter_map(view).collect();
    let next = names.last().filter(|_| names.len() >= order.limit).map(|last| cursor::encode(&last.as_str()));
    let counts = json!(data.len());
    Ok(Done::page(json!({"data": data}), &counts, next))
}

#[derive(Serialize, Deserialize)]
struct At {
    pk: String,
    sk: String,
}

/// Puts the tenants onto the list that aren't on it, by reading the whole table: for a deployment with tenants that are older
/// than the list, once.
pub(super) async fn index(edge: &Edge, order: &Order, budget: Budget<'_>) -> Result<Done, AdministerError> {
    let mut after = cursor::decode(order)?.map(|At { pk, sk }| Key { pk, sk });
    let (mut seen, mut added) = (0, 0);
    let next = loop {
        let page = edge.store.scan("tenant", after.take()).await?;
        for item in page.items {
            let pk = item.get_text("pk").unwrap_or_default();
            let Some(tenant) = pk.strip_suffix("#config").and_then(|name| TenantId::parse(name).ok()) else { continue };
            seen += 1;
            if item.get_text("due_pk").is_some() {
                continue;
            }
            added += 1;
            let context = TenantContext::authenticated(tenant);
            if let Some(tenant) = tenant_of(&item).filter(|_| !order.dry_run)
                && !standing::write(&edge.acting_for(&context), &context, item, &tenant).await?
            {
                return Err(AdministerError::Busy);
            }
        }
        match page.next {
            None => break None,
            Some((_, key)) if budget.is_over() => break Some(At { pk: key.pk, sk: key.sk }),
            Some((_, key)) => after = Some(key),
        }
    };
    let counts = json!({"tenants": seen, "added": added});
    Ok(Done::page(counts.clone(), &counts, next.as_ref().map(cursor::encode)))
}
