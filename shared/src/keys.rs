//! API keys: `smrt_<tenant>_<random>`, kept only as their hash.
//!
//! The tenant in the key leads to the tenant's own partition, so that checking a key is one read and touches nobody
//! else's data. The random part has 256 bits, so a plain SHA-256 keeps it as safe as a slow hash would.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ids::{TenantId, sha256_hex},
    registry::{tenant_key, tenant_of},
    store::{Item, Key, Range, Store, StoreError},
    view::json_of,
};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See.
    Read,
    /// Change.
    Write,
}

impl Scope {
    /// As stored and as the authorizer passes it on.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// A key that was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose key it is.
    pub tenant: TenantId,
    /// Tells keys apart in logs; no secret.
    pub key_id: String,
    /// What it may do, separated by spaces.
    pub scopes: String,
}

/// Makes a key from 256 random bits.
#[must_use]
pub fn generate(tenant: &TenantId, random: [u8; 32]) -> String {
    format!("smrt_{tenant}_{}", sha256_hex(&random))
}

/// What a new key is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What people call it.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
}

impl Terms {
    /// All scopes, and no end.
    #[must_use]
    pub fn all() -> Self {
        Self { name: None, scopes: vec![Scope::Read, Scope::Write], expires_at: None }
    }
}

/// The item of a new key.
#[must_use]
pub fn item(tenant: &TenantId, key: &str, terms: &Terms, now: Timestamp) -> Item {
    let given = [Scope::Read, Scope::Write].into_iter().filter(|scope| terms.scopes.contains(scope));
    let scopes: Vec<&str> = given.map(Scope::as_str).collect();
    let item =
        Item::new(&storage_key(tenant, key)).text("scopes", scopes.join(" ")).text("created_at", now.to_string());
    let item = item.text("name", terms.name.as_deref().unwrap_or_default());
    item.text("expires_at", terms.expires_at.map(|end| end.to_string()).unwrap_or_default())
}

/// Keys of one tenant, with those that were revoked lately.
pub const KEYS_MAX: usize = 100;
/// A key that was revoked is listed so long, for whoever looks into what happened.
const REVOKED_KEPT: Duration = Duration::from_hours(30 * 24);

/// The partition of a tenant's keys.
#[must_use]
pub fn partition(tenant: &TenantId) -> String {
    Key::of(tenant, KIND, "").pk
}

/// All of it: hashes, in hex. DynamoDB takes no empty text for a key.
#[must_use]
pub fn all() -> Range {
    Range { from: "0".to_owned(), to: "~".to_owned() }
}

/// An API key; the key itself isn't known.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ApiKey<'a> {
    id: String,
    name: Option<&'a str>,
    scopes: Vec<Scope>,
    created_at: Option<&'a str>,
    expires_at: Option<&'a str>,
    revoked_at: Option<&'a str>,
}

/// A key's item, shown; `None` where it isn't one.
#[must_use]
pub fn view(item: &Item) -> Option<Value> {
    let text = |name: &str| item.get_text(name).filter(|text| !text.is_empty());
    let has = |scope: &Scope| text("scopes").is_some_and(|scopes| scopes.split(' ').any(|one| one == scope.as_str()));
    Some(json_of(&ApiKey {
        id: format!("{ID_PREFIX}{}", key_id(item.get_text("sk")?)),
        name: text("name"),
        scopes: [Scope::Read, Scope::Write].into_iter().filter(has).collect(),
        created_at: text("created_at"),
        expires_at: text("expires_at"),
        revoked_at: text("revoked_at"),
    }))
}

/// The key of this id, if the tenant has it.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn find(store: &Store, tenant: &TenantId, id: &str) -> Result<Option<Item>, StoreError> {
    let Some(id) = id.strip_prefix(ID_PREFIX).filter(|id| id.len() == ID_CHARS) else { return Ok(None) };
    let page = store.range(&partition(tenant), &Range::prefixed(id), &[], (None, 1, true)).await?;
    Ok(page.items.into_iter().next())
}

/// The item of a key that isn't good any more.
#[must_use]
pub fn revoked(item: Item, now: Timestamp) -> Item {
    let end = now.saturating_add(REVOKED_KEPT).unwrap_or(Timestamp::MAX);
    item.text("revoked_at", now.to_string()).number("ttl", end.as_second())
}

const KIND: &str = "key";
const ID_PREFIX: &str = "key_";
const ID_CHARS: usize = 12;

fn key_id(hash: &str) -> &str {
    hash.get(..ID_CHARS).unwrap_or(hash)
}

fn storage_key(tenant: &TenantId, key: &str) -> Key {
    Key::of(tenant, KIND, sha256_hex(key.as_bytes()))
}

/// Looks a key up; `None` for any that isn't good.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn check(store: &Store, key: &str, now: Timestamp) -> Result<Option<Grant>, StoreError> {
    let tenant = key.strip_prefix("smrt_").and_then(|rest| TenantId::parse(rest.rsplit_once('_')?.0).ok());
    let Some(tenant) = tenant.filter(|_| key.len() <= KEY_BYTES_MAX) else { return Ok(None) };
    let place = storage_key(&tenant, key);
    // In one call, and consistently: a key counts from the moment that it is given out. A tenant that is suspended has none.
    let found = store.get_many(&[place.clone(), tenant_key(&tenant)]).await?;
    let [Some(item), Some(owner)] = <[Option<Item>; 2]>::try_from(found).unwrap_or_default() else { return Ok(None) };
    if !tenant_of(&owner).is_some_and(|tenant| tenant.active) {
        return Ok(None);
    }
    let expired = item.get_text("expires_at").and_then(|t| t.parse::<Timestamp>().ok()).is_some_and(|end| end <= now);
    let revoked = item.get_text("revoked_at").is_some();
    let key_id = key_id(&place.sk).to_owned();
    let grant = Grant { tenant, key_id, scopes: item.get_text("scopes").unwrap_or_default().to_owned() };
    Ok((!expired && !revoked).then_some(grant))
}

/// `smrt_`, a tenant of 64, `_`, and 64 hex digits.
const KEY_BYTES_MAX: usize = 5 + 64 + 1 + 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_tenant_and_differs_each_time() {
        let tenant = TenantId::parse("tenant_a-b").unwrap();
        let key = generate(&tenant, [1; 32]);
        assert!(key.starts_with("smrt_tenant_a-b_"));
        assert_ne!(key, generate(&tenant, [2; 32]));
        assert_eq!(storage_key(&tenant, &key).pk, "tenant_a-b#key");
        assert!(!storage_key(&tenant, &key).sk.contains(&key));
    }
}
