//! The tenants' secrets: one document per tenant in AWS Secrets Manager, since each secret costs $0.40 a month.
//!
//! The document is cached. A signature that fails makes one fresh look, so that a rotation works at once, but at most one
//! per tenant and copy in 30 s, so that forged signatures cost the forger and not us.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_sdk_secretsmanager::{Client, error::SdkError, operation::get_secret_value::GetSecretValueError};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    cache::Cache,
    connector::Credentials,
    hub::{Lazy, Settings},
    ids::{SystemId, TenantId},
    store::{StoreError, classify},
};

/// Contract §2: "at most one fresh look at the tenant's secrets per process in 30 s".
const FRESH_LOOK_EVERY: Duration = Duration::from_secs(30);
/// What the remembered documents may take; one of five systems takes about 1 KB.
const DOCUMENTS_BYTES_MAX: usize = 2_000_000;
/// What the times of the last looks may take.
const LOOKS_BYTES_MAX: usize = 500_000;

/// One secret of a system and how long it counts.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Secret {
    /// The secret itself.
    pub secret: String,
    /// When it stops to count, where it is the older one of a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What one system has in the document.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct SystemSecrets {
    /// Secrets that its webhooks are signed with, the newest first.
    #[serde(default)]
    pub webhook: Vec<Secret>,
    /// What we show the system when we call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}

/// What one subscription has in the document.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct SubscriptionSecrets {
    /// Counts the rotations: the subscription's item says which it needs at least.
    #[serde(default)]
    pub version: i64,
    /// Secrets that its deliveries are signed with, the newest first.
    #[serde(default)]
    pub signing: Vec<Secret>,
}

/// The document of one tenant.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Document {
    /// By system.
    #[serde(default)]
    pub systems: BTreeMap<SystemId, SystemSecrets>,
    /// By subscription.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub subscriptions: BTreeMap<String, SubscriptionSecrets>,
}

impl Document {
    /// The secrets of `system` that count at `now`, the newest first.
    #[must_use]
    pub fn webhook_secrets(&self, system: &SystemId, now: Timestamp) -> Vec<&str> {
        current(self.systems.get(system).map(|s| s.webhook.as_slice()).unwrap_or_default(), now)
    }

    /// What we show `system` when we call it.
    #[must_use]
    pub fn credentials(&self, system: &SystemId) -> Option<&Credentials> {
        self.systems.get(system)?.credentials.as_ref()
    }

    /// The secrets of a subscription that count at `now`, the newest first; empty where this document is older than
    /// `version`.
    #[must_use]
    pub fn signing_secrets(&self, subscription: &str, version: i64, now: Timestamp) -> Vec<&str> {
        let found = self.subscriptions.get(subscription).filter(|secrets| secrets.version >= version);
        current(found.map(|secrets| secrets.signing.as_slice()).unwrap_or_default(), now)
    }
}

fn current(secrets: &[Secret], now: Timestamp) -> Vec<&str> {
    secrets.iter().filter(|s| s.expires_at.is_none_or(|end| now < end)).map(|s| s.secret.as_str()).collect()
}

/// Makes `secret` the newest of `secrets`. Those before it count until `overlap_end`, and those that are over go.
pub fn rotate(secrets: &mut Vec<Secret>, secret: String, (now, overlap_end): (Timestamp, Timestamp)) {
    secrets.retain(|old| old.expires_at.is_none_or(|end| now < end));
    for old in secrets.iter_mut() {
        old.expires_at = Some(old.expires_at.map_or(overlap_end, |end| end.min(overlap_end)));
    }
    secrets.insert(0, Secret { secret, expires_at: None });
    secrets.truncate(SECRETS_MAX);
}

/// Secrets of one owner that count at once: each makes a signature longer, and the document has room for 64 KiB.
const SECRETS_MAX: usize = 5;

/// A new secret of 256 random bits, in the form that Standard Webhooks and Stripe give them.
#[must_use]
pub fn generate_secret(random: [u8; 32]) -> String {
    format!("{SECRET_PREFIX}{}", BASE64.encode(random))
}

const SECRET_PREFIX: &str = "whsec_";

/// Whether any Standard Webhooks library takes it: 24 to 64 bytes in base64 after `whsec_`
/// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
#[must_use]
pub fn is_subscription_secret(secret: &str) -> bool {
    let bytes = secret.strip_prefix(SECRET_PREFIX).and_then(|text| BASE64.decode(text).ok());
    bytes.is_some_and(|bytes| (24..=64).contains(&bytes.len()))
}

// Secrets never reach a log: not even by way of `{:?}`.
impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (systems, subscriptions) = (self.systems.keys(), self.subscriptions.keys());
        f.debug_struct("Document").field("systems", &systems).field("subscriptions", &subscriptions).finish()
    }
}

/// Secrets Manager with a cache before it.
pub struct Secrets {
    client: Lazy<Client>,
    prefix: String,
    ttl: Duration,
    cache: Cache<TenantId, Arc<Document>>,
    looks: Cache<TenantId, ()>,
}

