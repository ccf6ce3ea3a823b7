//! Subscriptions: a tenant's endpoints and the events they want (contract §6, §7).

mod config;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use http::HeaderMap;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Value, json};

pub use self::config::{Config, SubscriptionFields, check};
use crate::{
    endpoint::{Endpoint, Reach},
    event::{Event, EventType},
    ids::TenantId,
    mapping::Filter,
    store::{Item, Key, Write},
    view::json_of,
};

/// Subscriptions of one tenant. Each event is matched against all of them, and their secrets share one document.
pub const SUBSCRIPTIONS_MAX: usize = 100;

/// Contract §6: the waits before each retry, in seconds.
pub const SCHEDULE_SECONDS: [u32; 7] = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];

/// Contract §6: after so long without a success an endpoint is given up.
pub const FAILING_MAX: Duration = Duration::from_hours(5 * 24);

/// Why a subscription gets no deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DisabledReason {
    /// The endpoint answered 410: it wants no more.
    Gone,
    /// The endpoint failed for [`FAILING_MAX`].
    Failing,
    /// The tenant switched it off.
    Requested,
}

impl DisabledReason {
    /// As stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
            Self::Requested => "requested",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Gone, Self::Failing, Self::Requested].into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A subscription, ready for use.
pub struct Subscription {
    /// `sub_…`.
    pub id: String,
    /// As the tenant wrote it.
    pub config: Config,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it wants what it wants: events from before aren't left behind.
    pub wanting_since: Timestamp,
    /// Why and since when it gets no deliveries.
    pub disabled: Option<(DisabledReason, Timestamp)>,
    /// Since when its endpoint fails, if it does.
    pub failing_since: Option<Timestamp>,
    /// Counts its secrets: tells copies that the ones they know are old.
    pub secret_version: i64,
    /// Counts its changes.
    pub version: i64,
    /// Its URL, checked.
    pub endpoint: Endpoint,
    /// Its own headers.
    pub headers: HeaderMap,
    types: Vec<TypePattern>,
    filter: Option<Filter>,
}

/// Which types of events a subscription wants.
enum TypePattern {
    /// `*`
    All,
    /// `phone_number.*`, without the star.
    Prefix(String),
    /// One type.
    One(String),
}

/// `phone_number.*` and `phone_number.interaction.*` of `phone_number.interaction.created`.
fn prefixes_of(name: &str) -> impl Iterator<Item = String> {
    name.match_indices('.').filter_map(|(at, _)| Some(format!("{}.*", name.get(..at)?)))
}

impl JsonSchema for TypePattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TypePattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = EventType::ALL.iter().map(|event_type| event_type.as_str()).collect();
        let dots = names.iter().flat_map(|name| prefixes_of(name));
        let prefixes: BTreeSet<String> = dots.collect();
        let all = prefixes.into_iter().chain(names.iter().map(|name| (*name).to_owned())).chain(["*".to_owned()]);
        json_schema!({"enum": all.collect::<Vec<_>>()})
    }
}

impl TypePattern {
    /// `None` where no type is of this form.
    fn parse(text: &str) -> Option<Self> {
        let pattern = match text.strip_suffix('*') {
            Some("") => Self::All,
            Some(prefix) if prefix.ends_with('.') => Self::Prefix(prefix.to_owned()),
            _ => Self::One(text.to_owned()),
        };
        EventType::ALL.iter().any(|event_type| pattern.matches(*event_type)).then_some(pattern)
    }

    fn matches(&self, event_type: EventType) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => event_type.as_str().starts_with(prefix),
            Self::One(name) => event_type.as_str() == name,
        }
    }
}

/// The partition of a tenant's subscriptions.
#[must_use]
pub fn subscription_partition(tenant: &TenantId) -> String {
    format!("{tenant}#sub")
}

/// The key of a subscription.
#[must_use]
pub fn subscription_key(tenant: &TenantId, id: &str) -> Key {
    Key { pk: subscription_partition(tenant), sk: id.to_owned() }
}

impl Subscription {
    /// A new one out of a checked configuration. `None` where that can't be stored and read again.
    #[must_use]
    pub fn new(id: String, config: &Config, now: Timestamp, reach: Reach) -> Option<Self> {
        let empty = Item::new(&Key { pk: String::new(), sk: id });
        let item = empty.text("doc", serde_json::to_string(config).ok()?).text("created_at", now.to_string());
        Self::from_item(&item.number("v", 1).number("sv", 1), reach)
    }

