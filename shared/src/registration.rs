//! Registering a tenant's system: what the operator's `provision-tenant` and the tenant's own API have in common.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    connector::{Credentials, Entity, take_credentials},
    endpoint::Reach,
    hub::Hub,
    ids::{SystemId, TenantId},
    integration::{FieldError, Integration, IntegrationConfig},
    operation::SyncTask,
    receive::webhook_url,
    signature::UnsignedRequest,
    store::StoreError,
    sync::{job::ask, state::Scope},
    tenant::TenantContext,
};

/// A system as it was asked for, checked.
pub(crate) struct Registration {
    pub integration: Integration,
    /// What its webhooks are to be signed with, where that was given.
    pub secret: Option<String>,
    /// What we are to show it.
    pub credentials: Option<Credentials>,
}

/// What is known of a system that is registered again: its configuration, and what we show it.
pub(crate) type Before<'a> = (&'a IntegrationConfig, Option<&'a Credentials>);

const SECRET: &str = "webhook_secret";
const SECRET_FORM: &str = "must be text of 1 to 4096 bytes";

fn fits(secret: &str) -> bool {
    (1..=4096).contains(&secret.len())
}

impl Registration {
    /// Checks the fields of an integration with its secrets. Those that are known stay where they aren't given.
    ///
    /// # Errors
    /// Every [`FieldError`] at once.
    pub(crate) fn check(
        system_id: SystemId,
        mut fields: Map<String, Value>,
        reach: Reach,
        before: Option<Before<'_>>,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let secret = match fields.remove(SECRET) {
            None | Some(Value::Null) => None,
            Some(Value::String(secret)) if fits(&secret) => Some(secret),
            Some(_) => {
                errors.push(FieldError::new(SECRET, SECRET_FORM));
                None
            }
        };
        // They are never in DynamoDB.
        let credentials = fields.get_mut("outbound").map_or(Ok(None), take_credentials);
        let credentials = credentials.unwrap_or_else(|list| {
            errors.extend(list);
            None
        });
        let config = IntegrationConfig::read(fields, &[SECRET]);
        let integration = config.and_then(|config| Integration::compile(system_id, config));
        let integration = match integration {
            Ok(integration) if errors.is_empty() => integration,
            integration => {
                errors.extend(integration.err().into_iter().flatten());
                return Err(errors);
            }
        };
        let credentials = credentials.or_else(|| kept(&integration, before));
        check_outbound(&integration, credentials.as_ref(), reach)?;
        if let Some(secret) = &secret {
            check_secret(&integration, secret).map_err(|error| vec![FieldError::new(SECRET, error)])?;
        }
        Ok(Self { integration, secret, credentials })
    }

    /// The configuration as it is stored. The URL that we answer is part of it: some senders sign it.
    pub(crate) fn doc(&self, public_url: &str, tenant: &TenantId) -> String {
        let config = &self.integration.config;
        let url = || webhook_url(public_url, tenant, &self.integration.system_id);
        let public_url = Some(config.public_url.clone().unwrap_or_else(url));
        serde_json::to_string(&IntegrationConfig { public_url, ..config.clone() }).unwrap_or_default()
    }

    /// What is sent to it.
    pub(crate) fn entities(&self) -> Vec<Entity> {
        self.integration.outbound.iter().flat_map(|outbound| outbound.entities()).collect()
    }
}

/// Whether webhooks of the system can be signed with this secret.
///
/// # Errors
/// Why not, as the end of a sentence.
pub(crate) fn check_secret(integration: &Integration, secret: &str) -> Result<(), String> {
    if !fits(secret) {
        return Err(SECRET_FORM.to_owned());
    }
    let trial = UnsignedRequest { method: "POST", url: "https://example.com", body: b"{}" };
    let usable = integration.scheme.sign(&trial, "trial", &[secret], Timestamp::UNIX_EPOCH);
    usable.map(drop).map_err(|e| format!("can't be used with this signature scheme: {e}"))
}

/// The credentials that the system has, where they are of the same kind and for the same place: whoever may write the
/// configuration, but doesn't know them, must not be able to have them sent elsewhere.
fn kept(integration: &Integration, before: Option<Before<'_>>) -> Option<Credentials> {
    let (config, credentials) = before?;
    let credentials = credentials?;
    let (old, new) = (config.outbound.as_ref()?, integration.config.outbound.as_ref()?);
    let is_same = ["/base_url", "/auth/token_url", "/auth/type"].iter().all(|at| old.pointer(at) == new.pointer(at));
    let wanted = integration.outbound.as_ref()?.auth().secret_field();
    (is_same && wanted == Some(credentials.field())).then(|| credentials.clone())
}

/// What of an `outbound` depends on the deployment, and whether the secret that it needs is there.
fn check_outbound(
    integration: &Integration,
    credentials: Option<&Credentials>,
    reach: Reach,
) -> Result<(), Vec<FieldError>> {
    let Some(outbound) = &integration.outbound else { return Ok(()) };
    let mut errors = outbound.check(reach);
    if let (Some(field), None) = (outbound.auth().secret_field(), credentials) {
        errors.push(FieldError::new(
            format!("outbound.auth.{field}"),
            "is required, also where what it is sent to changes",
        ));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Has all records sent to a system that is new to a tenant with records, once every copy of every function knows it: what
/// changes until then isn't marked.
///
/// # Errors
/// [`StoreError`] where AWS doesn't take a job.
pub(crate) async fn send_what_exists(
    hub: &Hub,
    context: &TenantContext,
    system: &SystemId,
    entities: &[Entity],
    correlation_id: Option<&str>,
) -> Result<(), StoreError> {
    let due = hub.now().saturating_add(hub.settings.config_ttl + Duration::from_secs(5)).unwrap_or(Timestamp::MAX);
    for entity in entities {
        let scope = Scope { tenant: context.tenant().clone(), system: system.clone(), entity: *entity };
        ask(hub, &scope, SyncTask::MarkAll { after: None }, due, correlation_id).await?;
    }
    Ok(())
}
