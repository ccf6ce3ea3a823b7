//! API keys: making, listing and revoking them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Call, invalid_fields, not_found};
use crate::{
    integration::FieldError,
    keys::{self, KEYS_MAX, Scope},
    problem::{Code, Problem},
};

const NAME_CHARS_MAX: usize = 100;

/// A key, as it is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    #[schemars(length(max = 100))]
    name: Option<String>,
    #[serde(default = "all")]
    #[schemars(length(min = 1))]
    scopes: Vec<Scope>,
    /// In the future; never, by default.
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

fn all() -> Vec<Scope> {
    vec![Scope::Read, Scope::Write]
}

impl Call<'_> {
    pub(super) async fn api_keys(&self) -> Result<Value, Problem> {
        self.only(&["limit", "cursor"])?;
        self.page_of(&keys::partition(self.tenant()), &keys::all(), &[], true, keys::view).await
    }

    /// The key itself is shown this once.
    pub(super) async fn create_api_key(&self) -> Result<Value, Problem> {
        let (hub, now) = (self.hub, self.hub.now());
        let Wanted { name, scopes, expires_at } = self.read(&["name", "scopes", "expires_at"])?;
        let mut errors = Vec::new();
        if name.as_ref().is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
            errors.push(FieldError::new("name", format!("must be at most {NAME_CHARS_MAX} characters")));
        }
        if scopes.is_empty() {
            errors.push(FieldError::new("scopes", "must name `read`, `write` or both"));
        }
        if expires_at.is_some_and(|end| end <= now) {
            errors.push(FieldError::new("expires_at", "must be in the future"));
        }
        if !errors.is_empty() {
            return Err(invalid_fields(errors));
        }
        let most = i32::try_from(KEYS_MAX).unwrap_or(i32::MAX);
        let page = hub.store.range(&keys::partition(self.tenant()), &keys::all(), &[], (None, most, true)).await?;
        if page.items.len() >= KEYS_MAX {
            let detail =
                format!("a tenant has at most {KEYS_MAX} keys, with those revoked lately; wait, or use one of them");
            return Err(Problem::new(Code::TooManyApiKeys, detail));
        }
        let key = keys::generate(self.tenant(), hub.random_bytes());
        let item = keys::item(self.tenant(), &key, &keys::Terms { name, scopes, expires_at }, now);
        let view = keys::view(&item);
        hub.store.put(item, "", Vec::new()).await?.ok();
        let mut view = view.ok_or_else(super::internal)?;
        if let Some(fields) = view.as_object_mut() {
            fields.insert("key".into(), key.into());
        }
        Ok(view)
    }

    /// It ends within a minute: so long the gateway remembers that it was good.
    pub(super) async fn revoke_api_key(&self, id: &str) -> Result<(), Problem> {
        let found = keys::find(&self.hub.store, self.tenant(), id).await?;
        let item = found.filter(|item| item.get_text("revoked_at").is_none()).ok_or_else(|| not_found("API key"))?;
        self.hub.store.put(keys::revoked(item, self.hub.now()), "", Vec::new()).await?.ok();
        Ok(())
    }
}
