//! A new API key for a tenant that lost its own.

use serde_json::json;

use super::{AdministerError, Done, Order, living};
use crate::{
    hub::Hub,
    keys::{self, KEYS_MAX},
    store::Item,
    tenant::TenantContext,
};

/// Makes a key, and with `revoke_others` ends all others. The new one is written first: a call that dies in between and is made
/// again revokes the one that nobody saw.
pub(super) async fn reissue(hub: &Hub, context: &TenantContext, order: &Order) -> Result<Done, AdministerError> {
    let tenant = context.tenant();
    living(hub, context).await?;
    let most = i32::try_from(2 * KEYS_MAX).unwrap_or(i32::MAX);
    let others = hub.store.whole(&keys::partition(tenant), None, most).await?.items;
    if others.len() >= KEYS_MAX && !order.revoke_others {
        return Err(AdministerError::TooManyKeys);
    }
    let is_good = |item: &&Item| item.get_text("revoked_at").is_none();
    let revoked = if order.revoke_others { others.iter().filter(is_good).count() } else { 0 };
    if order.dry_run {
        return Ok(Done::plain(json!({"revoked": revoked})));
    }
    let key = keys::generate(tenant, hub.random_bytes());
    let item = keys::item(tenant, &key, &order.terms, hub.now());
    let view = keys::view(&item).unwrap_or_default();
    hub.store.put(item, "", Vec::new()).await?.ok();
    if order.revoke_others {
        revoke(hub, others).await?;
    }
    let counts = json!({"key_id": view.get("id"), "revoked": revoked});
    let mut answer = json!({"api_key": key, "revoked": revoked});
    if let (Some(answer), Some(view)) = (answer.as_object_mut(), view.as_object()) {
        answer.extend(view.iter().filter(|(name, _)| *name != "revoked_at").map(|(n, v)| (n.clone(), v.clone())));
    }
    Ok(Done { answer, counts })
}

/// Ends keys. Those for which there is no room in the list go at once, the ones that were revoked before first.
async fn revoke(hub: &Hub, mut keys: Vec<Item>) -> Result<(), AdministerError> {
    let ended = |item: &Item| item.get_text("revoked_at").unwrap_or("~").to_owned();
    keys.sort_by_key(ended);
    let without_room = (keys.len() + 1).saturating_sub(KEYS_MAX);
    for (n, item) in keys.into_iter().enumerate() {
        let is_revoked = item.get_text("revoked_at").is_some();
        match item.key() {
            Some(key) if n < without_room => hub.store.delete(&key).await?,
            _ if !is_revoked => hub.store.put(keys::revoked(item, hub.now()), "", Vec::new()).await?.unwrap_or(()),
            _ => {}
        }
    }
    Ok(())
}
