//! Who changes records, on both sides and now and then at the same time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use fastrand::Rng;
use http::{Method, StatusCode};
use serde_json::Value;
use shared::ids::{SystemId, TenantId};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Crms, SYSTEM,
    record::{Fields, Kind},
};
use crate::world::{Tenant, World};

/// Something that somebody does.
#[derive(Clone, Debug)]
pub struct Act {
    tenant: usize,
    at: Duration,
    kind: Kind,
    /// Over there, or here.
    there: bool,
    what: What,
    number: u32,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Make,
    Edit,
    Delete,
    /// Has all that is over there taken in.
    Import,
}

/// A change on our side, made between two moments of the hub's clock, in milliseconds.
#[derive(Clone, Debug)]
pub struct Edit {
    pub tenant: usize,
    pub kind: Kind,
    pub id: String,
    pub from: i64,
    pub to: i64,
    /// All fields; `None` where it was deleted.
    pub fields: Option<Fields>,
}

/// What is done while the storm lasts, in the order of time.
pub fn acts(rng: &mut Rng, span: Duration) -> Vec<Act> {
    let mut acts = Vec::new();
    for tenant in 0..2 {
        // Much happens at the same time, so that both sides meet.
        let busy: Vec<u64> = (0..3).map(|_| rng.u64(0..span.as_millis().try_into().unwrap())).collect();
        for number in 0..rng.u32(3..20) {
            let busy = rng.choice(&busy).copied().unwrap();
            let at = if rng.bool() { busy + rng.u64(0..15_000) } else { rng.u64(0..busy + 60_000) };
            acts.push(Act {
                tenant,
                at: Duration::from_millis(at),
                kind: if rng.u8(0..4) == 0 { Kind::Company } else { Kind::Contact },
                there: rng.bool(),
                what: match rng.u8(0..13) {
                    0..4 => What::Make,
                    4..11 => What::Edit,
                    11 => What::Delete,
                    _ => What::Import,
                },
                number,
            });
        }
    }
    acts.sort_by_key(|act| act.at);
    acts
}

/// The people of one side of a tenant.
pub struct People {
    world: Arc<World>,
    crms: Arc<Crms>,
    tenant: usize,
    there: bool,
    key: String,
    rng: Rng,
    /// What was made here.
    made: BTreeSet<(Kind, String)>,
}

impl People {
    /// Those of both sides of both tenants.
    pub fn all(world: &Arc<World>, crms: &Arc<Crms>, tenants: &[Tenant]) -> Vec<Self> {
        let of = |tenant: usize, there: bool| Self {
            world: Arc::clone(world),
            crms: Arc::clone(crms),
            tenant,
            there,
            key: tenants[tenant].key().to_owned(),
            rng: Rng::with_seed(crms.all[tenant].plan.seed ^ (tenant as u64 + 2 * u64::from(there) + 77)),
            made: BTreeSet::new(),
        };
        [(0, false), (0, true), (1, false), (1, true)].map(|(tenant, there)| of(tenant, there)).into()
    }

    /// Does what they do, one after the other.
    pub async fn run(mut self) {
        let began = Instant::now();
        let acts = self.crms.all[self.tenant].plan.acts.clone();
        let whose = (self.tenant, self.there);
        for act in acts.into_iter().filter(|act| (act.tenant, act.there) == whose) {
            sleep_until(began + act.at).await;
            if self.there { self.act_there(&act) } else { self.act_here(&act).await }
        }
    }

    fn act_there(&mut self, act: &Act) {
        let crm = Arc::clone(&self.crms.all[self.tenant]);
        let number = act.number + 5_000;
        let news = crm.look(|kept| {
            let is_there = |(id, history): (&String, &super::server::History)| {
                (history.entity == act.kind.name() && history.now().is_some()).then(|| id.clone())
            };
            let ids: Vec<String> = kept.records.iter().filter_map(is_there).collect();
            let target = self.rng.choice(&ids).cloned();
            match (act.what, target) {
                (What::Make, _) => {
                    let fields = act.kind.there(&act.kind.fresh(self.tenant, number));
                    Some(crm.made(kept, act.kind.name(), fields, false))
                }
                (What::Edit, Some(id)) => {
                    let mut some = act.kind.some_fresh(&mut self.rng, self.tenant, number);
                    if self.rng.u8(0..6) == 0 {
                        some.insert(act.kind.any_plain(&mut self.rng), Value::Null);
                    }
                    Some(crm.edited(kept, &id, act.kind.there(&some), false))
                }
                (What::Delete, Some(id)) => Some(crm.removed(kept, &id, false)),
                (What::Import, _) | (_, None) => None,
            }
        });
        if let Some(news) = news {
            crm.journal.say(&format!("somebody over there: {} {}", news.event_type, news.record));
            crm.tell(news);
        }
    }

