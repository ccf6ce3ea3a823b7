//! Contacts and companies as the tenant's own CRM writes them.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value};

use super::{Call, invalid, not_found};
use crate::{
    connector::Entity,
    ids::{SystemId, derived},
    integration::{FieldError, Tenant},
    mapping::{self, MappedField, Merge, Outcome},
    problem::Problem,
    process::{Changed, Effect, ROUNDS_MAX, change, record_of, wait},
    record::DELETED,
    registry,
    store::Key,
    view,
};

/// The system that records of the tenant's own CRM are of: the `source_system` of all events.
const OWN_SYSTEM: &str = "smrt_crm";

/// The fields of a record that can be written.
fn writable(entity: Entity) -> &'static [&'static str] {
    match entity {
        Entity::Contact => {
            &["first_name", "last_name", "phone_number", "email", "company_id", "company_name", "custom_fields"]
        }
        Entity::Company => &["name", "domain", "phone_number", "custom_fields"],
        Entity::Interaction => &[],
    }
}

impl Call<'_> {
    /// Makes a record, or replaces it: fields that aren't given are emptied.
    pub(super) async fn put_record(&self, entity: Entity, id: &str) -> Result<(StatusCode, Value), Problem> {
        let tenant = self.own_tenant().await?;
        let is_id = id.strip_prefix(entity.kind().name()).and_then(|rest| rest.strip_prefix('_')).is_some_and(|rest| {
            (1..=60).contains(&rest.len())
                && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        });
        if !is_id {
            let form = format!("must be {}_ and up to 60 letters, digits, _ or -", entity.kind().name());
            return Err(invalid("id", form));
        }
        let fields = self.written(entity, &tenant)?;
        let existed = self.write(entity, id, &tenant, fields).await?;
        let key = Key::of(self.tenant(), entity.kind().name(), id);
        let item = self.hub.store.get(&key).await?.ok_or_else(|| not_found(entity.as_str()))?;
        let shown = view::record_item(entity.kind(), &item).ok_or_else(|| not_found(entity.as_str()))?;
        Ok((if existed { StatusCode::OK } else { StatusCode::CREATED }, shown))
    }

    pub(super) async fn delete_record(&self, entity: Entity, id: &str) -> Result<(StatusCode, Value), Problem> {
        let tenant = self.own_tenant().await?;
        let item = self.hub.store.get(&Key::of(self.tenant(), entity.kind().name(), id)).await?;
        if item.as_ref().and_then(record_of).is_none_or(|record| record.is_deleted()) {
            return Err(not_found(entity.as_str()));
        }
        let fields = BTreeMap::from([(DELETED.to_owned(), (true.into(), Merge::Last))]);
        self.write(entity, id, &tenant, fields).await?;
        Ok((StatusCode::NO_CONTENT, Value::Null))
    }

    async fn own_tenant(&self) -> Result<Tenant, Problem> {
        registry::tenant(&self.hub.store, self.context).await?.ok_or_else(|| not_found("tenant"))
    }

    /// The body's fields, checked by the rules of mappings; those that aren't given are empty.
    fn written(&self, entity: Entity, tenant: &Tenant) -> Result<BTreeMap<String, (Value, Merge)>, Problem> {
        let mut body = self.fields()?;
        // What an answer of ours has besides may be sent back as it is.
        for ours in ["id", "updated_at", "created_at", "system_id", "external_id"] {
            body.remove(ours);
        }
        let custom = match body.remove("custom_fields") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(custom)) => custom,
            Some(_) => return Err(invalid("custom_fields", "must be an object")),
        };
        let known = writable(entity);
        let unknown = |name: &&String| !known.contains(&name.as_str());
        let errors: Vec<FieldError> = body
            .keys()
            .filter(unknown)
            .map(|name| FieldError::new(name.clone(), format!("is not a field; it takes {}", known.join(", "))))
            .collect();
        if !errors.is_empty() {
            return Err(super::invalid_fields(errors));
        }
        let mut fields: BTreeMap<String, (Value, Merge)> = BTreeMap::new();
        for name in known.iter().filter(|name| **name != "custom_fields") {
            fields.insert((*name).to_owned(), (Value::Null, Merge::Last));
        }
        for (name, MappedField { value, merge }) in mapped(entity, &Value::Object(body), tenant)? {
            fields.insert(name, (value, merge));
        }
        fields.extend(custom.into_iter().map(|(key, value)| (format!("custom_fields.{key}"), (value, Merge::Last))));
        Ok(fields)
    }

    /// Writes the fields of a record, and says whether there was one.
    async fn write(
        &self,
        entity: Entity,
        id: &str,
        tenant: &Tenant,
        mut fields: BTreeMap<String, (Value, Merge)>,
    ) -> Result<bool, Problem> {
        let (hub, now) = (self.hub, self.hub.now());
        let system = SystemId::parse(OWN_SYSTEM).map_err(|e| invalid("system_id", e.to_string()))?;
        let key = Key::of(self.tenant(), entity.kind().name(), id);
        // A custom field that isn't given any more is emptied too.
        let before = hub.store.get(&key).await?.as_ref().and_then(record_of);
        let gone =
            before.iter().flat_map(|record| record.fields().map(|(name, _)| name.to_owned()).collect::<Vec<_>>());
        let is_deletion = fields.contains_key(DELETED);
        for name in gone.filter(|name| !is_deletion && name.starts_with("custom_fields")) {
            fields.entry(name).or_insert((Value::Null, Merge::Last));
        }
        fields.entry(DELETED.to_owned()).or_insert((false.into(), Merge::Last));
        let nonce = format!("{:032x}", (hub.random)());
        let event_key = derived("api", &[self.tenant().as_str(), id, &nonce]);
        let event_key = event_key.get(4..20).unwrap_or_default();
        for round in 0..ROUNDS_MAX {
            let mut effect = Effect::bare((self.tenant(), &system), (entity.kind(), id.to_owned()), event_key, now);
            effect.fields.clone_from(&fields);
            effect.publishes = tenant.publishes;
            effect.syncs = tenant.synced(entity).cloned().collect();
            match change(hub, &effect, &[]).await? {
                Changed::Done { before, .. } => return Ok(before.is_some_and(|(_, record)| !record.is_deleted())),
                Changed::Refused(_) => wait(hub, round).await,
                Changed::Obstacle(obstacle) => return Err(invalid("body", obstacle.sentence())),
            }
        }
        Err(Problem::new(StatusCode::CONFLICT, "busy", "others change the same record at the moment; try again"))
    }
}

/// The fields as a mapping takes them in: numbers in E.164, texts of a bounded length.
fn mapped(entity: Entity, body: &Value, tenant: &Tenant) -> Result<BTreeMap<String, MappedField>, Problem> {
    let rule = mapping::own_rule(entity).map_err(|e| invalid("body", e.to_string()))?;
    match rule.map(Some("*"), body, &tenant.default_region) {
        Outcome::Mapped(mapped) if mapped.warnings.is_empty() => Ok(mapped.fields),
        Outcome::Mapped(mapped) => {
            let error = |warning: &String| {
                let (name, why) = warning.split_once(" was left out: ").unwrap_or(("body", warning));
                FieldError::new(name, why)
            };
            Err(super::invalid_fields(mapped.warnings.iter().map(error).collect()))
        }
        Outcome::Failed { error, .. } => Err(invalid("body", error)),
        Outcome::Ignored { .. } => Ok(BTreeMap::new()),
    }
}