impl Secrets {
    /// Makes no call.
    #[must_use]
    pub fn new(client: Lazy<Client>, settings: &Settings) -> Self {
        Self {
            client,
            prefix: settings.secrets_prefix.clone(),
            ttl: settings.secrets_ttl,
            cache: Cache::new(DOCUMENTS_BYTES_MAX),
            looks: Cache::new(LOOKS_BYTES_MAX),
        }
    }

    /// The tenant's document, from the cache where it is young enough, or can't be read anew; empty where the tenant has
    /// none.
    ///
    /// # Errors
    /// [`StoreError`] where Secrets Manager fails.
    pub async fn get(&self, tenant: &TenantId, now: Timestamp) -> Result<Arc<Document>, StoreError> {
        if let Some(document) = self.cache.fresh(tenant, self.ttl, now) {
            return Ok(document);
        }
        let loaded = self.load(tenant, now).await;
        loaded.or_else(|error| self.cache.last_known(tenant, now).ok_or(error))
    }

    /// After a signature failed with `seen`: the document as it is now, if it is another one and a look is allowed.
    pub async fn changed(&self, tenant: &TenantId, seen: &Document, now: Timestamp) -> Option<Arc<Document>> {
        if self.looks.fresh(tenant, FRESH_LOOK_EVERY, now).is_some() {
            return None;
        }
        self.looks.put(tenant.clone(), (), 0, now);
        let document = self.load(tenant, now).await.ok()?;
        (*document != *seen).then_some(document)
    }

    /// The document, and not an older one than says `version` of this subscription.
    ///
    /// # Errors
    /// [`StoreError`] where Secrets Manager fails.
    pub async fn for_subscription(
        &self,
        tenant: &TenantId,
        (subscription, version): (&str, i64),
        now: Timestamp,
    ) -> Result<Arc<Document>, StoreError> {
        let document = self.get(tenant, now).await?;
        let is_known = document.subscriptions.get(subscription).is_some_and(|secrets| secrets.version >= version);
        if is_known { Ok(document) } else { self.load(tenant, now).await }
    }

    async fn load(&self, tenant: &TenantId, now: Timestamp) -> Result<Arc<Document>, StoreError> {
        let document = Arc::new(self.read(tenant).await?.unwrap_or_default());
        let webhook = document.systems.values().flat_map(|s| &s.webhook);
        let signing = document.subscriptions.values().flat_map(|s| &s.signing);
        let credentials = document.systems.values().filter_map(|s| s.credentials.as_ref());
        let own: usize = credentials.map(|credentials| 100 + credentials.secret().len()).sum();
        let bytes = own + webhook.chain(signing).map(|s| 100 + s.secret.len()).sum::<usize>();
        self.cache.put(tenant.clone(), document.clone(), bytes, now);
        Ok(document)
    }

    /// The document as Secrets Manager has it now, for changing it.
    ///
    /// # Errors
    /// [`StoreError`] where Secrets Manager fails or the document isn't of our form.
    pub async fn read(&self, tenant: &TenantId) -> Result<Option<Document>, StoreError> {
        let answer = match self.client.get_secret_value().secret_id(self.name(tenant)).send().await {
            Ok(answer) => answer,
            Err(SdkError::ServiceError(e)) if matches!(e.err(), GetSecretValueError::ResourceNotFoundException(_)) => {
                return Ok(None);
            }
            Err(error) => return Err(classify("GetSecretValue", error)),
        };
        // The parser's own message could quote the text, that is a secret.
        serde_json::from_str(answer.secret_string().unwrap_or_default()).map(Some).map_err(|_| {
            StoreError::Unavailable {
                operation: "GetSecretValue",
                reason: format!(
                    "the secret {} isn't a document of ours; restore its previous version",
                    self.name(tenant)
                ),
            }
        })
    }

    /// Replaces the document (`exists`) or makes it.
    ///
    /// # Errors
    /// [`StoreError`] where Secrets Manager fails.
    pub async fn write(&self, tenant: &TenantId, document: &Document, exists: bool) -> Result<(), StoreError> {
        let text = serde_json::to_string(document).map_err(|_| StoreError::Rejected {
            operation: "PutSecretValue",
            reason: "the document can't be written as JSON".into(),
        })?;
        let name = self.name(tenant);
        if exists {
            let request = self.client.put_secret_value().secret_id(name).secret_string(text);
            request.send().await.map_err(|e| classify("PutSecretValue", e))?;
        } else {
            let request = self.client.create_secret().name(name).secret_string(text);
            request.send().await.map_err(|e| classify("CreateSecret", e))?;
        }
        self.cache.remove(tenant);
        Ok(())
    }

    /// Deletes the document at once, without a time in which it could be had back: the tenant may be made anew.
    ///
    /// # Errors
    /// [`StoreError`] where Secrets Manager fails.
    pub async fn delete(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let request = self.client.delete_secret().secret_id(self.name(tenant)).force_delete_without_recovery(true);
        self.cache.remove(tenant);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(e)) if e.err().is_resource_not_found_exception() => Ok(()),
            Err(error) => Err(classify("DeleteSecret", error)),
        }
    }

    fn name(&self, tenant: &TenantId) -> String {
        format!("{}{tenant}", self.prefix)
    }
}
