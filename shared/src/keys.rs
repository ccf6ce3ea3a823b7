//! API keys: `smrt_<tenant>_<random>`, kept only as their hash.
//!
//! The tenant in the key leads to the tenant's own partition, so that checking a key is one read and touches nobody
//! else's data. The random part has 256 bits, so a plain SHA-256 keeps it as safe as a slow hash would.

use jiff::Timestamp;

use crate::{
    ids::{TenantId, sha256_hex},
    store::{Item, Key, Store, StoreError},
};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The item of a new key, with all scopes.
#[must_use]
pub fn item(tenant: &TenantId, key: &str, now: Timestamp) -> Item {
    Item::new(&storage_key(tenant, key)).text("scopes", "read write").text("created_at", now.to_string())
}

fn storage_key(tenant: &TenantId, key: &str) -> Key {
    Key::of(tenant, "key", sha256_hex(key.as_bytes()))
}

/// Looks a key up; `None` for any that isn't good.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn check(store: &Store, key: &str, now: Timestamp) -> Result<Option<Grant>, StoreError> {
    let tenant = key.strip_prefix("smrt_").and_then(|rest| TenantId::parse(rest.rsplit_once('_')?.0).ok());
    let Some(tenant) = tenant.filter(|_| key.len() <= KEY_BYTES_MAX) else { return Ok(None) };
    let place = storage_key(&tenant, key);
    let Some(item) = store.get(&place).await? else { return Ok(None) };
    let expired = item.get_text("expires_at").and_then(|t| t.parse::<Timestamp>().ok()).is_some_and(|end| end <= now);
    let revoked = item.get_text("revoked_at").is_some();
    let key_id = place.sk.get(..12).unwrap_or_default().to_owned();
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
