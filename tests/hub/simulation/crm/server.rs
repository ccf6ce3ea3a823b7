//! A tenant's CRM as the hub calls it: what it keeps, and how it fails.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use fastrand::Rng;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use shared::outgoing::{Reply, SendError};

use super::{CrmPlan, Mood};
use crate::{
    simulation::{journal::Journal, traffic::mark},
    world::{Arrival, Behaviour, Signer, World},
};

/// A record at a time.
#[derive(Clone, Debug)]
pub struct Version {
    /// In milliseconds of the CRM's clock, as it reports it.
    pub at: i64,
    /// `None` once it is deleted.
    pub fields: Option<Value>,
    /// Whether the hub wrote it.
    pub by_hub: bool,
}

/// All that a record was, the latest last.
#[derive(Clone, Debug)]
pub struct History {
    pub entity: &'static str,
    pub versions: Vec<Version>,
}

impl History {
    pub fn now(&self) -> Option<&Value> {
        self.versions.last().and_then(|version| version.fields.as_ref())
    }

    /// The hub's id of it, if it ever wrote it there.
    pub fn our_id(&self) -> Option<&str> {
        let versions = self.versions.iter().rev().filter_map(|version| version.fields.as_ref());
        versions.map(our_id).find(Option::is_some).flatten()
    }
}

fn our_id(record: &Value) -> Option<&str> {
    record["custom_fields"]["smrt_crm_id"].as_str()
}

/// What it keeps.
pub struct Kept {
    rng: Rng,
    /// By its own ids.
    pub records: BTreeMap<String, History>,
    count: u32,
    /// Its ids by the keys with which they were made.
    by_key: BTreeMap<String, String>,
    /// When the hub called.
    pub calls: Vec<Timestamp>,
    /// Writes that came, and those of them that failed, or whose answers got lost.
    pub writes: usize,
    pub vain: usize,
    pub is_calm: bool,
}

/// A change that the hub is to be told of.
pub struct News {
    pub number: u32,
    pub event_type: String,
    pub entity: &'static str,
    pub at: i64,
    pub record: Value,
}

pub struct Crm {
    pub tenant: usize,
    pub plan: CrmPlan,
    pub world: Weak<World>,
    pub journal: Arc<Journal>,
    pub path: String,
    pub sign: Signer,
    kept: Mutex<Kept>,
    /// Webhooks that aren't taken yet.
    pub untold: Mutex<usize>,
}

const ENTITIES: [(&str, &str); 3] =
    [("contacts", "contact"), ("companies", "company"), ("interactions", "interaction")];

impl Crm {
    pub fn new(
        plan: &CrmPlan,
        tenant: usize,
        (world, journal): (&Arc<World>, &Arc<Journal>),
        (path, sign): (String, Signer),
    ) -> Self {
        let kept = Kept {
            rng: Rng::with_seed(plan.seed ^ ((tenant as u64 + 1) << 40)),
            records: BTreeMap::new(),
            count: 0,
            by_key: BTreeMap::new(),
            calls: Vec::new(),
            writes: 0,
            vain: 0,
            is_calm: false,
        };
        Self {
            tenant,
            plan: plan.clone(),
            world: Arc::downgrade(world),
            journal: Arc::clone(journal),
            path,
            sign,
            kept: Mutex::new(kept),
            untold: Mutex::default(),
        }
    }

