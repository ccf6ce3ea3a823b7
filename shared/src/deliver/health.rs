//! The health of an endpoint: since when it fails, and when it is given up (contract §6).
//!
//! Nothing is written while it is well, and little while it fails.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::record::{DeliveryStatus, Record, delivery_partition};
use crate::{
    event,
    hub::Hub,
    store::{Commit, Range, StoreError, Update},
    subscription::{DisabledReason, FAILING_MAX, Subscription, subscription_key},
    tenant::TenantContext,
};

/// Deliveries that are looked at for a success before an endpoint is given up.
const LOOK_BACK: i32 = 100;

/// A delivery succeeded.
pub(super) async fn succeeded(hub: &Hub, context: &TenantContext, subscription: &Subscription) {
    if subscription.failing_since.is_some() {
        note(hub, context, subscription, "").await;
    }
}

/// A delivery failed.
pub(super) async fn failed(
    hub: &Hub,
    context: &TenantContext,
    subscription: &Subscription,
    (now, correlation_id): (Timestamp, Option<&str>),
) {
    let Some(since) = subscription.failing_since else {
        return note(hub, context, subscription, &now.to_string()).await;
    };
    let failing = std::time::Duration::try_from(now.duration_since(since)).unwrap_or_default();
    if failing >= FAILING_MAX {
        let given_up = give_up(hub, context, subscription, since, (now, correlation_id)).await;
        if let Err(error) = given_up {
            let (tenant, subscription) = (context.tenant(), &subscription.id);
            tracing::warn!(%tenant, subscription, correlation_id, %error, "an endpoint can't be given up now");
        }
    }
}

/// Sets or clears the time since when it fails. Where that can't be written, the next attempt will.
async fn note(hub: &Hub, context: &TenantContext, subscription: &Subscription, since: &str) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let condition = if since.is_empty() {
        "attribute_exists(pk)"
    } else {
        "attribute_exists(pk) AND (attribute_not_exists(failing) OR failing = :never)"
    };
    let values = if since.is_empty() { Vec::new() } else { vec![(":never", text(""))] };
    let update = Update::new(&subscription_key(context.tenant(), &subscription.id)).set("failing", text(since));
    if let Err(error) = hub.store.update(update.when(condition, &values)).await {
        tracing::debug!(%error, "the health of an endpoint couldn't be noted");
    }
    hub.subscriptions.forget(context.tenant());
}

/// Gives up an endpoint, unless a success was overlooked: one that another copy saw before it knew of the first failure.
async fn give_up(
    hub: &Hub,
    context: &TenantContext,
    subscription: &Subscription,
    since: Timestamp,
    (now, correlation_id): (Timestamp, Option<&str>),
) -> Result<(), StoreError> {
    let partition = delivery_partition(context.tenant(), &subscription.id);
    let page = hub.store.range(&partition, &Range::prefixed("evt_"), &[], (None, LOOK_BACK, false)).await?;
    let records = page.items.iter().filter_map(Record::from_item);
    let succeeded = records.filter(|record| record.status == DeliveryStatus::Succeeded);
    let last = succeeded.filter_map(|record| record.attempts.last().map(|attempt| attempt.at)).max();
    if last.is_some_and(|last| last > since) {
        note(hub, context, subscription, "").await;
        return Ok(());
    }
    disable(hub, context, &subscription.id, (DisabledReason::Failing, correlation_id), now).await
}

/// Disables a subscription and tells the tenant's others, in one transaction.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub(super) async fn disable(
    hub: &Hub,
    context: &TenantContext,
    id: &str,
    (reason, correlation_id): (DisabledReason, Option<&str>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let tenant = context.tenant();
    let item = hub.store.get(&subscription_key(tenant, id)).await?;
    let stored = item.and_then(|item| Subscription::from_item(&item, hub.settings.reach));
    let Some(mut subscription) = stored.filter(Subscription::is_active) else { return Ok(()) };
    subscription.disabled = Some((reason, now));
    let told = subscription.disabled_event(reason, now);
    let outbox = event::outbox(tenant, &[told], (now, (hub.random)()), &hub.settings, correlation_id);
    let writes = std::iter::once(subscription.replace(tenant)).chain(outbox).collect();
    // Where it changed meanwhile, the next failure looks again.
    if let Commit::Done = hub.store.commit(writes).await? {
        tracing::warn!(%tenant, subscription = id, correlation_id, reason = reason.as_str(), "a subscription is disabled");
    }
    hub.subscriptions.forget(tenant);
    Ok(())
}
