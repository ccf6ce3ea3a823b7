//! What a tenant says about one of its systems, and the same compiled for use.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    connector::{Entity, Outbound},
    ids::SystemId,
    mapping::{self, BUILTIN_SYSTEMS, CompiledRule},
    phone::Region,
    signature::{Scheme, SignatureConfig},
};

/// Which way data flows between us and the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The system sends to us.
    #[default]
    Inbound,
    /// We send to the system.
    Outbound,
    /// Both.
    Bidirectional,
}

/// What happens to a call over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenExceeded {
    /// 429; the sender sends again.
    Reject,
    /// 202; we apply it when the window allows. For senders that never send again.
    Queue,
}

/// Calls that a system may make, per tenant (contract §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// In a calendar minute.
    #[schemars(range(min = 1))]
    pub per_minute: u32,
    /// In a UTC day.
    #[schemars(range(min = 1))]
    pub per_day: u32,
    /// For a call over either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_exceeded: Option<WhenExceeded>,
}

/// How failed operations of a system are tried again (contract §4).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Retries after the first try.
    #[schemars(range(max = 50))]
    pub max_attempts: u32,
    /// Each wait is this many times the one before.
    #[schemars(range(min = 1.0, max = 10.0))]
    pub backoff_factor: f64,
    /// The first wait, in seconds.
    #[serde(default = "base_delay_seconds")]
    #[schemars(range(min = 0.1, max = 86_400.0))]
    pub base_delay_seconds: f64,
}

fn base_delay_seconds() -> f64 {
    10.0
}

/// Contract §4, the table: calls a minute and a day, retries and backoff factor by system.
fn defaults(system: &SystemId) -> (Limits, RetryPolicy) {
    let (per_minute, per_day, max_attempts, backoff_factor) = match system.as_str() {
        "sarah_ai" => (60, 10_000, 3, 2.0),
        "payment_processor" | "stripe" => (30, 5_000, 5, 1.5),
        "external_crm" => (100, 50_000, 2, 3.0),
        _ => (1_000, 100_000, 3, 2.0),
    };
    let limits = Limits { per_minute, per_day, when_exceeded: None };
    (limits, RetryPolicy { max_attempts, backoff_factor, base_delay_seconds: base_delay_seconds() })
}

fn active() -> bool {
    true
}

/// An integration as a tenant registers it (contract §7, `integration`), without its secrets.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntegrationConfig {
    /// Which way data flows.
    #[serde(default)]
    pub direction: Direction,
    /// An inactive system answers 404.
    #[serde(default = "active")]
    pub active: bool,
    /// How its webhooks are signed; the built-in systems have their own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureConfig>,
    /// Its limits, where not the system's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Its retry policy, where not the system's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Whether a body may be an array of events.
    #[serde(default)]
    pub batch: bool,
    /// The URL that its signatures cover, where not the one we gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "uri"))]
    pub public_url: Option<String>,
    /// What its events mean; the built-in systems have a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<mapping::Rule>")]
    pub mapping: Option<Value>,
    /// Where and how we send to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::connector::OutboundSchema>")]
    pub outbound: Option<Value>,
}

/// How alike two names are of which one is meant for the other: `per_minut`, `perMinute`, `webhook_sercet`.
const LIKE: f64 = 0.8;

/// One thing that is wrong with what somebody wrote: the field, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// The field, dotted: `limits.per_minute`.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl FieldError {
    /// An error at `field`.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// That `field` isn't `what` there is, e.g. "a field here"; names the nearest of the `known`.
    #[must_use]
    pub fn unknown(field: &str, known: &[&str], what: &str) -> Self {
        let field: String = field.chars().filter(|c| !c.is_control()).take(64).collect();
        let likeness = |name: &&&str| strsim::jaro_winkler(&field.to_lowercase(), name);
        let nearest = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        let hint = nearest.filter(|name| likeness(name) > LIKE).map(|name| format!("; did you mean `{name}`?"));
        let message = format!("is not {what}{} There are: {}", hint.as_deref().unwrap_or("."), known.join(", "));
        Self { field, message }
    }
}

impl IntegrationConfig {
    /// The names of its fields.
    pub const FIELDS: [&str; 9] =
        ["direction", "active", "signature", "limits", "retry", "batch", "public_url", "mapping", "outbound"];

