//! Failures of all tenants, or of one: tenant by tenant in the order of their ids, the newest of each first. Payloads are the
//! tenants' and aren't shown.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AdministerError, Done, Order, cursor, page::Budget, tenants};
use crate::{
    hub::{Edge, Hub},
    ids::TenantId,
    process::{failure_key, failure_list},
    store::{Item, Key},
    tenant::TenantContext,
    view,
};

/// Tenants that are read in one go.
const TENANTS_PAGE: i32 = 100;

/// The tenant, and of its failures the last that was listed: its place on the index, and its id.
#[derive(Serialize, Deserialize)]
struct At {
    tenant: TenantId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<(String, String)>,
}

/// Lists them.
pub(super) async fn list(edge: &Edge, order: &Order, budget: Budget<'_>) -> Result<Done, AdministerError> {
    let at: Option<At> = cursor::decode(order)?;
    let (mut data, mut next) = (Vec::new(), None);
    let mut place = match (at, &order.tenant_id) {
        (Some(at), Some(tenant)) if at.tenant == *tenant => Some(at),
        (Some(at), None) => Some(at),
        (_, Some(tenant)) => Some(At { tenant: tenant.clone(), after: None }),
        (None, None) => None,
    };
    let mut last: Option<TenantId> = None;
    loop {
        let waiting = match place.take() {
            Some(at) => vec![at],
            None if order.tenant_id.is_some() => break,
            None => {
                let names = tenants::after(edge, last.as_ref().map(TenantId::as_str), TENANTS_PAGE).await?;
                names.into_iter().map(|tenant| At { tenant, after: None }).collect()
            }
        };
        if waiting.is_empty() {
            break;
        }
        for at in waiting {
            if next.is_none() && budget.is_over() {
                next = Some(at);
            } else if next.is_none() {
                last = Some(at.tenant.clone());
                // Only those whom IAM lets invoke this function come here.
                let context = TenantContext::authenticated(at.tenant.clone());
                next = of(&edge.acting_for(&context), order, at, &budget, &mut data).await?;
            }
        }
        if next.is_some() {
            break;
        }
    }
    let counts = json!(data.len());
    Ok(Done::page(json!({"data": data}), &counts, next.as_ref().map(cursor::encode)))
}

/// Adds a tenant's; gives where it has more.
async fn of(
    hub: &Hub,
    order: &Order,
    At { tenant, after }: At,
    budget: &Budget<'_>,
    data: &mut Vec<Value>,
) -> Result<Option<At>, AdministerError> {
    let mut after = after.map(|(sort, id)| (sort, failure_key(&tenant, &id)));
    loop {
        let page = hub.store.list(&failure_list(&tenant), &order.span, &[], after.take(), budget.page()).await?;
        budget.spend(page.items.len());
        data.extend(page.items.iter().filter_map(|item| entry(&tenant, item)));
        match page.next {
            None => return Ok(None),
            Some((sort, Key { sk, .. })) if budget.is_over() => {
                return Ok(Some(At { tenant, after: Some((sort, sk)) }));
            }
            Some(next) => after = Some(next),
        }
    }
}

fn entry(tenant: &TenantId, item: &Item) -> Option<Value> {
    let mut view = view::failure(item)?;
    let fields = view.as_object_mut()?;
    fields.remove("payload");
    fields.insert("tenant_id".into(), tenant.as_str().into());
    Some(view)
}
