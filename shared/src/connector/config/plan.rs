//! One entity of a CRM: its calls and its mapping.

use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    part::Part,
    template::{Ids, Template, is_id},
};
use crate::{
    connector::Entity,
    mapping::{self, CompiledRule, MappedField, Merge, Nulls, Outcome, Outward, Place},
    phone::Region,
};

/// The one event of an entity's rule: any.
const ANY: &str = "*";
/// The type of an interaction that its mapping gives none, as in the built-in rule of `external_crm`.
const INTERACTION_TYPE: &str = "crm_interaction";
/// The field that is the other side's own stamp, and comes only from there.
const UPDATED_AT: &str = "updated_at";
/// The field that says which of our records is meant.
const OUR_ID: &str = "smrt_crm_id";

/// The parts of an entity.
const PARTS: [&str; 13] = [
    "create",
    "update",
    "delete",
    "find",
    "list",
    "batch",
    "id",
    UPDATED_AT,
    "wrap",
    "clear",
    "fields",
    "interaction_type",
    "interaction_types",
];
/// Most records of one batch.
const BATCH_MAX: u64 = 1_000;
/// Longest name in a path, a query or a body.
const NAME_BYTES_MAX: usize = 128;

/// An entity that is on.
pub struct EntityPlan {
    rule: CompiledRule,
    pub(in crate::connector) create: Call,
    pub(in crate::connector) update: Call,
    pub(in crate::connector) delete: Option<Call>,
    pub(in crate::connector) find: Option<Find>,
    pub(in crate::connector) list: Option<List>,
    pub(in crate::connector) batch: Option<Batch>,
    id: Place,
    updated_at: Option<Place>,
    wrap: Option<String>,
    clear: Value,
    /// Interactions of other types than these aren't sent; empty: all are.
    types: Vec<String>,
}

/// A method, a path, and a body where it has one of its own.
pub(in crate::connector) struct Call {
    pub(in crate::connector) method: Method,
    pub(in crate::connector) path: Template,
    pub(in crate::connector) body: Option<Value>,
}

/// How a record is looked for by our id.
pub(in crate::connector) struct Find {
    pub(in crate::connector) call: Call,
    /// Where the list of what was found stands; without it the answer is the record, or a list.
    pub(in crate::connector) items: Option<Place>,
}

/// How records are listed, page by page.
pub(in crate::connector) struct List {
    pub(in crate::connector) path: Template,
    pub(in crate::connector) cursor_param: Option<String>,
    pub(in crate::connector) items: Option<Place>,
    pub(in crate::connector) next: Option<Place>,
}

/// How many records are written in one call, in HubSpot's form.
pub(in crate::connector) struct Batch {
    pub(in crate::connector) max: usize,
    /// Makes records, or changes those that have our id already.
    pub(in crate::connector) upsert: Option<(Template, String)>,
    pub(in crate::connector) update: Option<Template>,
}

impl EntityPlan {
    /// Compiles an entity whose left out parts are filled in.
    pub(super) fn compile(entity: Entity, mut part: Part<'_>) -> Option<Self> {
        let create = required(&mut part, "create", &Method::POST, Ids::Ours);
        let update = required(&mut part, "update", &Method::PATCH, Ids::One);
        let delete = call(&mut part, "delete", &Method::DELETE, Ids::One, true);
        let (find, list, batch) = (find(&mut part), list(&mut part), batch(&mut part));
        let rule = rule(entity, &mut part);
        let finds_its_own = rule.as_ref().is_none_or(|rule| rule.fields(ANY).any(|name| name == OUR_ID));
        if find.is_some() && !finds_its_own {
            part.note("find", "needs a field `smrt_crm_id`, by which what is found is checked; or set it to null");
        }
        let id = place(&mut part, "id");
        if part.get("id").is_none() {
            part.note("id", "is required");
        }
        let updated_at = place(&mut part, UPDATED_AT);
        let wrap = part.text("wrap", NAME_BYTES_MAX).map(str::to_owned);
        let clear = part.get("clear").cloned().unwrap_or_default();
        if clear.is_array() || clear.is_object() {
            part.note("clear", "must be null, text, a number, true or false");
        }
        let types = types(entity, &mut part);
        let (create, update, rule, id) = (create?, update?, rule?, id?);
        Some(Self { rule, create, update, delete, find, list, batch, id, updated_at, wrap, clear, types })
    }

