//! `webhook.test`: tries an endpoint once, now. It is never retried, and leaves no record.

use std::time::Duration;

use serde_json::json;

use super::{outcome::post, record::Attempt};
use crate::{
    event::{Event, EventType, transient_id},
    hub::Hub,
    subscription::Subscription,
    tenant::TenantContext,
};

/// Contract §6.
const TIME_OUT: Duration = Duration::from_secs(5);

/// Posts a test, signed with `secrets`, for the API call `correlation_id`, and gives what came of it. `None` where no secret can sign.
pub async fn test(
    hub: &Hub,
    context: &TenantContext,
    subscription: &Subscription,
    secrets: &[&str],
    correlation_id: Option<&str>,
) -> Option<(bool, Attempt)> {
    let now = hub.now();
    let data = json!({"subscription_id": subscription.id, "message": "This is a test; there is nothing to do."});
    let event = Event::transient(EventType::WebhookTest, now, &data);
    let id = transient_id(now, (hub.random)());
    let outcome = post(hub, context, subscription, (&id, &event, 0), (secrets, TIME_OUT)).await.ok()?;
    tracing::info!(
        tenant = %context.tenant(),
        subscription = subscription.id,
        correlation_id,
        succeeded = outcome.succeeded,
        http_status = outcome.attempt.status_code,
        ms = outcome.attempt.duration_ms,
        "test"
    );
    Some((outcome.succeeded, outcome.attempt))
}
