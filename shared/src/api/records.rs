//! Contacts and companies as the tenant's own CRM writes them.

use std::collections::BTreeMap;

use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    Answer, Call, busy,
    call::{precondition_failed, unknown_fields},
    history::e164,
    invalid, not_found,
};
use crate::{
    connector::Entity,
    ids::{SystemId, derived},
    integration::{FieldError, Tenant},
    mapping::{self, MappedField, Merge, Outcome},
    phone::Region,
    problem::Problem,
    process::{Changed, Effect, Obstacle, ROUNDS_MAX, change, record_of, stored, wait},
    record::{DELETED, Record, Stamp},
    registry,
    store::{Item, Key, Range},
    sync::matches,
    view,
};

/// The system that records of the tenant's own CRM are of: the `source_system` of all events.
const OWN_SYSTEM: &str = "smrt_crm";

/// The clocks of our copies differ by so much at most: AWS keeps them within milliseconds.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_millis(100);

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

/// Records that are found by one value. Their ids are read in one query.
const ALIKE_MAX: i32 = 1_000;

/// A record before a change.
struct Before {
    /// With its version, also where it is deleted.
    stored: Option<(i64, Record)>,
    /// As it is shown, where it exists.
    shown: Option<Value>,
}

impl Call<'_> {
    /// All of them, by their ids; or those that have a value by which records are told apart.
    pub(super) async fn list_records(&self, entity: Entity) -> Result<Value, Problem> {
        let (kind, telling) = (entity.kind(), matches::telling(entity.kind()));
        self.only(&[telling, &["limit", "cursor"]].concat())?;
        let view = |item: &Item| {
            record_of(item).filter(|record| !record.is_deleted()).and_then(|_| view::record_item(kind, item))
        };
        let asked: Vec<(&str, String)> = telling.iter().filter_map(|name| Some((*name, self.query(name)?))).collect();
        let Some(((name, value), others)) = asked.split_first() else {
            let partition = Key::of(self.tenant(), kind.name(), "").pk;
            return self.page_of(&partition, &Range::prefixed(&format!("{}_", kind.name())), &[], true, view).await;
        };
        let mut ids = self.ids_having(entity, name, value).await?;
        for (name, value) in others {
            let having = self.ids_having(entity, name, value).await?;
            ids.retain(|id| having.contains(id));
        }
        let filters: Vec<(&str, &str)> = asked.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let cursors = self.cursors(kind.name(), &filters, &[]);
        if let Some((_, Key { sk: last, .. })) = self.after(&cursors)? {
            ids.retain(|id| *id > last);
        }
        let limit = usize::try_from(self.limit()?).unwrap_or_default();
        let has_more = ids.len() > limit;
        ids.truncate(limit);
        let keys: Vec<Key> = ids.into_iter().map(|id| Key::of(self.tenant(), kind.name(), id)).collect();
        let next = keys.last().filter(|_| has_more).map(|last| cursors.encode(&last.sk, last));
        let found = self.hub.store.get_many(&keys).await?;
        let data: Vec<Value> = found.iter().flatten().filter_map(view).collect();
        Ok(json!({"data": data, "next_cursor": next}))
    }

    async fn ids_having(&self, entity: Entity, name: &str, value: &str) -> Result<Vec<String>, Problem> {
        let value = telling_value(entity, name, value)?;
        Ok(matches::having(self.hub, self.tenant(), entity.kind(), (name, &value), ALIKE_MAX).await?)
    }

    /// Makes a record, or replaces it: fields that aren't given are emptied.
    pub(super) async fn put_record(&self, entity: Entity, id: &str) -> Result<Answer, Problem> {
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
        let before = self.before(entity, id).await?;
        self.check_preconditions(before.shown.as_ref())?;
        let existed = self.write((entity, id), &tenant, before, fields).await?;
        let key = Key::of(self.tenant(), entity.kind().name(), id);
        let item = self.hub.store.get(&key).await?.ok_or_else(|| not_found(entity.as_str()))?;
        let shown = view::record_item(entity.kind(), &item).ok_or_else(|| not_found(entity.as_str()))?;
        Ok(Answer::new(if existed { StatusCode::OK } else { StatusCode::CREATED }, shown).with_tag())
    }

    pub(super) async fn delete_record(&self, entity: Entity, id: &str) -> Result<(), Problem> {
        let tenant = self.own_tenant().await?;
        let before = self.before(entity, id).await?;
        if before.shown.is_none() {
            return Err(not_found(entity.as_str()));
        }
        self.check_preconditions(before.shown.as_ref())?;
        let fields = BTreeMap::from([(DELETED.to_owned(), (true.into(), Merge::Last))]);
        self.write((entity, id), &tenant, before, fields).await?;
        Ok(())
    }

    /// The record as it is now.
    async fn before(&self, entity: Entity, id: &str) -> Result<Before, Problem> {
        let item = self.hub.store.get(&Key::of(self.tenant(), entity.kind().name(), id)).await?;
        let stored = item.as_ref().and_then(stored);
        let is_there = stored.as_ref().is_some_and(|(_, record)| !record.is_deleted());
        let shown = item.filter(|_| is_there).and_then(|item| view::record_item(entity.kind(), &item));
        Ok(Before { stored, shown })
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
        let mut errors = unknown_fields(&body, known);
        let is_text = |value: &Value| value.is_null() || value.is_string();
        let wrong = body.iter().filter(|(name, value)| known.contains(&name.as_str()) && !is_text(value));
        errors.extend(wrong.map(|(name, _)| FieldError::new(name.as_str(), "must be text, or null for none")));
        if !errors.is_empty() {
            return Err(super::invalid_fields(errors));
        }
        let mut fields: BTreeMap<String, (Value, Merge)> = BTreeMap::new();
        for name in known.iter().filter(|name| **name != "custom_fields") {
            fields.insert((*name).to_owned(), (Value::Null, Merge::Last));
        }
        for (name, MappedField { value, merge }) in mapped(entity, &Value::Object(body), &tenant.default_region)? {
            fields.insert(name, (value, merge));
        }
        fields.extend(custom.into_iter().map(|(key, value)| (format!("custom_fields.{key}"), (value, Merge::Last))));
        Ok(fields)
    }

    /// Writes the fields of a record, and says whether there was one.
    async fn write(
        &self,
        (entity, id): (Entity, &str),
        tenant: &Tenant,
        before: Before,
        mut fields: BTreeMap<String, (Value, Merge)>,
    ) -> Result<bool, Problem> {
        let (hub, now) = (self.hub, self.hub.now());
        let system = SystemId::parse(OWN_SYSTEM).map_err(|e| invalid("system_id", e.to_string()))?;
        // A custom field that isn't given any more is emptied too.
        let names = |record: &Record| record.fields().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        let gone = before.stored.iter().flat_map(|(_, record)| names(record));
        let is_deletion = fields.contains_key(DELETED);
        for name in gone.filter(|name| !is_deletion && name.starts_with("custom_fields")) {
            fields.entry(name).or_insert((Value::Null, Merge::Last));
        }
        fields.entry(DELETED.to_owned()).or_insert((false.into(), Merge::Last));
        let nonce = format!("{:032x}", (hub.random)());
        let event_key = derived("api", &[self.tenant().as_str(), id, &nonce]);
        let event_key = event_key.get(4..20).unwrap_or_default();
        let written_at = after(before.stored.as_ref().map(|(_, record)| record), now);
        let is_conditional = [header::IF_MATCH, header::IF_NONE_MATCH].iter().any(|name| self.header(name).is_some());
        for round in 0..ROUNDS_MAX {
            let mut effect = Effect::bare((self.tenant(), &system), (entity.kind(), id.to_owned()), event_key, now);
            effect.fields.clone_from(&fields);
            effect.stamp = Stamp::new(Some(written_at), 0, now);
            effect.correlation_id = self.request_id;
            effect.publishes = tenant.publishes;
            effect.syncs = tenant.synced(entity).cloned().collect();
            effect.expects = is_conditional.then(|| before.stored.as_ref().map_or(0, |(version, _)| *version));
            match change(hub, &effect, &[]).await? {
                Changed::Done { before, .. } => return Ok(before.is_some_and(|(_, record)| !record.is_deleted())),
                Changed::Refused(_) => wait(hub, round).await,
                Changed::Obstacle(Obstacle::AnotherVersion) => return Err(precondition_failed()),
                Changed::Obstacle(obstacle) => return Err(invalid("body", obstacle.sentence())),
            }
        }
        Err(busy())
    }
}

