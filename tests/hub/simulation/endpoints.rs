//! The tenants' endpoints: they fail, hang, redirect and lie while the storm lasts, and note what they are told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use http::StatusCode;
use jiff::Timestamp;
use shared::outgoing::{Reply, SendError};

use super::{
    crm::Crms,
    hooks::{Mood, Subscription, failing_status},
    journal::Journal,
    plan::Plan,
    weather,
};
use crate::world::{Arrival, Behaviour, World};

/// The contract's: what isn't answered by then has failed.
const TIME_OUT: Duration = Duration::from_secs(30);

/// A request, and the status that its sender got, if it waited for it.
pub struct Told {
    pub arrival: Arrival,
    pub status: Option<StatusCode>,
}

impl Told {
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }
}

/// An attempt that was made: what it leads to is judged by this.
pub struct Post {
    pub subscription: String,
    pub event: String,
    /// When it ends, in true time.
    pub ends: Timestamp,
    pub failed: bool,
    pub retry_after: Option<Duration>,
}

/// All of them.
pub struct Endpoints {
    journal: Arc<Journal>,
    rng: Mutex<Rng>,
    is_calm: AtomicBool,
    /// By URL.
    told: Mutex<BTreeMap<String, Vec<Told>>>,
}

impl Endpoints {
    pub fn begin(world: &World, plan: &Plan, journal: &Arc<Journal>, crms: Option<Arc<Crms>>) -> Arc<Self> {
        let endpoints = Arc::new(Self {
            journal: Arc::clone(journal),
            rng: Mutex::new(Rng::with_seed(plan.seed.rotate_left(17) ^ 0xE4D0)),
            is_calm: AtomicBool::new(false),
            told: Mutex::default(),
        });
        let answering = Arc::clone(&endpoints);
        world.internet.answer(move |arrival| {
            let by_crm = crms.as_ref().and_then(|crms| crms.answer(arrival));
            by_crm.unwrap_or_else(|| answering.answer(arrival))
        });
        endpoints
    }

    /// From now on all are well that can be.
    pub fn calm(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
    }

    /// What arrived at a URL so far.
    pub fn told<T>(&self, url: &str, look: impl FnOnce(&[Told]) -> T) -> T {
        look(self.told.lock().unwrap().get(url).map(Vec::as_slice).unwrap_or_default())
    }

    fn answer(&self, arrival: &Arrival) -> Behaviour {
        let Some(subscription) = self.journal.subscriptions().iter().find(|s| s.url == arrival.url) else {
            self.journal.violation(format!("a request went to {}", arrival.url));
            return Behaviour::status(200);
        };
        let mut told = self.told.lock().unwrap();
        let told = told.entry(arrival.url.clone()).or_default();
        let behaviour = self.behaviour(subscription, told, arrival.id());
        let status = behaviour.answer.as_ref().ok().map(|reply| reply.status);
        let status = status.filter(|_| behaviour.after < TIME_OUT);
        self.journal.say(&format!(
            "{} is told {}: {:?} after {:?}",
            arrival.url,
            arrival.id(),
            behaviour.answer,
            behaviour.after
        ));
        let post = Post {
            subscription: subscription.id.clone(),
            event: arrival.id().to_owned(),
            ends: self.journal.time() + behaviour.after.min(TIME_OUT),
            failed: !status.is_some_and(|status| status.is_success()),
            retry_after: behaviour.answer.as_ref().ok().and_then(|reply| reply.retry_after),
        };
        weather::note_post(post, &self.journal);
        told.push(Told { arrival: arrival.clone(), status });
        behaviour
    }

    fn behaviour(&self, subscription: &Subscription, before: &[Told], event: &str) -> Behaviour {
        let mut rng = self.rng.lock().unwrap();
        let unlucky = rng.f64();
        match subscription.hook.mood {
            Mood::Dead if rng.bool() => Behaviour::status(503),
            Mood::Dead => Behaviour::error(SendError::ConnectionFailed),
            Mood::Gone(after) if before.len() >= after => Behaviour::status(410),
            _ if self.is_calm.load(Ordering::Relaxed) => Behaviour::status(200),
            Mood::Fails(share) if unlucky < share => failing(&mut rng),
            Mood::Slow => Behaviour::status(202).after(Duration::from_millis(rng.u64(100..25_000))),
            Mood::Hangs(share) if unlucky < share => Behaviour::status(200).after(Duration::from_secs(rng.u64(31..90))),
            Mood::Lies if before.iter().all(|told| told.arrival.id() != event) => Behaviour::status(500),
            Mood::Deaf(share) if unlucky < share => Behaviour::error(SendError::ConnectionClosed),
            _ => Behaviour::status(200),
        }
    }
}

/// One of the ways to fail at once.
fn failing(rng: &mut Rng) -> Behaviour {
    let error = [SendError::ConnectionClosed, SendError::NameNotFound, SendError::TlsFailed];
    if rng.u8(0..3) == 0 {
        return Behaviour::error(rng.choice(error).unwrap());
    }
    let status = failing_status(rng);
    let retry_after = matches!(status.as_u16(), 429 | 503).then(|| Duration::from_secs(rng.u64(1..1500)));
    let reply = Reply { status, retry_after: retry_after.filter(|_| rng.bool()), body: b"no".to_vec() };
    Behaviour { after: Duration::ZERO, answer: Ok(reply) }
}