    /// Reads an item of [`subscription_key`]; `None` where it isn't one, or no longer valid.
    #[must_use]
    pub fn from_item(item: &Item, reach: Reach) -> Option<Self> {
        let time = |name: &str| item.get_text(name)?.parse().ok();
        let config: Config = serde_json::from_str(item.get_text("doc")?).ok()?;
        let reason = item.get_text("off").and_then(DisabledReason::parse);
        Some(Self {
            id: item.get_text("sk")?.to_owned(),
            created_at: time("created_at")?,
            wanting_since: time("since").or_else(|| time("created_at"))?,
            disabled: reason.map(|reason| (reason, time("off_at").unwrap_or_default())),
            failing_since: time("failing"),
            secret_version: item.get_number("sv")?,
            version: item.get_number("v")?,
            endpoint: Endpoint::parse(&config.url, reach).ok()?,
            headers: config.header_map()?,
            types: config.event_types.iter().map(|text| TypePattern::parse(text)).collect::<Option<_>>()?,
            filter: config.filter.as_ref().map(Filter::compile).transpose().ok()?,
            config,
        })
    }

    /// As an item.
    #[must_use]
    pub fn item(&self, tenant: &TenantId) -> Item {
        let (reason, at) = self.disabled.map(|(reason, at)| (reason.as_str(), at.to_string())).unwrap_or_default();
        Item::new(&subscription_key(tenant, &self.id))
            .text("doc", serde_json::to_string(&self.config).unwrap_or_default())
            .text("created_at", self.created_at.to_string())
            .text("since", self.wanting_since.to_string())
            .text("off", reason)
            .text("off_at", at)
            .text("failing", self.failing_since.map(|at| at.to_string()).unwrap_or_default())
            .number("sv", self.secret_version)
            .number("v", self.version)
    }

    /// The write that stores it in the place of the version before.
    #[must_use]
    pub fn replace(&mut self, tenant: &TenantId) -> Write {
        let before = AttributeValue::N(self.version.to_string());
        self.version += 1;
        Write::Put { item: self.item(tenant), condition: "v = :v", values: vec![(":v", before)] }
    }

    /// Whether it wants this event, were it active.
    #[must_use]
    pub fn wants(&self, tenant: &TenantId, id: &str, event: &Event) -> bool {
        self.types.iter().any(|pattern| pattern.matches(event.event_type))
            && self.filter.as_ref().is_none_or(|filter| filter.matches(&event.view(tenant, id)))
    }

    /// Whether it gets deliveries.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.disabled.is_none()
    }

    /// The wait before retry `step` (from 0) in seconds, without jitter; `None` once the schedule is used up.
    #[must_use]
    pub fn retry_seconds(&self, step: u32) -> Option<u32> {
        let own = self.config.retry_policy.as_ref().map(|policy| policy.schedule_seconds.as_slice());
        own.unwrap_or(&SCHEDULE_SECONDS).get(usize::try_from(step).ok()?).copied()
    }

    /// As the API shows it (contract §7), without its secret.
    #[must_use]
    pub fn view(&self) -> Value {
        json_of(&Shown {
            id: &self.id,
            config: &self.config,
            is_active: self.is_active(),
            created_at: self.created_at,
            disabled_reason: self.disabled.map(|(reason, _)| reason),
            disabled_at: self.disabled.map(|(_, at)| at),
            failing_since: self.failing_since,
        })
    }

    /// What the tenant's other subscriptions are told when this one is disabled.
    #[must_use]
    pub fn disabled_event(&self, reason: DisabledReason, at: Timestamp) -> (EventType, Value) {
        let about = json!({"id": self.id, "url": self.config.url, "disabled_reason": reason.as_str(), "disabled_at": at.to_string()});
        (EventType::SubscriptionDisabled, json!({"subscription": about}))
    }

    /// Roughly what it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts: usize = self.config.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        2_000
            + self.config.url.len()
            + 2 * texts
            + self.config.filter.as_ref().map_or(0, |filter| 20 * filter.to_string().len())
    }
}

/// A tenant's endpoint, with what it wants.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Subscription")]
pub(crate) struct Shown<'a> {
    id: &'a str,
    #[serde(flatten)]
    config: &'a Config,
    /// Whether it gets deliveries.
    is_active: bool,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<DisabledReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<Timestamp>,
    /// Since when every delivery failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
}

/// Own headers by name.
pub type Headers = BTreeMap<String, String>;
