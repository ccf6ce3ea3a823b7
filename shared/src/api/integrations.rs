//! Integrations: registering, reading and removing them, and their webhook secrets.
//!
//! A change of secrets holds the tenant's lease. The order makes a crash at any point harmless: a secret without an
//! integration is nobody's, and counts when that is registered again.

use aws_sdk_dynamodb::types::AttributeValue;
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Answer, Call, busy, internal, invalid, invalid_fields, not_found};
use crate::{
    connector::Entity,
    ids::{SystemId, TenantId},
    integration::{Integration, IntegrationConfig, Tenant},
    partitions::system_gone,
    problem::{Code, Problem},
    receive::webhook_url,
    registration::{Registration, check_secret, send_what_exists},
    registry::{integration_key, integration_of, integrations, tenant_key},
    secrets::{Secret, SystemSecrets, generate_secret, rotate},
    store::{ABSENT, Commit, Item, Write},
    view::json_of,
};

/// Their secrets share one document of 64 KiB.
const INTEGRATIONS_MAX: usize = 100;
/// What an answer of ours has besides what can be written; it may be sent back as it is.
const READ_ONLY: [&str; 4] = ["system_id", "webhook_url", "created_at", "updated_at"];
const WHAT: &str = "integration";

/// A system's new webhook secret.
#[derive(Serialize, JsonSchema)]
pub(super) struct Rotated {
    system_id: SystemId,
    /// Shown this once.
    secret: String,
    old_secret_expires_at: Timestamp,
}

/// An integration as it is stored.
struct Stored {
    system: SystemId,
    doc: String,
    config: IntegrationConfig,
    item: Item,
}

impl Stored {
    fn from_item(item: Item) -> Option<Self> {
        let system = integration_of(item.get_text("sk")?)?;
        let doc = item.get_text("doc")?.to_owned();
        let config = serde_json::from_str(&doc).ok()?;
        Some(Self { system, doc, config, item })
    }
}

