//! What a tenant says about its CRM (contract §5, §7 `outbound`), and the same compiled.
//!
//! ```json
//! {"preset": "generic", "base_url": "https://crm.example/api", "timeout_seconds": 10,
//!  "auth": {"type": "bearer"},
//!  "validate": {"path": "/me"},
//!  "entities": {"company": false, "contact": {
//!    "create": {"method": "POST", "path": "/people"}, "update": {"method": "PATCH", "path": "/people/{external_id}"},
//!    "delete": {"method": "PATCH", "path": "/people/{external_id}", "body": {"archived": true}},
//!    "find": {"path": "/people?ours={id}", "items": "data"},
//!    "list": {"path": "/people?limit=100", "cursor_param": "after", "items": "data", "next": "meta.next"},
//!    "id": "id", "updated_at": "updated_at", "wrap": null, "clear": null,
//!    "fields": {"first_name": {"path": "name.first"}, "smrt_crm_id": {"path": "ours"}}}}}
//! ```
//!
//! What is left out is the preset's, also within a call; `null` takes a part away; `fields` counts as a whole. An entity
//! that isn't named is the preset's, one that is `false` is off. `{external_id}` and `{id}`, ours, are percent-encoded. The
//! presets are the files of `shared/connectors`, in the same form.
//!
//! Of `batch`, which only the preset `hubspot` has, is nothing left where `create` or `update` is given without it.

mod auth;
mod part;
mod plan;
mod schema;
mod template;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Method;
use serde_json::{Map, Value};

pub use self::{
    auth::{Auth, Credentials, Oauth2, take_credentials},
    plan::EntityPlan,
    schema::OutboundSchema,
};
use self::{
    part::Part,
    plan::{Call, read_call},
    template::Ids,
};
pub(super) use self::{
    plan::{Batch, List},
    template::{Template, with_parameter},
};
use super::Entity;
use crate::{
    endpoint::{Endpoint, EndpointError, Reach, URL_BYTES_MAX},
    integration::FieldError,
};

/// The field of an integration.
const OUTBOUND: &str = "outbound";
/// Where there is no `timeout_seconds`.
const TIMEOUT_SECONDS: u64 = 10;
/// A run goes on for minutes, and one call may not take all of it.
const TIMEOUT_SECONDS_MAX: u64 = 30;

/// A CRM that we send to.
pub struct Outbound {
    preset: Preset,
    base: Endpoint,
    timeout: Duration,
    auth: Auth,
    pub(super) validate: Option<Call>,
    plans: BTreeMap<Entity, Arc<EntityPlan>>,
}

/// Configuration for a kind of CRM.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Preset {
    Generic,
    Hubspot,
}

impl Preset {
    fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Hubspot => "hubspot",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Generic, Self::Hubspot].into_iter().find(|preset| preset.name() == name)
    }

    fn json(self) -> Value {
        let text = match self {
            Self::Generic => include_str!("../../../connectors/generic.json"),
            Self::Hubspot => include_str!("../../../connectors/hubspot.json"),
        };
        // The tests read each.
        serde_json::from_str(text).unwrap_or_default()
    }
}

impl Outbound {
    /// Checks and compiles an integration's `outbound`, without the secret part of its `auth`, which [`take_credentials`]
    /// takes out.
    ///
    /// # Errors
    /// Every [`FieldError`] at once.
    pub fn compile(json: &Value) -> Result<Self, Vec<FieldError>> {
        let mut faults = Vec::new();
        let compiled = compile(json, &mut faults);
        compiled.filter(|_| faults.is_empty()).ok_or(faults)
    }

    /// The preset's name.
    #[must_use]
    pub fn preset(&self) -> &'static str {
        self.preset.name()
    }

    /// What depends on the deployment: whether it lets us call these hosts.
    #[must_use]
    pub fn check(&self, reach: Reach) -> Vec<FieldError> {
        let token_url = match &self.auth {
            Auth::Oauth2(oauth2) => Some(("auth.token_url", &oauth2.token_url)),
            _ => None,
        };
        let endpoints = [("base_url", &self.base)].into_iter().chain(token_url);
        let refused = |(field, endpoint): (&str, &Endpoint)| {
            let error = endpoint.check(reach).err()?;
            Some(FieldError::new(format!("{OUTBOUND}.{field}"), error.to_string()))
        };
        endpoints.filter_map(refused).collect()
    }

    /// How calls are authenticated.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// How long a call may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The plan of an entity; `None` where it is switched off.
    #[must_use]
    pub fn entity(&self, entity: Entity) -> Option<&EntityPlan> {
        self.plans.get(&entity).map(|plan| &**plan)
    }

    /// The entities that are on.
    pub fn entities(&self) -> impl Iterator<Item = Entity> {
        self.plans.keys().copied()
    }

    /// The whole URL of a path that begins with `/`.
    ///
    /// # Errors
    /// The URL is too long.
    pub(super) fn endpoint(&self, path: &str) -> Result<Endpoint, EndpointError> {
        // What the deployment allows is checked by the sender.
        Endpoint::parse(&format!("{}{path}", self.base.as_str().trim_end_matches('/')), Reach::Any)
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound({:?}, {:?})", self.base, self.plans.keys())
    }
}

