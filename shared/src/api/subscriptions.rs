//! Subscriptions: making, reading, changing and deleting them, their secrets, tests and replays.
//!
//! A change of secrets holds the tenant's lease, because Secrets Manager can only replace the whole document. The order
//! makes a crash at any point harmless: a secret without a subscription is nobody's, and goes with the next change.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, busy, internal, invalid, invalid_fields, not_found, secrets::ROUNDS_MAX};
use crate::{
    deliver::{self, record::Attempt},
    ids::sortable,
    lease::Lease,
    operation::{Operation, ReplayEvents},
    partitions::subscription_gone,
    problem::{Code, Problem},
    process::Status,
    publish,
    registry::tenant_key,
    secrets::{SubscriptionSecrets, generate_secret, is_subscription_secret, rotate},
    store::{ABSENT, Commit, Item, Range, Values, Write},
    subscription::{DisabledReason, SUBSCRIPTIONS_MAX, Subscription, check, subscription_key, subscription_partition},
    view::json_of,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    /// Events from this moment on.
    since: Timestamp,
    /// Events before this moment; all by default.
    #[serde(default)]
    until: Option<Timestamp>,
    /// Those that it has got, too.
    #[serde(default)]
    all: bool,
}

/// A replay that was asked for.
#[derive(Serialize, JsonSchema)]
pub(super) struct Replaying<'a> {
    id: &'a str,
    #[schemars(extend("const" = "queued"))]
    status: Status,
    since: Timestamp,
    until: Timestamp,
    all: bool,
}

/// What came of a `webhook.test`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tested {
    success: bool,
    #[serde(flatten)]
    attempt: Attempt,
}