impl Call<'_> {
    pub(super) async fn integrations(&self) -> Result<Value, Problem> {
        self.only(&["limit", "cursor"])?;
        let view = |item: &Item| Stored::from_item(item.clone()).and_then(|stored| self.shown(&stored));
        let (partition, range) = integrations(self.tenant());
        self.page_of(&partition, &range, &[], true, view).await
    }

    pub(super) async fn integration(&self, system: &str) -> Result<Value, Problem> {
        let stored = self.stored_integration(&known(system)?).await?.ok_or_else(|| not_found(WHAT))?;
        self.shown(&stored).ok_or_else(|| internal())
    }

    async fn stored_integration(&self, system: &SystemId) -> Result<Option<Stored>, Problem> {
        Ok(self.hub.store.get(&integration_key(self.tenant(), system)).await?.and_then(Stored::from_item))
    }

    fn shown(&self, stored: &Stored) -> Option<Value> {
        shown(&self.public_url(), self.tenant(), stored)
    }

    /// Registers a system, or replaces what is registered. Secrets that aren't given stay, or are made.
    pub(super) async fn put_integration(&self, system: &str) -> Result<Answer, Problem> {
        let system = SystemId::parse(system).map_err(|e| invalid("system_id", e.to_string()))?;
        let mut fields = self.settings()?;
        fields.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
        let before = self.stored_integration(&system).await?;
        // What is wrong is told before anything is held.
        let document = self.hub.secrets.get(self.tenant(), self.hub.now()).await?;
        self.registration(&system, &fields, before.as_ref(), &document)?;
        self.check_preconditions(before.as_ref().and_then(|stored| self.shown(stored)).as_ref())?;
        if before.is_none() {
            self.check_room().await?;
        }
        let lease = self.secrets_lease().await?;
        let document = self.hub.secrets.read(self.tenant()).await?.unwrap_or_default();
        let registration = match self.registration(&system, &fields, before.as_ref(), &document) {
            Ok(registration) => registration,
            Err(problem) => {
                lease.give_back(self.hub).await;
                return Err(problem);
            }
        };
        let secret = self.write_secrets(&registration).await?;
        let mut writes = vec![self.integration_write(&registration, before.as_ref())];
        writes.extend(self.synced_write(&system, Some(&registration)).await?);
        self.commit_and_release(writes, lease).await?;
        let view = self.integration(system.as_str()).await?;
        let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        Ok(Answer::new(status, view).with_tag().besides("webhook_secret", secret))
    }

    fn registration(
        &self,
        system: &SystemId,
        fields: &Map<String, Value>,
        before: Option<&Stored>,
        document: &crate::secrets::Document,
    ) -> Result<Registration, Problem> {
        let before = before.map(|stored| (&stored.config, document.credentials(system)));
        let reach = self.hub.settings.reach;
        Registration::check(system.clone(), fields.clone(), reach, before).map_err(invalid_fields)
    }

    async fn check_room(&self) -> Result<(), Problem> {
        let (partition, range) = integrations(self.tenant());
        let most = i32::try_from(INTEGRATIONS_MAX).unwrap_or(i32::MAX);
        let page = self.hub.store.range(&partition, &range, &[], (None, most, true)).await?;
        if page.items.len() < INTEGRATIONS_MAX {
            return Ok(());
        }
        let detail = format!("a tenant has at most {INTEGRATIONS_MAX} integrations; remove one that isn't needed");
        Err(Problem::new(Code::TooManyIntegrations, detail))
    }

    /// Writes what is secret of a registration. Gives the webhook secret where it is new: it is shown this once.
    async fn write_secrets(&self, registration: &Registration) -> Result<Option<String>, Problem> {
        let id = &registration.integration.system_id;
        let made = generate_secret(self.hub.random_bytes());
        let mut shown = None;
        self.change_secrets(|document| {
            let own = document.systems.entry(id.clone()).or_insert_with(SystemSecrets::default);
            own.credentials.clone_from(&registration.credentials);
            let newest = own.webhook.first().map(|secret| secret.secret.clone());
            let wanted = registration.secret.clone().or(newest.clone()).unwrap_or(made);
            if newest.as_ref() != Some(&wanted) {
                own.webhook = vec![Secret { secret: wanted.clone(), expires_at: None }];
                shown = Some(wanted);
            }
        })
        .await?;
        Ok(shown)
    }

    fn integration_write(&self, registration: &Registration, before: Option<&Stored>) -> Write {
        let key = integration_key(self.tenant(), &registration.integration.system_id);
        let now = self.hub.now().to_string();
        let created = before.and_then(|stored| stored.item.get_text("created_at")).unwrap_or(&now);
        let item = Item::new(&key).text("created_at", created).text("updated_at", now.as_str());
        let item = item.text("doc", registration.doc(&self.public_url(), self.tenant()));
        match before {
            None => Write::Put { item, condition: ABSENT, values: Vec::new() },
            Some(stored) => {
                let values = vec![(":doc", AttributeValue::S(stored.doc.clone()))];
                Write::Put { item, condition: "doc = :doc", values }
            }
        }
    }

    /// What says in the tenant's own item which records are sent to the system; nothing where that stays. Records that are new
    /// to it are sent.
    async fn synced_write(
        &self,
        system: &SystemId,
        registration: Option<&Registration>,
    ) -> Result<Option<Write>, Problem> {
        let item = self.hub.store.get(&tenant_key(self.tenant())).await?.ok_or_else(|| not_found("tenant"))?;
        let doc = item.get_text("doc").unwrap_or_default().to_owned();
        let mut tenant: Tenant = serde_json::from_str(&doc).map_err(|_| internal())?;
        let before = tenant.syncs.remove(system).unwrap_or_default();
        let now = registration.map(Registration::entities).unwrap_or_default();
        if before == now {
            return Ok(None);
        }
        let new: Vec<Entity> = now.iter().filter(|entity| !before.contains(entity)).copied().collect();
        send_what_exists(self.hub, self.context, system, &new, self.request_id).await?;
        if !now.is_empty() {
            tenant.syncs.insert(system.clone(), now);
        }
        let new_doc = serde_json::to_string(&tenant).map_err(|_| internal())?;
        let values = vec![(":doc", AttributeValue::S(doc))];
        Ok(Some(Write::Put { item: item.text("doc", new_doc), condition: "doc = :doc", values }))
    }

    /// Removes a system: its webhooks answer 404 then. What it sent stays, and so does what ties records to it.
    pub(super) async fn delete_integration(&self, system: &str) -> Result<(), Problem> {
        let system = known(system)?;
        let stored = self.stored_integration(&system).await?.ok_or_else(|| not_found(WHAT))?;
        self.check_preconditions(self.shown(&stored).as_ref())?;
        let lease = self.secrets_lease().await?;
        let mut writes =
            vec![Write::Delete(integration_key(self.tenant(), &system)), system_gone(self.tenant(), &system)];
        writes.extend(self.synced_write(&system, None).await?);
        match self.hub.store.commit(writes).await? {
            Commit::Done => {}
            Commit::Conflict | Commit::Refused(_) => return Err(busy()),
        }
        self.change_secrets(|document| {
            document.systems.remove(&system);
        })
        .await?;
        lease.give_back(self.hub).await;
        Ok(())
    }

    /// A new webhook secret, that is shown once; the old one counts for a while too.
    pub(super) async fn rotate_integration_secret(&self, system: &str) -> Result<Value, Problem> {
        let (hub, system, rotation) = (self.hub, known(system)?, self.rotation()?);
        let stored = self.stored_integration(&system).await?.ok_or_else(|| not_found(WHAT))?;
        let integration = Integration::compile(system.clone(), stored.config).map_err(|_| internal())?;
        let secret = rotation.secret.clone().unwrap_or_else(|| generate_secret(hub.random_bytes()));
        check_secret(&integration, &secret).map_err(|error| invalid("secret", error))?;
        let now = hub.now();
        let end = now.saturating_add(rotation.overlap()).unwrap_or(now);
        let lease = self.secrets_lease().await?;
        self.change_secrets(|document| {
            let own = document.systems.entry(system.clone()).or_insert_with(SystemSecrets::default);
            rotate(&mut own.webhook, secret.clone(), (now, end));
        })
        .await?;
        lease.give_back(hub).await;
        Ok(json_of(&Rotated { system_id: system, secret, old_secret_expires_at: end }))
    }
}