    /// The records that can be changed: our own, and those that came from over there.
    fn known(&self, kind: Kind) -> Vec<String> {
        let own = self.made.iter().filter(|(own, _)| *own == kind).map(|(_, id)| id.clone());
        let name = &self.crms.tenants[self.tenant];
        let theirs = self.crms.all[self.tenant].look(|kept| {
            let by_people = |history: &super::server::History| !history.versions[0].by_hub;
            let of_kind =
                kept.records.iter().filter(|(_, history)| history.entity == kind.name() && by_people(history));
            of_kind.map(|(id, _)| our_id(kind, name, id)).collect::<Vec<_>>()
        });
        own.chain(theirs).collect()
    }

    async fn act_here(&mut self, act: &Act) {
        let known = self.known(act.kind);
        let target = self.rng.choice(&known).cloned();
        let fresh = act.kind.fresh(self.tenant, act.number);
        match (act.what, target) {
            (What::Make, _) => {
                let id = format!("{}_own{}", act.kind.prefix(), act.number);
                self.made.insert((act.kind, id.clone()));
                self.write(act.kind, &id, Some(fresh)).await;
            }
            (What::Edit, Some(id)) => {
                let Some(record) = self.read(act.kind, &id).await else { return };
                let mut fields = act.kind.read_here(&record);
                fields.extend(act.kind.some_fresh(&mut self.rng, self.tenant, act.number));
                if self.rng.u8(0..6) == 0 {
                    fields.remove(self.rng.choice(["custom_fields.tier", "email", "domain"]).unwrap());
                }
                self.write(act.kind, &id, Some(fields)).await;
            }
            (What::Delete, Some(id)) if self.read(act.kind, &id).await.is_some() => {
                self.write(act.kind, &id, None).await;
            }
            (What::Import, _) => self.import(act.kind).await,
            (What::Delete, _) | (_, None) => {}
        }
    }

    /// Asks once: whether it is taken is no matter here, for what is over there is told of anyhow.
    async fn import(&self, kind: Kind) {
        let path = format!("/v1/sync/{SYSTEM}/{}", kind.name());
        let body = r#"{"direction":"inbound","full":true}"#;
        let answer = self.world.as_key(Method::POST, &self.key, &path, body).await;
        self.crms.journal.say(&format!("somebody here imports {}: {}", kind.plural(), answer.status));
    }

    async fn read(&self, kind: Kind, id: &str) -> Option<Value> {
        let path = format!("/v1/{}/{id}", kind.plural());
        for _ in 0..100 {
            let answer = self.world.as_key(Method::GET, &self.key, &path, "").await;
            match answer.status {
                StatusCode::OK => return Some(answer.body),
                StatusCode::NOT_FOUND => return None,
                _ => sleep(Duration::from_secs(15)).await,
            }
        }
        None
    }

    /// Writes until it is done: whoever changes a record by hand sees whether it worked.
    async fn write(&self, kind: Kind, id: &str, fields: Option<Fields>) {
        let (journal, path) = (&self.crms.journal, format!("/v1/{}/{id}", kind.plural()));
        let from = journal.clock().as_millisecond();
        for attempt in 0.. {
            let answer = match &fields {
                Some(fields) => {
                    let body = Kind::here(fields).to_string();
                    self.world.as_key(Method::PUT, &self.key, &path, &body).await
                }
                None => self.world.as_key(Method::DELETE, &self.key, &path, "").await,
            };
            journal.say(&format!("somebody here: {id} {fields:?}: {}", answer.status));
            let was_deleted = fields.is_none() && answer.status == StatusCode::NOT_FOUND;
            if was_deleted && attempt == 0 {
                return; // by somebody over there
            }
            if answer.status.is_success() || was_deleted {
                break;
            }
            if answer.status.is_client_error() && !matches!(answer.status.as_u16(), 409 | 429) {
                return journal.violation(format!("{path} was answered {}: {}", answer.status, answer.body));
            }
            sleep(Duration::from_secs(1 << attempt.min(5))).await;
        }
        let to = journal.clock().as_millisecond();
        let edit = Edit { tenant: self.tenant, kind, id: id.to_owned(), from, to, fields };
        self.crms.edits.lock().unwrap().push(edit);
    }
}

/// Our id of a record that came from over there.
pub fn our_id(kind: Kind, tenant: &str, external_id: &str) -> String {
    let (tenant, system) = (TenantId::parse(tenant).unwrap(), SystemId::parse(SYSTEM).unwrap());
    let kind = match kind {
        Kind::Contact => shared::process::Kind::Contact,
        Kind::Company => shared::process::Kind::Company,
    };
    shared::process::record_id(kind, &tenant, &system, external_id)
}