    /// The names of an entity's parts.
    pub(super) fn parts() -> &'static [&'static str] {
        &PARTS
    }

    /// Whether a record of ours, in the API's form, is of a kind that the other side is to have.
    #[must_use]
    pub fn takes(&self, record: &Map<String, Value>) -> bool {
        let own = record.get("interaction_type").and_then(Value::as_str).unwrap_or_default();
        self.types.is_empty() || self.types.iter().any(|name| name == own)
    }

    /// Some of a record's fields in the form of the other side. `record` has the API's form and, where they are to be sent,
    /// `smrt_crm_id`, `last_contact_at` and `success_rate`. `updated_at` is never sent: it is the other side's own.
    ///
    /// With [`Nulls::Send`], fields that are `null` become what takes a value away over there.
    #[must_use]
    pub fn body(&self, record: &Map<String, Value>, nulls: Nulls) -> Outward {
        let mut record = record.clone();
        record.remove(UPDATED_AT);
        let outward = self.rule.outward(ANY, &record, nulls);
        // The rule takes any event.
        let mut outward = outward.unwrap_or_else(|| Outward { value: json!({}), left_out: Vec::new() });
        if !self.clear.is_null() {
            replace_nulls(&mut outward.value, &self.clear);
        }
        outward
    }

    /// What a listed record says in our terms. Its key is the external id. Numbers without a country code are read as
    /// numbers of `region`.
    #[must_use]
    pub fn map(&self, listed: &Value, region: &Region) -> Outcome {
        let mut outcome = self.rule.map(Some(ANY), self.inside(listed), region);
        if let Outcome::Mapped(mapped) = &mut outcome {
            mapped.key = self.external_id(listed);
            if let Some(at) = self.updated_at(listed) {
                let own = MappedField { value: at.to_string().into(), merge: Merge::Max };
                mapped.fields.entry(UPDATED_AT.to_owned()).or_insert(own);
            }
        }
        outcome
    }

    /// The names of the fields that its mapping has, sorted.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.rule.fields(ANY)
    }

    /// The id of a record of theirs, from a list or an answer; `None` where there is none that can be used.
    #[must_use]
    pub fn external_id(&self, listed: &Value) -> Option<String> {
        self.id.text(listed).filter(|id| is_id(id))
    }

    /// When a record of theirs was changed last, as far as it says so.
    #[must_use]
    pub fn updated_at(&self, listed: &Value) -> Option<Timestamp> {
        mapping::timestamp(&self.updated_at.as_ref()?.value(listed)?)
    }

    /// Our id as a record of theirs has it.
    #[must_use]
    pub fn our_id(&self, listed: &Value, region: &Region) -> Option<String> {
        self.rule.field_text(ANY, OUR_ID, self.inside(listed), region)
    }

    /// Whether deletes are carried over.
    #[must_use]
    pub fn deletes(&self) -> bool {
        self.delete.is_some()
    }

    /// Whether a record can be looked for by our id.
    #[must_use]
    pub fn finds(&self) -> bool {
        self.find.is_some()
    }

    /// Whether records can be listed.
    #[must_use]
    pub fn lists(&self) -> bool {
        self.list.is_some()
    }

    /// A body in the form that a request has.
    pub(in crate::connector) fn wrapped(&self, body: &Value) -> Value {
        match &self.wrap {
            Some(name) => Value::Object(Map::from_iter([(name.clone(), body.clone())])),
            None => body.clone(),
        }
    }

    /// Whether something stands where an answer's id is to stand, whatever it is.
    pub(in crate::connector) fn has_id(&self, answer: &Value) -> bool {
        self.id.value(answer).is_some()
    }

    /// Where the fields of a record of theirs stand.
    pub(in crate::connector) fn inside<'a>(&self, listed: &'a Value) -> &'a Value {
        self.wrap.as_ref().map_or(listed, |name| listed.get(name).unwrap_or(&Value::Null))
    }
}

fn replace_nulls(value: &mut Value, clear: &Value) {
    match value {
        Value::Null => value.clone_from(clear),
        Value::Object(fields) => fields.values_mut().for_each(|value| replace_nulls(value, clear)),
        Value::Array(list) => list.iter_mut().for_each(|value| replace_nulls(value, clear)),
        _ => {}
    }
}

fn required(part: &mut Part<'_>, name: &str, usual: &Method, ids: Ids) -> Option<Call> {
    if part.get(name).is_none() {
        part.note(name, "is required");
    }
    call(part, name, usual, ids, false)
}

fn call(part: &mut Part<'_>, name: &str, usual: &Method, ids: Ids, has_body: bool) -> Option<Call> {
    let known: &[&str] = if has_body { &["method", "path", "body"] } else { &["method", "path"] };
    read_call(&mut part.part(name, known)?, usual, ids)
}