/// The item of an integration as the API shows it; `None` where it isn't one.
pub(crate) fn view(public_url: &str, tenant: &TenantId, item: &Item) -> Option<Value> {
    shown(public_url, tenant, &Stored::from_item(item.clone())?)
}

/// With the defaults filled in, and without what is secret.
fn shown(public_url: &str, tenant: &TenantId, stored: &Stored) -> Option<Value> {
    let integration = Integration::compile(stored.system.clone(), stored.config.clone()).ok()?;
    let mut view = json!({
        "system_id": stored.system,
        "webhook_url": webhook_url(public_url, tenant, &stored.system),
        "signature": integration.signature(),
        "limits": {
            "per_minute": integration.limits.per_minute,
            "per_day": integration.limits.per_day,
            "when_exceeded": integration.when_exceeded,
        },
        "retry": integration.retry,
        "created_at": stored.item.get_text("created_at"),
        "updated_at": stored.item.get_text("updated_at").or(stored.item.get_text("created_at")),
    });
    let own = serde_json::to_value(&stored.config).ok()?;
    let (fields, own) = (view.as_object_mut()?, own.as_object()?.clone());
    for (name, value) in own {
        fields.entry(name).or_insert(value);
    }
    Some(view)
}

/// A name that is none was never registered.
fn known(system: &str) -> Result<SystemId, Problem> {
    SystemId::parse(system).map_err(|_| not_found(WHAT))
}
