//! Deleting a tenant with all that it has.
//!
//! First it is marked: nothing new is let in from then on. What was under way then may still write for a while, so the last of
//! it goes only once that time is over; and what says which partitions there are goes after all the others. The tenant's own
//! item is the very last: until then, each call goes on where the one before stopped, wherever that died.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use serde_json::json;

use super::{
    AdministerError, Done, Order, export, found,
    page::{Budget, Counts},
    standing,
};
use crate::{
    hub::Hub,
    integration::Tenant,
    lease::{self, SECRETS},
    partitions::{Owners, Partition, SOURCES, suspended_key},
    registry::tenant_key,
    schedule::SUSPENDED_AGAIN,
    store::{Item, Key},
    tenant::TenantContext,
};

/// Beyond a message's longest way through its queue: copies that don't know yet (10 s), and runs of functions (5 minutes).
const UNDER_WAY: SignedDuration = SignedDuration::from_mins(6);

/// When nothing can be under way any more for a tenant that was marked then.
fn settled_at(marked: jiff::Timestamp) -> jiff::Timestamp {
    let time = SignedDuration::try_from(SUSPENDED_AGAIN).unwrap_or_default().saturating_add(UNDER_WAY);
    marked.saturating_add(time).unwrap_or(jiff::Timestamp::MAX)
}

/// Deletes as much as this invocation may.
pub(super) async fn run(
    hub: &Hub,
    context: &TenantContext,
    order: &Order,
    budget: Budget<'_>,
) -> Result<Done, AdministerError> {
    if order.dry_run {
        return export::count(hub, context, order, &budget).await;
    }
    let tenant = match found(hub, context).await? {
        Some((_, tenant)) if tenant.deleting_since.is_some() => Some(tenant),
        Some((item, tenant)) => {
            let marked = Tenant { active: false, deleting_since: Some(hub.now()), ..tenant };
            if !standing::write(hub, context, item, &marked).await? {
                return Err(AdministerError::Busy);
            }
            Some(marked)
        }
        None => None,
    };
    // Nothing else may make the tenant while what is left of an earlier one is cleared away.
    let lease = match tenant {
        Some(_) => None,
        None => Some(lease::take(hub, context, SECRETS).await?.ok_or(AdministerError::Busy)?),
    };
    let is_settled =
        tenant.as_ref().and_then(|tenant| tenant.deleting_since).is_none_or(|at| settled_at(at) <= hub.now());
    let mut work = Work { hub, context, budget, counts: Counts::default() };
    let owners = Owners::of(&hub.store, context.tenant()).await?;
    let (sources, others): (Vec<_>, Vec<_>) = owners.partitions().into_iter().partition(|p| SOURCES.contains(&p.kind));
    let is_done = work.clear(&others, &[]).await?;
    if is_done && !is_settled {
        let left =
            tenant.and_then(|tenant| tenant.deleting_since).map_or(hub.now(), settled_at).duration_since(hub.now());
        return Ok(work.answer(false, Some(left.as_secs().max(1))));
    }
    let is_done = is_done && work.finish(&sources).await?;
    // Its item went with the others, unless there is more to do.
    if let Some(lease) = lease.filter(|_| !is_done) {
        lease.give_back(hub).await;
    }
    Ok(work.answer(is_done, None))
}

struct Work<'a> {
    hub: &'a Hub,
    context: &'a TenantContext,
    budget: Budget<'a>,
    counts: Counts,
}

impl Work<'_> {
    /// Empties partitions, but for the keys to `keep`; `false` where there wasn't the time for all of it.
    async fn clear(&mut self, partitions: &[Partition], keep: &[Key]) -> Result<bool, AdministerError> {
        let store = &self.hub.store;
        for partition in partitions {
            let (pk, mut after) = (partition.key(self.context.tenant()), None);
            loop {
                let page = store.whole(&pk, after.take(), self.budget.page()).await?;
                let keys: Vec<Key> =
                    page.items.iter().filter_map(Item::key).filter(|key| !keep.contains(key)).collect();
                if !keys.is_empty() && self.budget.is_over() {
                    return Ok(false);
                }
                self.counts.add_all(partition.kind, keys.len());
                self.budget.spend(keys.len());
                store.delete_every(keys).await?;
                after = page.next.map(|(sk, _)| sk);
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// The last of it: what says which partitions there are, the secrets, and the tenant itself.
    async fn finish(&mut self, sources: &[Partition]) -> Result<bool, AdministerError> {
        let (hub, tenant) = (self.hub, self.context.tenant());
        let own = tenant_key(tenant);
        // Deliveries that still come out of the queue wait or find no subscription: either mark of it goes with the tenant.
        if !self.clear(sources, &[own.clone(), suspended_key(tenant)]).await? {
            return Ok(false);
        }
        hub.secrets.delete(tenant).await?;
        hub.store.delete(&suspended_key(tenant)).await?;
        let Some(item) = hub.store.get(&own).await? else { return Ok(true) };
        let doc = AttributeValue::S(item.get_text("doc").unwrap_or_default().to_owned());
        self.counts.add("config");
        Ok(hub.store.delete_if(&own, "doc = :doc", vec![(":doc", doc)]).await?)
    }

    fn answer(&self, is_done: bool, wait_seconds: Option<i64>) -> Done {
        let deleted = self.counts.total();
        let mut answer = json!({"done": is_done, "deleted": deleted, "counts": self.counts.json()});
        if let (Some(seconds), Some(fields)) = (wait_seconds, answer.as_object_mut()) {
            fields.insert("wait_seconds".into(), seconds.into());
            let note = "what was under way when the tenant was marked may still write: send the same payload again after `wait_seconds`";
            fields.insert("note".into(), note.into());
        } else if let (false, Some(fields)) = (is_done, answer.as_object_mut()) {
            fields.insert("note".into(), "send the same payload again, until `done` is true".into());
        }
        Done::plain(answer)
    }
}