    pub fn look<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.kept.lock().unwrap())
    }

    /// Answers a call of the hub to the path after the tenant's.
    pub fn answer(self: &Arc<Self>, path: &str, arrival: &Arrival) -> Behaviour {
        let is_write = arrival.method != Method::GET;
        let (before, served, after, wait) = self.look(|kept| {
            kept.calls.push(self.journal.clock());
            kept.writes += usize::from(is_write);
            let (before, after, wait) = self.fate(kept);
            let served = if before.is_none() { Some(self.serve(kept, path, arrival)) } else { None };
            let is_vain = before.is_some() || after.is_some() || wait > super::TIME_OUT;
            kept.vain += usize::from(is_write && is_vain);
            (before, served, after, wait)
        });
        let mut done = String::from("nothing");
        let own = served.map(|(status, body, news)| {
            done = format!("{status}");
            if let Some(news) = news {
                self.tell(news);
            }
            let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
            Ok(Reply { status: StatusCode::from_u16(status).unwrap(), retry_after: None, body })
        });
        let (method, tenant) = (&arrival.method, mark(self.tenant));
        let answer = before.or(after).or(own).unwrap();
        let shown = answer.as_ref().map(|reply| reply.status);
        self.journal.say(&format!("CRM {tenant}: {method} {path}: {done}, {shown:?} after {wait:?} {}", arrival.body));
        self.look_for_strangers(arrival);
        Behaviour { after: wait, answer }
    }

    /// Everything that comes is this tenant's.
    fn look_for_strangers(&self, arrival: &Arrival) {
        let token = format!("Bearer {}", super::token(self.tenant));
        if arrival.header("authorization") != token || arrival.body.contains(mark(1 - self.tenant)) {
            let what = format!("the CRM of {} was called by the other tenant: {arrival:?}", mark(self.tenant));
            self.journal.violation(what);
        }
    }

    /// How a call fares: how it fails before anything happened or after it did, and how long it takes.
    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn fate(&self, kept: &mut Kept) -> (Option<Result<Reply, SendError>>, Option<Result<Reply, SendError>>, Duration) {
        if kept.is_calm {
            return (None, None, Duration::ZERO);
        }
        let elapsed = self.journal.elapsed();
        let rng = &mut kept.rng;
        let (unlucky, quick) = (rng.f64(), Duration::from_millis(rng.u64(0..200)));
        let refused = |rng: &mut Rng| {
            let status = rng.choice([500, 503, 429]).unwrap();
            let retry_after = (status != 500 && rng.bool()).then(|| Duration::from_secs(rng.u64(1..120)));
            Reply { status: StatusCode::from_u16(status).unwrap(), retry_after, body: b"{\"error\":\"no\"}".to_vec() }
        };
        match &self.plan.moods[self.tenant] {
            Mood::Fails(share) if unlucky < *share => {
                let error = if rng.u8(0..4) == 0 { Err(SendError::ConnectionFailed) } else { Ok(refused(rng)) };
                (Some(error), None, quick)
            }
            Mood::Deaf(share) if unlucky < *share => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                let lost = if rng.bool() {
                    Err(SendError::ConnectionClosed)
                } else {
                    Ok(Reply { status, retry_after: None, body: b"{\"error\":\"no\"}".to_vec() })
                };
                (None, Some(lost), quick)
            }
            Mood::Slow => (None, None, Duration::from_millis(rng.u64(100..8_000))),
            Mood::Hangs(share) if unlucky < *share => (None, None, Duration::from_secs(rng.u64(11..60))),
            Mood::Down(span) if span.contains(&elapsed) => (Some(Err(SendError::ConnectionFailed)), None, quick),
            Mood::Locked(span) if span.contains(&elapsed) => {
                let status = StatusCode::UNAUTHORIZED;
                (Some(Ok(Reply { status, retry_after: None, body: b"{\"error\":\"expired\"}".to_vec() })), None, quick)
            }
            _ => (None, None, quick),
        }
    }

    fn serve(&self, kept: &mut Kept, path: &str, arrival: &Arrival) -> (u16, Value, Option<News>) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parts = path.trim_start_matches('/').split('/');
        let plural = parts.next().unwrap_or_default();
        let Some((_, entity)) = ENTITIES.iter().find(|(name, _)| *name == plural) else {
            self.journal.violation(format!("a CRM was called at {path}"));
            return (404, json!({}), None);
        };
        let id = parts.next();
        let found = |kept: &Kept, id: &str| kept.records.get(id).is_some_and(|record| record.now().is_some());
        match (arrival.method.as_str(), id) {
            ("GET", None) => {
                let wanted = query.strip_prefix("smrt_crm_id=");
                let own = kept.records.values().filter(|record| record.entity == *entity).filter_map(History::now);
                let own: Vec<_> = own.filter(|record| wanted.is_none() || our_id(record) == wanted).collect();
                (200, json!({"data": own}), None)
            }
            ("POST", None) => {
                let key = arrival.header("idempotency-key");
                let known = kept.by_key.get(key).filter(|_| self.plan.honours_keys);
                if let Some(record) = known.and_then(|id| kept.records.get(id)?.now()) {
                    return (200, self.shown(record), None);
                }
                let news = self.made(kept, entity, fields(arrival), true);
                kept.by_key.insert(key.to_owned(), news.record["id"].as_str().unwrap().to_owned());
                (201, self.shown(&news.record), Some(news))
            }
            ("PATCH", Some(id)) if found(kept, id) => {
                let news = self.edited(kept, id, fields(arrival), true);
                (200, self.shown(&news.record), Some(news))
            }
            ("DELETE", Some(id)) if found(kept, id) => (204, Value::Null, Some(self.removed(kept, id, true))),
            _ => (404, json!({"error": "not found"}), None),
        }
    }

    /// A record as it answers it.
    fn shown(&self, record: &Value) -> Value {
        let mut shown = record.clone();
        if !self.plan.says_updated_at {
            shown.as_object_mut().unwrap().remove("updated_at");
        }
        shown
    }

    fn clock(&self) -> i64 {
        self.journal.time().as_millisecond() + self.plan.off_ms
    }

    /// Makes a record.
    pub fn made(&self, kept: &mut Kept, entity: &'static str, mut fields: Map<String, Value>, by_hub: bool) -> News {
        kept.count += 1;
        let (id, at) = (format!("{entity}-{}", kept.count), self.clock());
        fields.insert("id".into(), id.clone().into());
        kept.records.insert(id.clone(), History { entity, versions: Vec::new() });
        Self::store(kept, &id, (at, by_hub), Some(fields.into()), "created")
    }

    /// Changes a record by a merge patch.
    pub fn edited(&self, kept: &mut Kept, id: &str, patch: Map<String, Value>, by_hub: bool) -> News {
        let history = &kept.records[id];
        let (mut record, last) = (history.now().unwrap().clone(), history.versions.last().unwrap().at);
        let emptied: Vec<String> =
            patch.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name.clone()).collect();
        merge(&mut record, patch.into());
        // Shown as empty, not left out.
        for name in emptied {
            record[name] = Value::Null;
        }
        Self::store(kept, id, (self.clock().max(last + 1), by_hub), Some(record), "updated")
    }

    pub fn removed(&self, kept: &mut Kept, id: &str, by_hub: bool) -> News {
        let last = kept.records[id].versions.last().unwrap().at;
        Self::store(kept, id, (self.clock().max(last + 1), by_hub), None, "deleted")
    }

    fn store(kept: &mut Kept, id: &str, (at, by_hub): (i64, bool), mut fields: Option<Value>, what: &str) -> News {
        let time = Timestamp::from_millisecond(at).unwrap().to_string();
        if let Some(fields) = &mut fields {
            fields["updated_at"] = time.clone().into();
        }
        kept.count += 1;
        let history = kept.records.get_mut(id).unwrap();
        history.versions.push(Version { at, fields: fields.clone(), by_hub });
        let entity = history.entity;
        let record = fields.unwrap_or_else(|| json!({"id": id, "deleted_at": time}));
        News { number: kept.count, event_type: format!("{entity}.{what}"), entity, at, record }
    }
}

fn fields(arrival: &Arrival) -> Map<String, Value> {
    match arrival.json() {
        Value::Object(fields) => fields,
        other => panic!("a CRM was sent {other}"),
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}
