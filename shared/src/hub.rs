//! What a running copy of a function holds: clients, settings, clock, randomness and caches.
//!
//! A copy has two faces. An [`Edge`] goes to the table by the function's own role: for what comes before a tenant is
//! authenticated, and what is nobody's. A [`Hub`] acts for one tenant, and where sessions are on (docs/isolation.md), its calls
//! carry that tenant's session. All that works on a tenant's data takes a `Hub`.

use std::{
    ops::Deref,
    sync::{Arc, LazyLock},
    time::Duration,
};

use aws_config::SdkConfig;
use jiff::Timestamp;

use crate::{
    aws,
    cache::Cache,
    connector::Tokens,
    deliver::subscriptions::Subscriptions,
    endpoint::Reach,
    limits::{keys::KeyLimits, source::SourceLimits},
    metrics::{Emit, Metrics},
    operation::{Operation, Waiting},
    outgoing::Sender,
    registry::Registry,
    secrets::Secrets,
    store::{Key, Sessions, Store, StoreError},
    tenant::TenantContext,
};

/// Reads the time. An argument everywhere, so that tests decide what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// Gives random bits. An argument for the same reason.
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

/// A client that is made when it is first used: making one takes about a millisecond of a cold start.
pub type Lazy<T> = LazyLock<T, Box<dyn FnOnce() -> T + Send>>;

/// What the deployment decides. Read from the environment in one place, [`Settings::from_env`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// DynamoDB table that holds everything but secrets.
    pub table: String,
    /// URL of the SQS queue of operations that wait for another try.
    pub retry_queue_url: String,
    /// URL of the SQS queue of outgoing webhooks.
    pub delivery_queue_url: String,
    /// URLs of the SQS queues of syncs: of contacts, companies, interactions.
    pub sync_queue_urls: [String; 3],
    /// Beginning of the secrets' names; the tenant's id follows.
    pub secrets_prefix: String,
    /// Beginning of the public URLs of webhooks, without a slash at the end.
    pub public_url: String,
    /// Largest body of a webhook, in bytes. At most [`Settings::BODY_BYTES_MAX`].
    pub body_bytes_max: usize,
    /// How long configuration is used without looking again. Contract §7: changes apply within 10 s.
    pub config_ttl: Duration,
    /// How long secrets are used without looking again. A signature that fails looks earlier (see [`crate::secrets`]).
    pub secrets_ttl: Duration,
    /// How long an inbound event is kept. 30 days: ten times the longest time in which a known sender repeats (Stripe, 3
    /// days), since the record is also the marker that tells a repeat.
    pub inbound_retention: Duration,
    /// How long a failure is kept. 90 days: a quarter in which somebody looks.
    pub failure_retention: Duration,
    /// How long events are kept, and can be replayed.
    pub event_retention: Duration,
    /// How long records of deliveries are kept.
    pub delivery_retention: Duration,
    /// What tenants' endpoints may be.
    pub reach: Reach,
    /// How long counters of calls are kept after their window. 2 days: no clock is off by more, and nobody asks for longer.
    pub counter_retention: Duration,
    /// Name of the deployment, for metrics.
    pub stage: String,
    /// Whether tenants are a dimension of metrics. Costs $0.30 a month for each of three metrics and each tenant.
    pub tenant_metrics: bool,
    /// What cursors are sealed with. It guards nothing that the caller may not read: see the API's `cursor`.
    pub cursor_key: String,
    /// Whether callers on loopback are free of the limits by source address (contract §2: in `cargo local`).
    pub loopback_exempt: bool,
    /// The role that each tenant's session takes on; empty where there are no sessions.
    pub tenant_role_arn: String,
}

/// A setting that is missing or wrong.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {name} {problem}; set it in infra/template.yaml")]
pub struct SettingsError {
    pub(crate) name: &'static str,
    pub(crate) problem: &'static str,
}

const DAY: Duration = Duration::from_hours(24);

impl Settings {
    /// Contract §2: 256 KiB, configurable downward.
    pub const BODY_BYTES_MAX: usize = 256 * 1024;

    /// Stripe repeats for 3 days, Shopify for 2, others for less; twice that, so that a marker outlives every repeat.
    pub const INBOUND_RETENTION_MIN: Duration = Duration::from_hours(7 * 24);