fn compile(json: &Value, faults: &mut Vec<FieldError>) -> Option<Outbound> {
    const FIELDS: [&str; 6] = ["preset", "base_url", "timeout_seconds", "auth", "validate", "entities"];
    let mut part = Part::of(OUTBOUND, json, &FIELDS, faults)?;
    let preset = match part.get("preset").map(|name| name.as_str().and_then(Preset::parse)) {
        None => Some(Preset::Generic),
        Some(Some(preset)) => Some(preset),
        Some(None) => part.take("preset", Err("must be \"generic\" or \"hubspot\"")),
    };
    let base = part.required("base_url", URL_BYTES_MAX).map(base_url);
    let base = base.and_then(|base| part.take("base_url", base));
    let seconds = part.get("timeout_seconds").map_or(Some(TIMEOUT_SECONDS), Value::as_u64);
    let seconds = seconds.filter(|seconds| (1..=TIMEOUT_SECONDS_MAX).contains(seconds));
    if seconds.is_none() {
        part.note("timeout_seconds", format!("must be a whole number from 1 to {TIMEOUT_SECONDS_MAX}"));
    }
    let auth = match part.get("auth") {
        Some(auth) => Auth::compile(&part.place("auth"), auth, part.faults()),
        None => Some(Auth::None),
    };
    let entities = part.get("entities").cloned();
    let preset = preset?;
    let validate = match part.get("validate") {
        Some(given) => Some(given.clone()),
        None => preset.json().get("validate").cloned(),
    };
    let validate = validate.and_then(|validate| {
        let mut part = Part::of(part.place("validate"), &validate, &["method", "path"], part.faults())?;
        read_call(&mut part, &Method::GET, Ids::None)
    });
    let plans = plans(preset, entities.as_ref(), &part.place("entities"), part.faults());
    Some(Outbound { preset, base: base?, timeout: Duration::from_secs(seconds?), auth: auth?, validate, plans })
}

fn base_url(text: &str) -> Result<Endpoint, String> {
    let endpoint = Endpoint::parse(text, Reach::Any).map_err(|error| error.to_string())?;
    if text.contains('?') {
        return Err("must not have a query; put parameters into the paths of `entities`".to_owned());
    }
    Ok(endpoint)
}

fn plans(
    preset: Preset,
    given: Option<&Value>,
    place: &str,
    faults: &mut Vec<FieldError>,
) -> BTreeMap<Entity, Arc<EntityPlan>> {
    let none = Map::new();
    let given = match given {
        None => &none,
        Some(Value::Object(given)) => given,
        Some(_) => {
            faults.push(FieldError::new(place, "must be an object of contact, company and interaction"));
            return BTreeMap::new();
        }
    };
    for name in given.keys().filter(|name| Entity::parse(name).is_none()) {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        faults.push(FieldError::new(format!("{place}.{shown}"), "is none of contact, company and interaction"));
    }
    let mut plan = |entity: Entity| {
        let place = format!("{place}.{}", entity.as_str());
        match given.get(entity.as_str()) {
            None | Some(Value::Null | Value::Bool(true)) => preset_plan(preset, entity),
            Some(Value::Bool(false)) => None,
            Some(Value::Object(own)) => {
                let whole = Value::Object(merged(preset.entity(entity), own));
                let part = Part::of(place, &whole, EntityPlan::parts(), faults)?;
                EntityPlan::compile(entity, part).map(Arc::new)
            }
            Some(_) => {
                faults.push(FieldError::new(place, "must be an object, or false to switch the entity off"));
                None
            }
        }
    };
    Entity::ALL.into_iter().filter_map(|entity| Some((entity, plan(entity)?))).collect()
}

impl Preset {
    fn entity(self, entity: Entity) -> Map<String, Value> {
        match self.json().get_mut("entities").and_then(|all| all.get_mut(entity.as_str())).map(Value::take) {
            Some(Value::Object(parts)) => parts,
            _ => Map::new(),
        }
    }
}

/// What `own` says, over the preset's: parts of calls one by one, `fields` and bodies as a whole.
fn merged(mut whole: Map<String, Value>, own: &Map<String, Value>) -> Map<String, Value> {
    if own.contains_key("create") || own.contains_key("update") {
        whole.remove("batch");
    }
    for (name, value) in own {
        match (whole.get_mut(name), value) {
            (Some(Value::Object(call)), Value::Object(parts)) if name != "fields" => {
                call.extend(parts.iter().map(|(name, part)| (name.clone(), part.clone())));
            }
            _ => drop(whole.insert(name.clone(), value.clone())),
        }
    }
    whole
}

/// An entity as its preset has it. Compiled once and shared by all tenants, like the built-in rules.
fn preset_plan(preset: Preset, entity: Entity) -> Option<Arc<EntityPlan>> {
    static COMPILED: Mutex<BTreeMap<(Preset, Entity), Arc<EntityPlan>>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(plan) = compiled.get(&(preset, entity)) {
        return Some(Arc::clone(plan));
    }
    let (json, mut faults) = (Value::Object(preset.entity(entity)), Vec::new());
    // The tests compile each.
    let part = Part::of("preset", &json, EntityPlan::parts(), &mut faults)?;
    let plan = Arc::new(EntityPlan::compile(entity, part)?);
    compiled.insert((preset, entity), Arc::clone(&plan));
    Some(plan)
}
