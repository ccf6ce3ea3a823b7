//! `provision-tenant`: an operator makes a tenant, or adds systems to one (contract §7). Invoked directly; IAM decides who
//! may.
//!
//! The order makes a crash at any point harmless: secrets first (of systems that don't exist yet, so nobody uses them),
//! then everything else in one transaction. Invoked again, it finds what is there and gives out only what it made now.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    connector::Entity,
    endpoint::Reach,
    hub::{Edge, Hub},
    ids::{SystemId, TenantId},
    integration::{FieldError, Tenant, success_outcomes},
    keys,
    lease::{self, SECRETS},
    phone::Region,
    receive::webhook_url,
    registration::{Registration, send_what_exists},
    registry::{integration_key, listed, tenant_key, tenant_of},
    secrets::{Secret, SystemSecrets, generate_secret},
    store::{ABSENT, Commit, Item, StoreError, Write},
    tenant::TenantContext,
};

/// What the operator sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    tenant_id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    default_region: Option<String>,
    #[serde(default)]
    success_outcomes: Option<Vec<String>>,
    #[serde(default)]
    integrations: Vec<Map<String, Value>>,
    #[serde(default)]
    reissue_api_key: bool,
}

/// What the operator gets. A `null` stands for what was given out before.
#[derive(Debug, Serialize)]
pub struct Provisioned {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The tenant's API key, once.
    pub api_key: Option<String>,
    /// The systems of the request, in its order.
    pub integrations: Vec<ProvisionedIntegration>,
}

/// One system.
#[derive(Debug, Serialize)]
pub struct ProvisionedIntegration {
    /// The system.
    pub system_id: SystemId,
    /// Where it sends its webhooks.
    pub webhook_url: String,
    /// What it signs them with, once.
    pub webhook_secret: Option<String>,
}

/// Why nothing was provisioned.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The request isn't valid.
    #[error("the request is not valid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// Another call is at work on the same tenant.
    #[error("another call provisions this tenant; try again in a minute")]
    Busy,
    /// The tenant is being deleted.
    #[error(
        "this tenant is being deleted; invoke administer-tenant with the action `delete` until it is done, then make it anew"
    )]
    Deleting,
    /// AWS fails.
    #[error("{0}; try again, nothing is lost or doubled by it")]
    Store(#[from] StoreError),
}

impl From<ProvisionError> for Diagnostic {
    fn from(error: ProvisionError) -> Self {
        let error_type = match error {
            ProvisionError::Invalid(_) => "InvalidRequest",
            ProvisionError::Busy => "Busy",
            ProvisionError::Deleting => "Deleting",
            ProvisionError::Store(_) => "Unavailable",
        };
        Self { error_type: error_type.into(), error_message: error.to_string() }
    }
}

/// A checked request.
struct Order {
    tenant_id: TenantId,
    tenant: Tenant,
    systems: Vec<Registration>,
    reissue_api_key: bool,
}

/// Systems in one call; with the tenant's own items they fit one transaction.
const INTEGRATIONS_MAX: usize = 50;

/// Answers one invocation.
///
/// # Errors
/// [`ProvisionError`], as Lambda reports errors.
pub async fn handle(edge: &Edge, event: LambdaEvent<Value>) -> Result<Provisioned, Diagnostic> {
    let answer = provision(edge, event.payload).await;
    match &answer {
        Ok(done) => {
            tracing::info!(tenant = %done.tenant_id, systems = done.integrations.len(), key = done.api_key.is_some(), "provisioned");
        }
        Err(error) => tracing::warn!(%error, "not provisioned"),
    }
    answer.map_err(Diagnostic::from)
}