    /// Reads the settings through `var`, which looks a name up in the environment.
    ///
    /// # Errors
    /// [`SettingsError`] names the variable that is missing or isn't a number.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let required = |name| var(name).ok_or(SettingsError { name, problem: "is missing" });
        let number = |name, default: u64| match var(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| SettingsError { name, problem: "is not a whole number" }),
        };
        let bytes = usize::try_from(number("MAX_BODY_BYTES", u64::MAX)?).unwrap_or(usize::MAX);
        let days =
            |name, default| number(name, default).map(|n| DAY.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX)));
        let inbound_retention = days("INBOUND_RETENTION_DAYS", 30)?;
        if inbound_retention < Self::INBOUND_RETENTION_MIN {
            return Err(SettingsError {
                name: "INBOUND_RETENTION_DAYS",
                problem: "is less than 7: senders repeat longer",
            });
        }
        Ok(Self {
            table: required("TABLE_NAME")?,
            retry_queue_url: var("RETRY_QUEUE_URL").unwrap_or_default(),
            delivery_queue_url: var("DELIVERY_QUEUE_URL").unwrap_or_default(),
            sync_queue_urls: ["SYNC_CONTACTS_QUEUE_URL", "SYNC_COMPANIES_QUEUE_URL", "SYNC_INTERACTIONS_QUEUE_URL"]
                .map(|name| var(name).unwrap_or_default()),
            secrets_prefix: required("SECRETS_PREFIX")?,
            public_url: var("PUBLIC_URL").unwrap_or_default().trim_end_matches('/').to_owned(),
            body_bytes_max: bytes.min(Self::BODY_BYTES_MAX),
            config_ttl: Duration::from_secs(number("CONFIG_TTL_SECONDS", 10)?),
            secrets_ttl: Duration::from_secs(number("SECRETS_TTL_SECONDS", 300)?),
            inbound_retention,
            failure_retention: days("FAILURE_RETENTION_DAYS", 90)?,
            event_retention: days("EVENT_RETENTION_DAYS", 30)?,
            delivery_retention: days("DELIVERY_RETENTION_DAYS", 30)?,
            reach: match var("ENDPOINTS") {
                None => Reach::Public,
                Some(text) => text
                    .parse()
                    .map_err(|_| SettingsError { name: "ENDPOINTS", problem: "is none of public, loopback and any" })?,
            },
            counter_retention: days("COUNTER_RETENTION_DAYS", 2)?,
            cursor_key: var("CURSOR_KEY").unwrap_or_default(),
            stage: var("STAGE").unwrap_or_default(),
            tenant_metrics: match var("TENANT_METRICS").as_deref() {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => {
                    return Err(SettingsError { name: "TENANT_METRICS", problem: "is neither true nor false" });
                }
            },
            loopback_exempt: var("LOOPBACK_EXEMPT").is_some_and(|v| v == "true"),
            tenant_role_arn: var("TENANT_ROLE_ARN").unwrap_or_default(),
        })
    }
}

/// One copy of a function, before it acts for a tenant.
pub struct Edge {
    held: Arc<Held>,
    /// The table, by the function's own role, and the queues.
    pub store: Store,
}

/// One copy of a function, acting for one tenant. Only [`Edge::acting_for`] makes it.
pub struct Hub {
    held: Arc<Held>,
    /// The table, by the tenant's session where there are sessions, and the queues.
    pub store: Store,
}

/// What a copy of a function holds and remembers between calls, but for its way to the table.
pub struct Held {
    /// The deployment's settings.
    pub settings: Settings,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Configuration of tenants and systems, cached.
    pub registry: Registry,
    /// Secrets of tenants, cached.
    pub secrets: Secrets,
    /// What an operator is to know.
    pub metrics: Metrics,
    /// What this copy knows of callers by source address.
    pub sources: SourceLimits,
    /// What this copy knows of the calls of API keys.
    pub key_limits: KeyLimits,
    /// Version and text of records as this copy saw them last: the guess on which their next change is tried first.
    pub guesses: Cache<Key, (i64, Box<str>)>,
    /// Phone numbers that this copy knows to exist.
    pub phones: Cache<Key, ()>,
    /// Subscriptions of tenants, cached.
    pub subscriptions: Subscriptions,
    /// Tokens of tenants' CRMs.
    pub tokens: Tokens,
    /// Makes requests that leave AWS.
    pub send: Sender,
}

/// What the remembered records may take; one takes about 700 bytes.
const GUESSES_BYTES_MAX: usize = 1_000_000;
/// What the known numbers may take; one takes about 300 bytes.
const PHONES_BYTES_MAX: usize = 1_000_000;
/// What the tokens may take; one takes about 2 KB.
const TOKENS_BYTES_MAX: usize = 1_000_000;

