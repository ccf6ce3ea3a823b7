//! The tenants' CRMs, and who changes records on both sides.

mod check;
mod people;
mod record;
mod server;
mod telling;

use std::{
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use serde_json::{Value, json};

pub use self::people::People;
use self::{
    people::{Act, Edit},
    server::Crm,
};
use super::{journal::Journal, plan::Plan, queue::Queue, traffic::Terms};
use crate::world::{Arrival, Behaviour, Tenant, World};

/// What both tenants call theirs.
pub const SYSTEM: &str = "external_crm";
/// Where they all are.
const ORIGIN: &str = "https://crm.example/";
/// So long the hub waits for an answer.
const TIME_OUT: Duration = Duration::from_secs(10);

/// What a seed decides of them.
#[derive(Clone, Debug)]
pub struct CrmPlan {
    seed: u64,
    moods: [Mood; 2],
    /// Whether a create that comes again with its key gives the first one's record.
    honours_keys: bool,
    /// Whether answers say when a record changed; webhooks always do.
    says_updated_at: bool,
    /// Whether webhooks have our ids.
    pub names_our_id: bool,
    /// How far its clock is off.
    off_ms: i64,
    /// How late webhooks come at most.
    telling_ms: u64,
    pub terms: Terms,
    acts: Vec<Act>,
}

/// How one answers; once the storm is over all are well.
#[derive(Clone, Debug)]
pub enum Mood {
    Fine,
    /// Fails now and then, before anything happened.
    Fails(f64),
    /// Its answers get lost now and then.
    Deaf(f64),
    Slow,
    /// Doesn't answer in time now and then.
    Hangs(f64),
    /// Isn't there for a while.
    Down(Range<Duration>),
    /// Doesn't take our credentials for a while.
    Locked(Range<Duration>),
}

impl CrmPlan {
    /// One seed in six has CRMs: it takes twenty times as long as one without.
    pub fn of(seed: u64, span: Duration) -> Option<Self> {
        let rng = &mut Rng::with_seed(seed.wrapping_add(0x2000_0000));
        if rng.u8(0..6) > 0 {
            return None;
        }
        Some(Self {
            seed: rng.u64(..),
            moods: [mood(rng, span), mood(rng, span)],
            honours_keys: rng.bool(),
            says_updated_at: rng.u8(0..3) > 0,
            names_our_id: rng.bool(),
            off_ms: if rng.bool() { 0 } else { rng.i64(-20_000..20_000) },
            telling_ms: rng.choice([0, 2_000, 60_000, 400_000]).unwrap(),
            terms: Terms {
                max_attempts: rng.u32(2..7),
                base_seconds: rng.choice([1.0, 10.0, 60.0]).unwrap(),
                factor: rng.choice([1.5, 2.0]).unwrap(),
                per_minute: rng.choice([1000, 1000, 60, 8]).unwrap(),
                queues: rng.bool(),
            },
            acts: people::acts(rng, span),
        })
    }

    /// The integration.
    pub fn config(&self, tenant: usize, name: &str) -> Value {
        let mut config = self.terms.config(SYSTEM);
        config["direction"] = "bidirectional".into();
        config["signature"] = json!({"scheme": "custom"});
        config["outbound"] = json!({
            "preset": "generic",
            "base_url": format!("{ORIGIN}{name}"),
            "timeout_seconds": TIME_OUT.as_secs(),
            "auth": {"type": "bearer", "token": token(tenant)},
        });
        config
    }
}

fn mood(rng: &mut Rng, span: Duration) -> Mood {
    let share = rng.f64() * 0.6;
    let start = Duration::from_secs(rng.u64(0..span.as_secs()));
    let while_ = start..start + Duration::from_secs(rng.u64(30..900));
    match rng.u8(0..11) {
        0..2 => Mood::Fine,
        2..4 => Mood::Fails(share),
        4..7 => Mood::Deaf(share),
        7 => Mood::Slow,
        8 => Mood::Hangs(share),
        9 => Mood::Down(while_),
        _ => Mood::Locked(while_),
    }
}

/// What a tenant shows its CRM.
fn token(tenant: usize) -> String {
    format!("token-of-{tenant}")
}

/// All of them.
pub struct Crms {
    all: [Arc<Crm>; 2],
    tenants: [String; 2],
    journal: Arc<Journal>,
    /// What was done on our side.
    edits: Mutex<Vec<Edit>>,
}

impl Crms {
    pub fn begin(world: &Arc<World>, tenants: &[Tenant], plan: &Plan, journal: &Arc<Journal>) -> Option<Arc<Self>> {
        let crm_plan = plan.crm.as_ref()?;
        journal.connected(crm_plan.terms);
        let all = [0, 1].map(|tenant| {
            let path = format!("/webhooks/{}/{SYSTEM}", tenants[tenant].id);
            let sign = tenants[tenant].signer(SYSTEM);
            Arc::new(Crm::new(crm_plan, tenant, (world, journal), (path, sign)))
        });
        journal.say(&format!("the CRMs are {:?}", CrmPlan { acts: Vec::new(), ..crm_plan.clone() }));
        Some(Arc::new(Self {
            all,
            tenants: [0, 1].map(|tenant: usize| tenants[tenant].id.clone()),
            journal: Arc::clone(journal),
            edits: Mutex::default(),
        }))
    }

    /// Answers what is meant for one of them.
    pub fn answer(&self, arrival: &Arrival) -> Option<Behaviour> {
        let path = arrival.url.strip_prefix(ORIGIN)?;
        let (name, path) = path.split_at(path.find('/')?);
        let tenant = self.tenants.iter().position(|tenant| tenant == name)?;
        Some(self.all[tenant].answer(path, arrival))
    }

    /// From now on all are well.
    pub fn calm(&self) {
        for crm in &self.all {
            crm.look(|kept| kept.is_calm = true);
        }
    }

    /// Webhooks that aren't taken yet.
    pub fn untold(&self) -> usize {
        self.all.iter().map(|crm| *crm.untold.lock().unwrap()).sum()
    }

    /// Once both sides agree, nothing is written any more.
    pub async fn check_quiet(&self, queue: &Arc<Queue>) {
        let before = self.writes();
        for _ in 0..3 {
            Arc::clone(queue).run("schedule-syncs".into()).await;
            queue.drain(Duration::from_hours(1)).await;
        }
        let more = self.writes() - before;
        if more > 0 {
            self.journal.violation(format!("the CRMs had {more} writes although all was quiet"));
        }
    }

    /// Writes that came so far.
    fn writes(&self) -> usize {
        self.all.iter().map(|crm| crm.look(|kept| kept.writes)).sum()
    }
}
