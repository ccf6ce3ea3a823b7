//! A small CRM in the protocol of the preset `generic`: what is on the other side of a sync. It makes no mistakes but those
//! that a test scripts.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Arrival, Behaviour, World};

/// Where the CRM is.
pub const CRM_URL: &str = "https://crm.example/api";

/// What becomes of a request.
#[derive(Clone)]
pub enum Fate {
    /// Done and answered.
    Served,
    /// Not done; this is answered.
    Instead(Behaviour),
    /// Done; this is answered.
    Lost(Behaviour),
    /// Done, and answered after this time.
    Slow(Duration),
}

/// A request as the CRM saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Timestamp,
    /// Method and path: `PATCH /contacts/crm_1`.
    pub what: String,
    pub query: String,
    pub body: Value,
    /// `Idempotency-Key`.
    pub key: String,
    /// `Authorization`.
    pub authorization: String,
}

/// The fate of a request by its number, counted from [`Crm::script`], and the request.
type Script = Box<dyn Fn(usize, &Asked) -> Fate + Send + Sync>;

/// A CRM.
pub struct Crm {
    base: String,
    state: Mutex<State>,
}

struct State {
    /// By kind (`contacts`) and id.
    records: BTreeMap<(String, String), Value>,
    /// What was made under an `Idempotency-Key`; `None` where they aren't honoured.
    keys: Option<HashMap<String, String>>,
    count: u64,
    page: usize,
    asked: Vec<Asked>,
    script: (usize, Script),
}

impl Crm {
    /// One at `base`, empty.
    pub fn at(world: &World, base: &str) -> Arc<Self> {
        let state = State {
            records: BTreeMap::new(),
            keys: Some(HashMap::new()),
            count: 0,
            page: 100,
            asked: Vec::new(),
            script: (0, Box::new(|_, _| Fate::Served)),
        };
        let crm = Arc::new(Self { base: base.to_owned(), state: Mutex::new(state) });
        let answering = Arc::clone(&crm);
        world.internet.answer_at(base, move |arrival| answering.answer(arrival));
        crm
    }

    /// From now on, requests fare so.
    pub fn script(&self, script: impl Fn(usize, &Asked) -> Fate + Send + Sync + 'static) {
        self.state.lock().unwrap().script = (0, Box::new(script));
    }

    /// From now on, nothing goes wrong.
    pub fn well(&self) {
        self.script(|_, _| Fate::Served);
    }

    /// Every request is answered so, and nothing is done.
    pub fn down(&self, behaviour: Behaviour) {
        self.script(move |_, _| Fate::Instead(behaviour.clone()));
    }

    /// It knows nothing of `Idempotency-Key`.
    pub fn ignore_keys(&self) {
        self.state.lock().unwrap().keys = None;
    }

    /// Lists give so many records a page.
    pub fn page(&self, records: usize) {
        self.state.lock().unwrap().page = records;
    }

    /// What was asked since the last time this was asked.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// The same, as method and path.
    pub fn calls(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.what).collect()
    }

    /// The records of a kind (`contacts`), by id.
    pub fn records(&self, kind: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.records.iter().filter(|((of, _), _)| of == kind).map(|(_, record)| record.clone()).collect()
    }

    /// The only record of a kind.
    pub fn only(&self, kind: &str) -> Value {
        let records = self.records(kind);
        assert_eq!(records.len(), 1, "{records:?}");
        records[0].clone()
    }

    /// Somebody over there makes a record, or changes one; gives it as it is then.
    pub fn edit(&self, kind: &str, id: &str, patch: &Value, at: Timestamp) -> Value {
        let mut state = self.state.lock().unwrap();
        let record = state.records.entry((kind.to_owned(), id.to_owned())).or_insert_with(|| json!({"id": id}));
        merge(record, patch);
        record["updated_at"] = at.to_string().into();
        record.clone()
    }

    /// Somebody over there deletes a record.
    pub fn remove(&self, kind: &str, id: &str) {
        self.state.lock().unwrap().records.remove(&(kind.to_owned(), id.to_owned())).unwrap();
    }

    fn answer(&self, arrival: &Arrival) -> Behaviour {
        let path = arrival.url.strip_prefix(&self.base).unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let asked = Asked {
            at: arrival.at,
            what: format!("{} {path}", arrival.method),
            query: query.to_owned(),
            body: serde_json::from_str(&arrival.body).unwrap_or_default(),
            key: arrival.header("idempotency-key").to_owned(),
            authorization: arrival.header("authorization").to_owned(),
        };
        let mut state = self.state.lock().unwrap();
        let fate = (state.script.1)(state.script.0, &asked);
        state.script.0 += 1;
        state.asked.push(asked.clone());
        match fate {
            Fate::Instead(behaviour) => behaviour,
            Fate::Served => state.serve(&arrival.method, path, &asked),
            Fate::Slow(time) => state.serve(&arrival.method, path, &asked).after(time),
            Fate::Lost(behaviour) => {
                state.serve(&arrival.method, path, &asked);
                behaviour
            }
        }
    }
}

impl State {
    fn serve(&mut self, method: &Method, path: &str, asked: &Asked) -> Behaviour {
        let (status, answer) = self.done(method, path, asked);
        Behaviour::json(status, &answer)
    }

    fn done(&mut self, method: &Method, path: &str, asked: &Asked) -> (u16, Value) {
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let (kind, id) = (parts.next().unwrap_or_default().to_owned(), parts.next().map(str::to_owned));
        let missing = (404, json!({"message": "no such record"}));
        match (method.as_str(), id) {
            ("POST", None) => (201, self.create(kind, asked)),
            ("GET", None) => (200, self.list(&kind, &asked.query)),
            ("PATCH", Some(id)) => match self.records.get_mut(&(kind, id)) {
                Some(record) => {
                    merge(record, &asked.body);
                    record["updated_at"] = asked.at.to_string().into();
                    (200, record.clone())
                }
                None => missing,
            },
            ("DELETE", Some(id)) => match self.records.remove(&(kind, id)) {
                Some(_) => (204, Value::Null),
                None => missing,
            },
            _ => (405, json!({"message": "there is no such call"})),
        }
    }

    fn create(&mut self, kind: String, asked: &Asked) -> Value {
        let made = self.keys.as_ref().and_then(|keys| keys.get(&asked.key).cloned());
        if let Some(record) = made.and_then(|id| self.records.get(&(kind.clone(), id))) {
            return record.clone();
        }
        self.count += 1;
        let id = format!("crm_{}", self.count);
        let mut record = asked.body.clone();
        record["id"] = id.clone().into();
        record["updated_at"] = asked.at.to_string().into();
        if let Some(keys) = self.keys.as_mut().filter(|_| !asked.key.is_empty()) {
            keys.insert(asked.key.clone(), id.clone());
        }
        self.records.insert((kind, id), record.clone());
        record
    }

    fn list(&self, kind: &str, query: &str) -> Value {
        let query: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let of_kind = self.records.iter().filter(|((of, _), _)| of == kind).map(|(_, record)| record);
        if let Some(ours) = query.get("smrt_crm_id") {
            let found: Vec<&Value> =
                of_kind.filter(|record| record["custom_fields"]["smrt_crm_id"] == ours.as_str()).collect();
            return json!({"data": found});
        }
        let after = query.get("cursor").map(String::as_str).unwrap_or_default();
        let mut page: Vec<&Value> = of_kind.filter(|record| record["id"].as_str() > Some(after)).collect();
        let more = page.len() > self.page;
        page.truncate(self.page);
        json!({"data": page, "next_cursor": page.last().filter(|_| more).map(|record| &record["id"])})
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let fields = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}