/// When a write at `now` counts: after all that is in the record, where that is as old as the clocks of our copies are exact.
/// Who reads a record and writes it must not lose against what they read.
fn after(before: Option<&Record>, now: Timestamp) -> Timestamp {
    let last = before.map(Record::last_at).filter(|last| *last >= now && last.duration_since(now) < CLOCKS_DIFFER);
    last.and_then(|last| last.checked_add(SignedDuration::from_millis(1)).ok()).unwrap_or(now)
}

/// A value by which records are told apart, in the form in which records have it.
fn telling_value(entity: Entity, name: &str, value: &str) -> Result<String, Problem> {
    if name == "phone_number" {
        return e164(value).map(String::from);
    }
    let mut fields = mapped(entity, &json!({name: value}), &Region::default())?;
    let value = fields.remove(name).and_then(|field| field.value.as_str().map(str::to_owned));
    value.ok_or_else(|| invalid(name, "must not be empty"))
}

/// The fields as a mapping takes them in: numbers in E.164, texts of a bounded length.
fn mapped(entity: Entity, body: &Value, region: &Region) -> Result<BTreeMap<String, MappedField>, Problem> {
    let rule = mapping::own_rule(entity).map_err(|e| invalid("body", e.to_string()))?;
    match rule.map(Some("*"), body, region) {
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