    /// Reads what somebody wrote, each field by itself; `also` are names that may stand beside them.
    ///
    /// # Errors
    /// Every [`FieldError`] at once.
    pub fn read(fields: Map<String, Value>, also: &[&str]) -> Result<Self, Vec<FieldError>> {
        let known: Vec<&str> = Self::FIELDS.iter().chain(also).copied().collect();
        let wrong = |(name, value): (&String, &Value)| {
            if !Self::FIELDS.contains(&name.as_str()) {
                return Some(FieldError::unknown(name, &known, "a field of an integration"));
            }
            let alone = Map::from_iter([(name.clone(), value.clone())]);
            let error = Self::deserialize(Value::Object(alone)).err()?;
            Some(FieldError::new(name.clone(), format!("can't be read: {error}")))
        };
        let errors: Vec<FieldError> = fields.iter().filter_map(wrong).collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        Self::deserialize(Value::Object(fields)).map_err(|e| vec![FieldError::new("integration", e.to_string())])
    }
}

/// An integration ready for use: checked, defaults filled in, scheme and rule compiled.
pub struct Integration {
    /// The system.
    pub system_id: SystemId,
    /// As the tenant registered it.
    pub config: IntegrationConfig,
    /// How its webhooks are verified.
    pub scheme: Scheme,
    /// What its events mean.
    pub rule: Arc<CompiledRule>,
    /// Where and how we send to it, if we do.
    pub outbound: Option<Arc<Outbound>>,
    /// Whether a body may be an array of events.
    pub batch: bool,
    /// Its limits.
    pub limits: Limits,
    /// What happens to a call over them.
    pub when_exceeded: WhenExceeded,
    /// How its failed operations are tried again.
    pub retry: RetryPolicy,
}

impl Integration {
    /// How its webhooks are signed, as the tenant wrote it or by default.
    #[must_use]
    pub fn signature(&self) -> SignatureConfig {
        self.config.signature.clone().unwrap_or_else(|| default_signature(&self.system_id))
    }

    /// Checks and compiles `config`.
    ///
    /// # Errors
    /// Every [`FieldError`] at once.
    pub fn compile(system_id: SystemId, config: IntegrationConfig) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let signature = config.signature.clone().unwrap_or_else(|| default_signature(&system_id));
        let scheme = signature.compile().map_err(|list| {
            errors.extend(list.into_iter().map(|e| FieldError::new(format!("signature.{}", e.field), e.problem)));
        });
        let outbound = compile_outbound(&config).map_err(|list| errors.extend(list));
        let is_hubspot = matches!(&outbound, Ok(Some(outbound)) if outbound.preset() == HUBSPOT);
        let usual = if is_hubspot { HUBSPOT } else { system_id.as_str() };
        let rule = compile_rule(&system_id, usual, config.mapping.as_ref()).map_err(|list| errors.extend(list));
        let (limits, retry) = defaults(&system_id);
        let limits = config.limits.unwrap_or(limits);
        let retry = config.retry.unwrap_or(retry);
        check_numbers(limits, retry, &mut errors);
        if let Some(url) = &config.public_url
            && !(url.starts_with("https://") || url.starts_with("http://"))
        {
            errors.push(FieldError::new("public_url", "must be an absolute https URL"));
        }
        let default_exceeded = if system_id.as_str() == "github" { WhenExceeded::Queue } else { WhenExceeded::Reject };
        let when_exceeded = limits.when_exceeded.unwrap_or(default_exceeded);
        match (scheme, rule, outbound) {
            (Ok(scheme), Ok(rule), Ok(outbound)) if errors.is_empty() => {
                let batch = config.batch || is_hubspot;
                Ok(Self { system_id, config, scheme, rule, outbound, batch, limits, when_exceeded, retry })
            }
            _ => Err(errors),
        }
    }
}

fn check_numbers(limits: Limits, retry: RetryPolicy, errors: &mut Vec<FieldError>) {
    if limits.per_minute == 0 || limits.per_day == 0 {
        errors.push(FieldError::new(
            "limits",
            "per_minute and per_day must be at least 1; set active to false to refuse all",
        ));
    }
    if retry.max_attempts > 50 {
        errors.push(FieldError::new("retry.max_attempts", "must be at most 50"));
    }
    if !(1.0..=10.0).contains(&retry.backoff_factor) {
        errors.push(FieldError::new("retry.backoff_factor", "must be from 1 to 10"));
    }
    if !(0.1..=86_400.0).contains(&retry.base_delay_seconds) {
        errors.push(FieldError::new("retry.base_delay_seconds", "must be from 0.1 to 86400 seconds"));
    }
}