impl Call<'_> {
    pub(super) async fn subscriptions(&self) -> Result<Value, Problem> {
        self.only(&["limit", "cursor"])?;
        let reach = self.hub.settings.reach;
        let view = |item: &Item| Subscription::from_item(item, reach).map(|subscription| subscription.view());
        self.page_of(&subscription_partition(self.tenant()), &Range::prefixed("sub_"), &[], true, view).await
    }

    pub(super) async fn subscription(&self, id: &str) -> Result<Value, Problem> {
        Ok(self.stored(id).await?.view())
    }

    async fn stored(&self, id: &str) -> Result<Subscription, Problem> {
        let item = self.hub.store.get(&subscription_key(self.tenant(), id)).await?;
        let subscription = item.and_then(|item| Subscription::from_item(&item, self.hub.settings.reach));
        subscription.filter(|found| found.id.starts_with("sub_")).ok_or_else(|| not_found("subscription"))
    }

    /// Makes one, and tries its endpoint once; where that fails, the answer carries a warning.
    pub(super) async fn create_subscription(&self) -> Result<Value, Problem> {
        let (hub, now) = (self.hub, self.hub.now());
        let (config, beside) = check(&self.settings()?, None, hub.settings.reach).map_err(invalid_fields)?;
        let id = sortable("sub", now, (hub.random)());
        let mut subscription = Subscription::new(id, &config, now, hub.settings.reach).ok_or_else(internal)?;
        if beside.is_active == Some(false) {
            subscription.disabled = Some((DisabledReason::Requested, now));
        }
        let secret = beside.secret.unwrap_or_else(|| generate_secret(hub.random_bytes()));
        let lease = self.secrets_lease().await?;
        let made = self.store_new(&subscription, &secret, lease).await;
        hub.subscriptions.forget(self.tenant());
        made?;
        let mut view = subscription.view();
        let tested = if subscription.is_active() {
            deliver::test(hub, self.context, &subscription, &[&secret], self.request_id).await
        } else {
            None
        };
        if let Some(fields) = view.as_object_mut() {
            fields.insert("secret".into(), secret.into());
            if let Some((false, attempt)) = tested {
                let error = attempt.error.unwrap_or_default();
                let warning =
                    format!("the endpoint didn't take a test: {error}; deliveries will be tried all the same");
                fields.insert("warnings".into(), json!([warning]));
            }
        }
        Ok(view)
    }

    /// Stores a new subscription and its secret. With the first one, the tenant's events begin to be written.
    async fn store_new(&self, subscription: &Subscription, secret: &str, lease: Lease) -> Result<(), Problem> {
        let (hub, tenant) = (self.hub, self.tenant());
        let range = Range::prefixed("sub_");
        let limit = i32::try_from(SUBSCRIPTIONS_MAX).unwrap_or(i32::MAX);
        let page = hub.store.range(&subscription_partition(tenant), &range, &[], (None, limit, true)).await?;
        if page.items.len() >= SUBSCRIPTIONS_MAX {
            lease.give_back(hub).await;
            let detail =
                format!("a tenant has at most {SUBSCRIPTIONS_MAX} subscriptions; delete one that isn't needed");
            return Err(Problem::new(Code::TooManySubscriptions, detail));
        }
        let known: Vec<String> = page.items.iter().filter_map(|item| item.get_text("sk").map(str::to_owned)).collect();
        self.change_secrets(|document| {
            document.subscriptions.retain(|id, _| known.contains(id));
            let own = SubscriptionSecrets { version: subscription.secret_version, signing: Vec::new() };
            let own = document.subscriptions.entry(subscription.id.clone()).or_insert(own);
            rotate(&mut own.signing, secret.to_owned(), (hub.now(), hub.now()));
        })
        .await?;
        let item = Write::Put { item: subscription.item(tenant), condition: ABSENT, values: Values::new() };
        let mut writes = vec![item];
        writes.extend(self.begin_publishing().await?);
        self.commit_and_release(writes, lease).await
    }

    /// What makes the tenant's events be written, and swept, from now on; nothing where they are.
    async fn begin_publishing(&self) -> Result<Vec<Write>, Problem> {
        let item = self.hub.store.get(&tenant_key(self.tenant())).await?.ok_or_else(|| not_found("tenant"))?;
        let before = item.get_text("doc").unwrap_or_default().to_owned();
        let mut tenant: crate::integration::Tenant = serde_json::from_str(&before).map_err(|_| internal())?;
        if tenant.publishes {
            return Ok(Vec::new());
        }
        tenant.publishes = true;
        let doc = serde_json::to_string(&tenant).map_err(|_| internal())?;
        let values = vec![(":before", aws_sdk_dynamodb::types::AttributeValue::S(before))];
        let tenant = Write::Put { item: item.text("doc", doc), condition: "doc = :before", values };
        Ok(vec![tenant, publish::sweep_item(self.tenant(), self.hub.now())])
    }

    /// Changes what is given. Enabling it again sends what it missed meanwhile.
    pub(super) async fn change_subscription(&self, id: &str) -> Result<Value, Problem> {
        let (hub, given) = (self.hub, self.settings()?);
        if given.contains_key("secret") {
            return Err(invalid("secret", "can't be changed here; POST …/rotate-secret lets both count for a while"));
        }
        for _ in 0..ROUNDS_MAX {
            let mut subscription = self.stored(id).await?;
            let (config, beside) =
                check(&given, Some(&subscription.config), hub.settings.reach).map_err(invalid_fields)?;
            self.check_preconditions(Some(&subscription.view()))?;
            let (now, missed_since) = (hub.now(), missed_since(&subscription));
            if (&config.event_types, &config.filter) != (&subscription.config.event_types, &subscription.config.filter)
            {
                subscription.wanting_since = now;
            }
            let enabled = beside.is_active == Some(true) && !subscription.is_active();
            match beside.is_active {
                Some(true) => (subscription.disabled, subscription.failing_since) = (None, None),
                Some(false) if subscription.is_active() => {
                    subscription.disabled = Some((DisabledReason::Requested, now));
                }
                _ => {}
            }
            subscription.config = config;
            let write = subscription.replace(self.tenant());
            if let Commit::Done = hub.store.commit(vec![write]).await? {
                hub.subscriptions.forget(self.tenant());
                if enabled {
                    self.send_missed(id, missed_since.unwrap_or(now)).await?;
                }
                return self.subscription(id).await;
            }
            self.pause().await;
        }
        Err(busy())
    }

    /// What it missed from `since` until now; and, once all copies know that it is enabled, what they left out until then.
    async fn send_missed(&self, id: &str, since: Timestamp) -> Result<(), Problem> {
        let now = self.hub.now();
        let job = |since, until| ReplayEvents {
            tenant_id: self.tenant().clone(),
            subscription_id: id.to_owned(),
            since,
            until,
            all: false,
            after: None,
        };
        self.queue_replay(job(since, now), now).await?;
        let known = now.saturating_add(self.hub.settings.config_ttl).unwrap_or(now);
        if known == now {
            return Ok(());
        }
        let in_flight = Duration::from_secs(5);
        self.queue_replay(job(now, known), known.saturating_add(in_flight).unwrap_or(known)).await
    }

    async fn queue_replay(&self, job: ReplayEvents, at: Timestamp) -> Result<(), Problem> {
        Ok(self.hub.send_at(&Operation::ReplayEvents(job), at).await?)
    }

    pub(super) async fn delete_subscription(&self, id: &str) -> Result<(), Problem> {
        self.check_preconditions(Some(&self.stored(id).await?.view()))?;
        let lease = self.secrets_lease().await?;
        // Its deliveries outlive it for so long at most.
        let kept = self.hub.settings.delivery_retention.as_secs() + 86_400;
        let end = self.hub.now().as_second().saturating_add_unsigned(kept);
        self.hub.store.put(subscription_gone(self.tenant(), id, end), "", Vec::new()).await?.ok();
        // First the subscription: without it, nobody asks for its secret.
        self.hub.store.delete(&subscription_key(self.tenant(), id)).await?;
        self.hub.subscriptions.forget(self.tenant());
        self.change_secrets(|document| {
            document.subscriptions.remove(id);
        })
        .await?;
        lease.give_back(self.hub).await;
        Ok(())
    }

    /// A new secret, that is shown once; the old one counts for a while too.
    pub(super) async fn rotate_secret(&self, id: &str) -> Result<Value, Problem> {
        let (hub, rotation) = (self.hub, self.rotation()?);
        if rotation.secret.as_deref().is_some_and(|secret| !is_subscription_secret(secret)) {
            return Err(invalid(
                "secret",
                "must be `whsec_` and 24 to 64 bytes in base64; leave it out to get a new one",
            ));
        }
        self.stored(id).await?;
        let secret = rotation.secret.clone().unwrap_or_else(|| generate_secret(hub.random_bytes()));
        let lease = self.secrets_lease().await?;
        let mut subscription = self.stored(id).await?;
        subscription.secret_version += 1;
        let now = hub.now();
        let end = now.saturating_add(rotation.overlap()).unwrap_or(now);
        self.change_secrets(|document| {
            let own = document.subscriptions.entry(id.to_owned()).or_default();
            own.version = subscription.secret_version;
            rotate(&mut own.signing, secret.clone(), (now, end));
        })
        .await?;
        hub.subscriptions.forget(self.tenant());
        self.commit_and_release(vec![subscription.replace(self.tenant())], lease).await?;
        let mut view = subscription.view();
        if let Some(fields) = view.as_object_mut() {
            fields.insert("secret".into(), secret.into());
        }
        Ok(view)
    }

    /// Tries the endpoint now, and says what came of it.
    pub(super) async fn test_subscription(&self, id: &str) -> Result<Value, Problem> {
        let (hub, subscription, now) = (self.hub, self.stored(id).await?, self.hub.now());
        let version = subscription.secret_version;
        let document = hub.secrets.for_subscription(self.tenant(), (id, version), now).await?;
        let secrets = document.signing_secrets(id, version, now);
        let tested = deliver::test(hub, self.context, &subscription, &secrets, self.request_id).await;
        let tested = tested.ok_or_else(internal)?;
        Ok(json_of(&Tested { success: tested.0, attempt: tested.1 }))
    }

    /// Sends events from a moment on again: those that it hasn't got, or `all`.
    pub(super) async fn replay_subscription(&self, id: &str) -> Result<Value, Problem> {
        let Replay { since, until, all } = self.read(&["since", "until", "all"])?;
        let subscription = self.stored(id).await?;
        if !subscription.is_active() {
            let detail =
                "the subscription is disabled; enable it with PATCH {\"is_active\": true}, which sends what it missed";
            return Err(Problem::new(Code::SubscriptionDisabled, detail));
        }
        let now = self.hub.now();
        let until = until.map_or(now, |until| until.min(now));
        let (tenant_id, subscription_id) = (self.tenant().clone(), id.to_owned());
        self.queue_replay(ReplayEvents { tenant_id, subscription_id, since, until, all, after: None }, now).await?;
        Ok(json_of(&Replaying { id, status: Status::Queued, since, until, all }))
    }
}

/// From when on a disabled subscription missed something: since its endpoint failed, or since it was disabled.
fn missed_since(subscription: &Subscription) -> Option<Timestamp> {
    let (_, disabled_at) = subscription.disabled?;
    Some(subscription.failing_since.map_or(disabled_at, |failing| failing.min(disabled_at)))
}