impl Edge {
    /// A copy with empty caches. Makes no call.
    #[must_use]
    pub fn new(
        settings: Settings,
        aws: &SdkConfig,
        (clock, random): (Clock, Random),
        emit: Emit,
        send: Sender,
    ) -> Self {
        let (for_sqs, for_secrets) = (aws.clone(), aws.clone());
        let sqs: Lazy<_> = LazyLock::new(Box::new(move || aws_sdk_sqs::Client::new(&for_sqs)));
        let secrets: Lazy<_> = LazyLock::new(Box::new(move || aws_sdk_secretsmanager::Client::new(&for_secrets)));
        let sessions = Sessions::new(&settings.tenant_role_arn, aws, &clock);
        let store = Store::new(aws_sdk_dynamodb::Client::new(aws), sqs, &settings, sessions);
        let held = Held {
            secrets: Secrets::new(secrets, &settings),
            registry: Registry::new(settings.config_ttl),
            sources: SourceLimits::new(settings.loopback_exempt),
            key_limits: KeyLimits::default(),
            metrics: Metrics::new(&settings.stage, settings.tenant_metrics, Arc::clone(&clock), emit),
            guesses: Cache::new(GUESSES_BYTES_MAX),
            phones: Cache::new(PHONES_BYTES_MAX),
            subscriptions: Subscriptions::new(settings.config_ttl, settings.reach),
            tokens: Cache::new(TOKENS_BYTES_MAX),
            send,
            settings,
            clock,
            random,
        };
        Self { held: Arc::new(held), store }
    }

    /// The same copy, acting for a tenant. Makes no call: where there are sessions, the first call to the table begins one.
    #[must_use]
    pub fn acting_for(&self, context: &TenantContext) -> Hub {
        Hub { held: Arc::clone(&self.held), store: self.store.of_tenant(context) }
    }

    /// The copy that runs on AWS: environment, system clock, system randomness. `send` makes what it calls others with.
    ///
    /// # Errors
    /// [`SettingsError`] where the environment lacks a setting.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment and the clock")]
    pub fn from_env(send: impl FnOnce(Reach, Clock) -> Sender) -> Result<Self, SettingsError> {
        let var = |name: &str| std::env::var(name).ok();
        let (settings, aws) = (Settings::from_env(var)?, aws::config(var)?);
        let emit = Arc::new(|line: &str| println!("{line}"));
        let clock: Clock = Arc::new(Timestamp::now);
        let send = send(settings.reach, Arc::clone(&clock));
        Ok(Self::new(settings, &aws, (clock, Arc::new(system_random)), emit, send))
    }
}

impl Hub {
    /// Lets an event wait for `delay`; its `due` is set.
    ///
    /// # Errors
    /// [`StoreError`] where nothing takes it.
    pub async fn defer(&self, waiting: Waiting, delay: Duration) -> Result<(), StoreError> {
        let now = self.now();
        let due = now.saturating_add(delay).unwrap_or(now);
        self.send_at(&Operation::Inbound(Waiting { due, ..waiting }), due).await
    }

    /// Lets an operation come out of its queue at `due`.
    ///
    /// # Errors
    /// [`StoreError`] where nothing takes it.
    pub async fn send_at(&self, operation: &Operation, due: Timestamp) -> Result<(), StoreError> {
        let moment = (self.now(), (self.random)());
        self.store.wait(operation.tenant(), operation.to_message(), due, moment).await
    }
}

impl Held {
    /// 256 random bits, for keys and secrets.
    #[must_use]
    pub fn random_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (first, second) = bytes.split_at_mut(16);
        first.copy_from_slice(&(self.random)().to_be_bytes());
        second.copy_from_slice(&(self.random)().to_be_bytes());
        bytes
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

impl Deref for Edge {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.held
    }
}

impl Deref for Hub {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.held
    }
}

/// Random bits of the operating system's seeding, good for keys and secrets.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that takes the system's randomness")]
pub fn system_random() -> u128 {
    rand::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &'static str, value: &'static str) -> Result<Settings, String> {
        let given = [("TABLE_NAME", "t"), ("SECRETS_PREFIX", "s/"), (name, value)];
        let var = |wanted: &str| given.iter().rev().find(|(name, _)| *name == wanted).map(|(_, v)| (*v).to_owned());
        Settings::from_env(var).map_err(|e| e.to_string())
    }

    #[test]
    fn a_marker_outlives_every_senders_repeats() {
        assert_eq!(settings("INBOUND_RETENTION_DAYS", "7").unwrap().inbound_retention, 7 * DAY);
        let refused = settings("INBOUND_RETENTION_DAYS", "6").unwrap_err();
        assert!(refused.starts_with("environment variable INBOUND_RETENTION_DAYS is less than 7"), "{refused}");
        assert!(settings("FAILURE_RETENTION_DAYS", "soon").unwrap_err().contains("is not a whole number"));
        assert_eq!(settings("MAX_BODY_BYTES", "999999999").unwrap().body_bytes_max, Settings::BODY_BYTES_MAX);
    }

    #[test]
    fn metrics_by_tenant_cost_money_and_are_only_made_where_they_are_asked_for() {
        assert!(
            !settings("STAGE", "prod").unwrap().tenant_metrics
                && !settings("TENANT_METRICS", "false").unwrap().tenant_metrics
        );
        assert!(settings("TENANT_METRICS", "true").unwrap().tenant_metrics);
        assert!(settings("TENANT_METRICS", "yes").unwrap_err().contains("neither true nor false"));
    }
}