/// A call out of an object's `method`, `path` and `body`.
pub(super) fn read_call(part: &mut Part<'_>, usual: &Method, ids: Ids) -> Option<Call> {
    let method = match part.get("method").map(Value::as_str) {
        None => Some(usual.clone()),
        Some(Some("GET")) => Some(Method::GET),
        Some(Some("POST")) => Some(Method::POST),
        Some(Some("PUT")) => Some(Method::PUT),
        Some(Some("PATCH")) => Some(Method::PATCH),
        Some(Some("DELETE")) => Some(Method::DELETE),
        Some(_) => part.take("method", Err("must be one of GET, POST, PUT, PATCH, DELETE")),
    };
    let path = template(part, "path", ids);
    let body = part.get("body").cloned();
    if body.as_ref().is_some_and(|body| !body.is_object()) {
        part.note("body", "must be an object");
    }
    Some(Call { method: method?, path: path?, body })
}

fn template(part: &mut Part<'_>, name: &str, ids: Ids) -> Option<Template> {
    let text = part.required(name, mapping::PATH_BYTES_MAX)?;
    part.take(name, Template::parse(text, ids))
}

fn place(part: &mut Part<'_>, name: &str) -> Option<Place> {
    let compiled = Place::compile(part.get(name)?);
    part.take(name, compiled)
}

fn find(part: &mut Part<'_>) -> Option<Find> {
    let mut part = part.part("find", &["method", "path", "items"])?;
    let call = read_call(&mut part, &Method::GET, Ids::OursRequired);
    let items = place(&mut part, "items");
    Some(Find { call: call?, items })
}

fn list(part: &mut Part<'_>) -> Option<List> {
    let mut part = part.part("list", &["path", "cursor_param", "items", "next"])?;
    let path = template(&mut part, "path", Ids::None);
    let cursor_param = part.text("cursor_param", NAME_BYTES_MAX).map(str::to_owned);
    let (items, next) = (place(&mut part, "items"), place(&mut part, "next"));
    if cursor_param.is_some() != next.is_some() {
        part.note("next", "and `cursor_param` go together: give both, or none where there is one page");
    }
    Some(List { path: path?, cursor_param, items, next })
}

fn batch(part: &mut Part<'_>) -> Option<Batch> {
    let mut part = part.part("batch", &["max", "upsert", "id_property", "update"])?;
    let max = part.get("max").and_then(Value::as_u64).filter(|max| (1..=BATCH_MAX).contains(max));
    if max.is_none() {
        part.note("max", format!("must be a whole number from 1 to {BATCH_MAX}"));
    }
    let path = |part: &mut Part<'_>, name| part.get(name).and_then(|_| template(part, name, Ids::None));
    let (upsert, update) = (path(&mut part, "upsert"), path(&mut part, "update"));
    let property = part.text("id_property", NAME_BYTES_MAX);
    if upsert.is_some() && property.is_none() {
        part.note("id_property", "is required with `upsert`: the unique property that holds our id");
    }
    let upsert = upsert.zip(property.map(str::to_owned));
    Some(Batch { max: usize::try_from(max?).ok()?, upsert, update })
}

/// The types of the interactions that are sent.
fn types(entity: Entity, part: &mut Part<'_>) -> Vec<String> {
    let Some(given) = part.get("interaction_types").filter(|given| !given.is_null()) else { return Vec::new() };
    let names: Option<Vec<String>> =
        given.as_array().and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    if entity != Entity::Interaction || names.as_ref().is_none_or(Vec::is_empty) {
        part.note("interaction_types", "must be a list of types such as [\"outbound_call\"], of interactions only");
    }
    names.unwrap_or_default()
}

/// The mapping as a rule of one event.
fn rule(entity: Entity, part: &mut Part<'_>) -> Option<CompiledRule> {
    let fields = part.get("fields").cloned().unwrap_or_default();
    if fields.as_object().is_none_or(Map::is_empty) {
        let form = "must be an object of at least one field, as {\"first_name\": {\"path\": \"first_name\"}}";
        return part.take("fields", Err(form));
    }
    let given = part.text("interaction_type", NAME_BYTES_MAX);
    let interaction_type = (entity == Entity::Interaction).then(|| given.unwrap_or(INTERACTION_TYPE));
    if given.is_some() && interaction_type.is_none() {
        part.note("interaction_type", "belongs to interactions only");
    }
    let event = json!({"record": entity.record(), "interaction_type": interaction_type, "fields": fields});
    let compiled = mapping::parse_rule(&json!({"events": {ANY: event}})).and_then(|rule| rule.compile());
    compiled
        .map_err(|problems| {
            for problem in problems {
                let field = problem.field.strip_prefix("events.*").unwrap_or(&problem.field);
                let field = field.strip_prefix('.').filter(|field| !field.is_empty()).unwrap_or("fields");
                part.note(field, problem.message);
            }
        })
        .ok()
}
