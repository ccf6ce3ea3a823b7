//! All that a tenant has, as lines of JSON, in pages that fit Lambda's answer. What is written meanwhile may or may not be in it:
//! suspend the tenant before, where it must be exact.

use serde_json::json;

use super::{
    AdministerError, Done, Order, cursor, found,
    line::Lines,
    page::{self, Budget, Counts, Place},
};
use crate::{
    hub::Hub,
    integration::success_outcomes,
    partitions::{Owners, Partition, rank},
    tenant::TenantContext,
};

/// Lambda answers 6 MB; a line that is the last of a page may take it over this.
const BYTES_MAX: usize = 3_000_000;

/// Makes a page; in a dry run, counts what would be in it.
pub(super) async fn run(
    hub: &Hub,
    context: &TenantContext,
    order: &Order,
    budget: Budget<'_>,
) -> Result<Done, AdministerError> {
    let tenant = found(hub, context).await?.map(|(_, tenant)| tenant);
    if order.dry_run {
        return count(hub, context, order, &budget).await;
    }
    let success_outcomes = tenant.map_or_else(success_outcomes, |tenant| tenant.success_outcomes);
    let lines = Lines { hub, context, success_outcomes };
    let (mut text, mut bytes, mut counts) = (String::new(), 0, Counts::default());
    let next = walk(hub, context, order, &budget, |partition, item| {
        for line in lines.of(partition, item) {
            let line = line.to_string();
            // The answer is JSON itself, and has each quote and backslash of a line escaped.
            bytes += line.len() + line.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count() + 2;
            text.push_str(&line);
            text.push('\n');
            counts.add(partition.kind);
        }
        bytes < BYTES_MAX
    })
    .await?;
    let counts = counts.json();
    Ok(Done::page(json!({"lines": text.trim_end(), "counts": counts}), &counts, next))
}

/// Counts the items of a tenant by what they are, in pages.
pub(super) async fn count(
    hub: &Hub,
    context: &TenantContext,
    order: &Order,
    budget: &Budget<'_>,
) -> Result<Done, AdministerError> {
    let mut counts = Counts::default();
    let next = walk(hub, context, order, budget, |partition, _| {
        counts.add(partition.kind);
        true
    })
    .await?;
    let counts = counts.json();
    Ok(Done::page(json!({"counts": counts}), &counts, next))
}

/// Goes through all of a tenant's items from the order's cursor on, until the budget is used up or `see` says that it is
/// enough; gives the cursor of what is left.
async fn walk(
    hub: &Hub,
    context: &TenantContext,
    order: &Order,
    budget: &Budget<'_>,
    mut see: impl FnMut(&Partition, &crate::store::Item) -> bool,
) -> Result<Option<String>, AdministerError> {
    let tenant = context.tenant();
    let place: Option<Place> = cursor::decode(order)?;
    let owners = Owners::of(&hub.store, tenant).await?;
    let (partitions, mut after) = page::from(owners.partitions(), rank, place);
    for partition in partitions {
        loop {
            if budget.is_over() {
                return Ok(Some(cursor::encode(&Place::new(&partition, after))));
            }
            let page = hub.store.whole(&partition.key(tenant), after.take(), budget.page()).await?;
            budget.spend(page.items.len());
            for item in &page.items {
                if !see(&partition, item) {
                    let last = item.get_text("sk").map(str::to_owned);
                    return Ok(Some(cursor::encode(&Place::new(&partition, last))));
                }
            }
            after = page.next.map(|(sk, _)| sk);
            if after.is_none() {
                break;
            }
        }
    }
    Ok(None)
}