/// Contract §2, "What each system does": the scheme of each built-in system; `auto` for the others.
fn default_signature(system: &SystemId) -> SignatureConfig {
    match system.as_str() {
        "sarah_ai" | "payment_processor" => SignatureConfig::Custom {},
        "stripe" => SignatureConfig::Stripe {},
        "github" => SignatureConfig::Github {},
        _ => SignatureConfig::Auto {},
    }
}

/// Who sends says where to, and who says where to sends.
fn compile_outbound(config: &IntegrationConfig) -> Result<Option<Arc<Outbound>>, Vec<FieldError>> {
    let wrong = |message: &str| Err(vec![FieldError::new("outbound", message)]);
    match (&config.outbound, config.direction) {
        (None, Direction::Inbound) => Ok(None),
        (None, Direction::Outbound | Direction::Bidirectional) => {
            wrong("is required where data flows outward; give at least `base_url`, or set `direction` to inbound")
        }
        (Some(_), Direction::Inbound) => {
            wrong("needs `direction` to be outbound or bidirectional; set it, or leave `outbound` out")
        }
        (Some(json), _) => Ok(Some(Arc::new(Outbound::compile(json)?))),
    }
}

/// The preset whose notifications have a rule of their own, and come as arrays.
const HUBSPOT: &str = "hubspot";

fn compile_rule(system: &SystemId, usual: &str, own: Option<&Value>) -> Result<Arc<CompiledRule>, Vec<FieldError>> {
    let problems = |list: Vec<mapping::Problem>| {
        list.into_iter().map(|p| FieldError::new(format!("mapping.{}", p.field), p.message)).collect::<Vec<_>>()
    };
    let Some(json) = own else { return builtin_rule(usual).map_err(problems) };
    let mut rule = mapping::parse_rule(json).map_err(problems)?;
    system.as_str().clone_into(&mut rule.system_id);
    rule.compile().map(Arc::new).map_err(problems)
}

/// The built-in rule of this name, or one that names no events. Compiled once and shared by all tenants: a compiled rule
/// takes up to 140 KB.
fn builtin_rule(name: &str) -> Result<Arc<CompiledRule>, Vec<mapping::Problem>> {
    static COMPILED: Mutex<BTreeMap<&str, Arc<CompiledRule>>> = Mutex::new(BTreeMap::new());
    let name = BUILTIN_SYSTEMS.into_iter().chain([HUBSPOT]).find(|known| *known == name).unwrap_or_default();
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(rule) = compiled.get(name) {
        return Ok(Arc::clone(rule));
    }
    // A built-in rule is JSON: the mapping's tests read each.
    let json = mapping::builtin(name).and_then(|text| serde_json::from_str(text).ok());
    let rule = mapping::parse_rule(&json.unwrap_or_else(|| json!({"events": {}})))?;
    let rule = Arc::new(rule.compile()?);
    compiled.insert(name, Arc::clone(&rule));
    Ok(rule)
}

/// A tenant as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Tenant {
    /// What people call it.
    pub name: String,
    /// The region in which its phone numbers without a country code are read.
    pub default_region: Region,
    /// An inactive tenant's webhooks answer 404.
    pub active: bool,
    /// The outcomes that count as a success (contract §5).
    #[serde(default = "success_outcomes")]
    pub success_outcomes: Vec<String>,
    /// Whether it has, or had, a subscription: events are written only then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub publishes: bool,
    /// The systems that it sends records to, and which: their changes are marked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub syncs: BTreeMap<SystemId, Vec<Entity>>,
    /// Since when an operator deletes it with all that it has. It is inactive then, for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting_since: Option<Timestamp>,
}

impl Tenant {
    /// The systems that such records are sent to.
    pub fn synced(&self, entity: Entity) -> impl Iterator<Item = &SystemId> {
        self.syncs.iter().filter(move |(_, entities)| entities.contains(&entity)).map(|(system, _)| system)
    }
}

/// Contract §5.
#[must_use]
pub fn success_outcomes() -> Vec<String> {
    ["interested", "appointment_set", "sale"].map(str::to_owned).into()
}