async fn provision(edge: &Edge, request: Value) -> Result<Provisioned, ProvisionError> {
    let order = check(request, edge.settings.reach).map_err(ProvisionError::Invalid)?;
    // Only those whom IAM lets invoke this function come here.
    let context = TenantContext::authenticated(order.tenant_id.clone());
    let hub = &edge.acting_for(&context);
    let now = hub.now();
    let lease = lease::take(hub, &context, SECRETS).await?.ok_or(ProvisionError::Busy)?;
    let stored = hub.store.get(&tenant_key(context.tenant())).await?;
    let existing_tenant = stored.is_some();
    if stored.as_ref().and_then(tenant_of).is_some_and(|tenant| tenant.deleting_since.is_some()) {
        lease.give_back(hub).await;
        return Err(ProvisionError::Deleting);
    }
    let mut new = BTreeSet::new();
    for system in &order.systems {
        let id = &system.integration.system_id;
        if hub.store.get(&integration_key(context.tenant(), id)).await?.is_none() {
            new.insert(id.clone());
        }
    }
    let secrets = write_secrets(hub, &context, &order, &new).await?;
    let api_key =
        (!existing_tenant || order.reissue_api_key).then(|| keys::generate(context.tenant(), hub.random_bytes()));
    let synced = synced(&order, &new);
    if existing_tenant {
        for (system, entities) in &synced {
            send_what_exists(hub, &context, system, entities, None).await?;
        }
    }
    let mut writes = vec![lease.release()];
    writes.extend(tenant_write(&order, stored, synced, now)?);
    for system in order.systems.iter().filter(|s| new.contains(&s.integration.system_id)) {
        let doc = system.doc(&hub.settings.public_url, &order.tenant_id);
        let key = integration_key(context.tenant(), &system.integration.system_id);
        writes.push(put(Item::new(&key).text("doc", doc).text("created_at", now.to_string()), ABSENT));
    }
    if let Some(key) = &api_key {
        writes.push(put(keys::item(context.tenant(), key, &keys::Terms::all(), now), ""));
    }
    match hub.store.commit(writes).await? {
        Commit::Done => Ok(answer(hub, &order, api_key, secrets)),
        Commit::Conflict | Commit::Refused(_) => Err(ProvisionError::Busy),
    }
}

/// What is sent to which of the `new` systems.
fn synced(order: &Order, new: &BTreeSet<SystemId>) -> BTreeMap<SystemId, Vec<Entity>> {
    let new = order.systems.iter().map(|system| &system.integration).filter(|i| new.contains(&i.system_id));
    let synced = new.filter_map(|i| Some((i.system_id.clone(), i.outbound.as_ref()?.entities().collect())));
    synced.collect()
}

/// The tenant's own item, where it is new, or is to say of more systems that records are sent to them.
fn tenant_write(
    order: &Order,
    stored: Option<Item>,
    synced: BTreeMap<SystemId, Vec<Entity>>,
    now: Timestamp,
) -> Result<Option<Write>, StoreError> {
    let doc = |tenant: &Tenant| serde_json::to_string(tenant).unwrap_or_default();
    let Some(item) = stored else {
        let tenant = Tenant { syncs: synced, ..order.tenant.clone() };
        let item = listed(Item::new(&tenant_key(&order.tenant_id)).text("doc", doc(&tenant)), &order.tenant_id);
        return Ok(Some(put(item.text("created_at", now.to_string()), ABSENT)));
    };
    // Tenants that were made before there was a list of them get onto it.
    if synced.is_empty() && item.get_text("due_pk").is_some() {
        return Ok(None);
    }
    let item = listed(item, &order.tenant_id);
    let old = item.get_text("doc").unwrap_or_default().to_owned();
    let mut tenant: Tenant = serde_json::from_str(&old).map_err(|e| StoreError::Unavailable {
        operation: "read configuration",
        reason: format!("the stored tenant is unusable: {e}"),
    })?;
    tenant.syncs.extend(synced);
    let values = vec![(":doc", AttributeValue::S(old))];
    Ok(Some(Write::Put { item: item.text("doc", doc(&tenant)), condition: "doc = :doc", values }))
}

fn put(item: Item, condition: &'static str) -> Write {
    Write::Put { item, condition, values: Vec::new() }
}

/// Adds the secrets of the `new` systems to the tenant's document and gives them.
async fn write_secrets(
    hub: &Hub,
    context: &TenantContext,
    order: &Order,
    new: &BTreeSet<SystemId>,
) -> Result<BTreeMap<SystemId, String>, ProvisionError> {
    let stored = hub.secrets.read(context.tenant()).await?;
    let exists = stored.is_some();
    let mut document = stored.unwrap_or_default();
    let mut given = BTreeMap::new();
    let before = document.clone();
    for system in order.systems.iter().filter(|s| new.contains(&s.integration.system_id)) {
        let id = &system.integration.system_id;
        // A call that died after this step left a secret that nobody was told.
        let left = document.systems.get(id).and_then(|s| s.webhook.first()).map(|s| s.secret.clone());
        let secret = system.secret.clone().or(left).unwrap_or_else(|| generate_secret(hub.random_bytes()));
        let webhook = vec![Secret { secret: secret.clone(), expires_at: None }];
        let credentials = system.credentials.clone();
        document.systems.insert(id.clone(), SystemSecrets { webhook, credentials });
        given.insert(id.clone(), secret);
    }
    if document != before {
        hub.secrets.write(context.tenant(), &document, exists).await?;
    }
    Ok(given)
}

fn answer(hub: &Hub, order: &Order, api_key: Option<String>, mut secrets: BTreeMap<SystemId, String>) -> Provisioned {
    let integrations = order.systems.iter().map(|ordered| {
        let system_id = ordered.integration.system_id.clone();
        ProvisionedIntegration {
            webhook_url: webhook_url(&hub.settings.public_url, &order.tenant_id, &system_id),
            webhook_secret: secrets.remove(&system_id),
            system_id,
        }
    });
    Provisioned { tenant_id: order.tenant_id.clone(), api_key, integrations: integrations.collect() }
}

/// Checks everything and finds every error at once.
fn check(request: Value, reach: Reach) -> Result<Order, Vec<FieldError>> {
    let request: Request =
        serde_json::from_value(request).map_err(|e| vec![FieldError::new("request", e.to_string())])?;
    let mut errors = Vec::new();
    let tenant_id =
        TenantId::parse(&request.tenant_id).map_err(|e| errors.push(FieldError::new("tenant_id", e.to_string()))).ok();
    let region = match request.default_region {
        None => Some(Region::default()),
        Some(code) => code
            .parse()
            .map_err(|_| errors.push(FieldError::new("default_region", "must be an ISO 3166 code such as US")))
            .ok(),
    };
    if request.integrations.len() > INTEGRATIONS_MAX {
        errors.push(FieldError::new("integrations", format!("must be at most {INTEGRATIONS_MAX} in one call")));
    }
    let mut seen = BTreeSet::new();
    let mut systems = Vec::new();
    for (i, fields) in request.integrations.into_iter().enumerate() {
        match registration(fields, reach) {
            Ok(system) if seen.insert(system.integration.system_id.clone()) => systems.push(system),
            Ok(_) => errors.push(FieldError::new(format!("integrations[{i}].system_id"), "stands in the list twice")),
            Err(list) => errors
                .extend(list.into_iter().map(|e| FieldError::new(format!("integrations[{i}].{}", e.field), e.message))),
        }
    }
    match (tenant_id, region) {
        (Some(tenant_id), Some(default_region)) if errors.is_empty() => {
            let tenant = Tenant {
                name: request.name.unwrap_or_else(|| tenant_id.to_string()),
                default_region,
                active: true,
                success_outcomes: request.success_outcomes.unwrap_or_else(success_outcomes),
                publishes: false,
                syncs: BTreeMap::new(),
                deleting_since: None,
            };
            Ok(Order { tenant_id, tenant, systems, reissue_api_key: request.reissue_api_key })
        }
        _ => Err(errors),
    }
}

fn registration(mut fields: Map<String, Value>, reach: Reach) -> Result<Registration, Vec<FieldError>> {
    let wrong = |message: String| vec![FieldError::new("system_id", message)];
    let system_id = match fields.remove("system_id") {
        Some(Value::String(text)) => SystemId::parse(&text).map_err(|e| wrong(e.to_string()))?,
        _ => return Err(wrong("is required".to_owned())),
    };
    Registration::check(system_id, fields, reach, None)
}
