//! What is seen while a seed runs.

use std::{
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{
    crm,
    hooks::Subscription,
    traffic::{SYSTEMS, Terms, terms},
};
use crate::world::{Answer, World};

/// An answer to a sender.
#[derive(Clone)]
pub struct Reply {
    /// The event's position in the plan.
    pub event: usize,
    pub start: Timestamp,
    pub end: Timestamp,
    pub answer: Answer,
}

/// A call of a system that its limit admitted, or might have, somewhere between two moments.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub tenant: String,
    pub system: String,
    pub start: Timestamp,
    pub end: Timestamp,
}

/// Everything that was seen, and what of it must not be.
pub struct Journal {
    aloud: bool,
    began: OnceLock<(Instant, Timestamp)>,
    /// How far the clocks are off.
    off_seconds: AtomicI64,
    /// Since when they were off by how much.
    jumps: Mutex<Vec<(Timestamp, i64)>>,
    subscriptions: OnceLock<Vec<Subscription>>,
    crm_terms: OnceLock<Terms>,
    secrets_failed_at: Mutex<Option<Timestamp>>,
    story: Mutex<Vec<String>>,
    violations: Mutex<Vec<String>>,
    replies: Mutex<Vec<Reply>>,
    admitted: Mutex<Vec<Admitted>>,
    /// Calls that couldn't be counted: tenant, system, when.
    uncounted: Mutex<Vec<(String, String, Timestamp)>>,
}

impl Journal {
    pub fn new(aloud: bool) -> Self {
        Self {
            aloud,
            began: OnceLock::new(),
            off_seconds: AtomicI64::new(0),
            jumps: Mutex::default(),
            subscriptions: OnceLock::new(),
            crm_terms: OnceLock::new(),
            secrets_failed_at: Mutex::default(),
            story: Mutex::default(),
            violations: Mutex::default(),
            replies: Mutex::default(),
            admitted: Mutex::default(),
            uncounted: Mutex::default(),
        }
    }

    /// From now on, time counts.
    pub fn begin(&self, world: &World) {
        self.began.set((Instant::now(), world.now())).unwrap();
        world.let_time_flow();
    }

    /// The true time, whatever the clocks show.
    pub fn time(&self) -> Timestamp {
        let (began, at) = self.began.get().copied().unwrap();
        at + began.elapsed()
    }

    /// What the clocks show.
    pub fn clock(&self) -> Timestamp {
        self.time() + SignedDuration::from_secs(self.off_seconds.load(Ordering::Relaxed))
    }

    /// What they showed, or will if they don't jump, at a true time.
    pub fn clock_at(&self, time: Timestamp) -> Timestamp {
        let jumps = self.jumps.lock().unwrap();
        let off = jumps.iter().rev().find(|(at, _)| *at <= time).map_or(0, |(_, off)| *off);
        time + SignedDuration::from_secs(off)
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.get().map(|(began, _)| began.elapsed()).unwrap_or_default()
    }

    pub fn secrets_failed(&self) {
        *self.secrets_failed_at.lock().unwrap() = Some(self.time());
    }

    /// Whether secrets couldn't be read at some time since: runs of one copy wait for the same read.
    pub fn secrets_failed_since(&self, start: Timestamp) -> bool {
        self.secrets_failed_at.lock().unwrap().is_some_and(|at| at >= start)
    }

    pub fn connected(&self, terms: Terms) {
        self.crm_terms.get_or_init(|| terms);
    }

    /// What a system is configured with.
    pub fn terms(&self, system: &str) -> Terms {
        self.crm_terms.get().copied().filter(|_| system == crm::SYSTEM).unwrap_or_else(|| terms(system))
    }

    pub fn subscribed(&self, subscriptions: Vec<Subscription>) {
        self.subscriptions.set(subscriptions).unwrap();
    }

    pub fn subscriptions(&self) -> &[Subscription] {
        self.subscriptions.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether time counts already.
    pub fn is_running(&self) -> bool {
        self.began.get().is_some()
    }

    pub fn jumped(&self, seconds: i64) {
        let before = self.off_seconds.fetch_add(seconds, Ordering::Relaxed);
        self.jumps.lock().unwrap().push((self.time(), before + seconds));
        self.say(&format!("the clocks jump by {seconds} s"));
    }

    pub fn off_seconds(&self) -> i64 {
        self.off_seconds.load(Ordering::Relaxed)
    }

    pub fn say(&self, what: &str) {
        let line = format!("{:.3} {what}", self.time());
        if self.aloud {
            println!("{line}");
        }
        self.story.lock().unwrap().push(line);
    }

    pub fn violation(&self, what: String) {
        let mut violations = self.violations.lock().unwrap();
        if self.aloud {
            println!("VIOLATION: {what}");
        }
        if violations.len() < 20 {
            violations.push(what);
        }
    }

    pub fn reply(&self, reply: Reply) {
        let status = reply.answer.status.as_u16();
        let verdict = reply.answer.text("/status");
        self.say(&format!("event {} is answered {status} {verdict}", reply.event));
        if !matches!(status, 200 | 202 | 401 | 429 | 500 | 502 | 503 | 504) {
            self.violation(format!("event {} was answered {status}: {}", reply.event, reply.answer.body));
        }
        self.replies.lock().unwrap().push(reply);
    }

    pub fn replies(&self, event: usize) -> Vec<Reply> {
        self.replies.lock().unwrap().iter().filter(|reply| reply.event == event).cloned().collect()
    }

    pub fn admitted(&self, admitted: Admitted) {
        self.admitted.lock().unwrap().push(admitted);
    }

    pub fn uncounted(&self, tenant: &str, key: &str) {
        if let Some(system) = SYSTEMS.iter().find(|system| key.ends_with(*system)) {
            self.uncounted.lock().unwrap().push((tenant.to_owned(), (*system).to_owned(), self.time()));
        }
    }

    /// The calls of a system that were surely admitted within one and the same minute, by minute, with those of that
    /// minute that couldn't be counted.
    pub fn by_minute(&self, tenant: &str, system: &str) -> Vec<(i64, usize, usize)> {
        let minute = |time: Timestamp| time.as_second().div_euclid(60);
        let uncounted = self.uncounted.lock().unwrap();
        let mut counts = std::collections::BTreeMap::<i64, usize>::new();
        for Admitted { start, end, .. } in
            self.admitted.lock().unwrap().iter().filter(|a| a.tenant == tenant && a.system == system)
        {
            if minute(*start) == minute(*end) {
                *counts.entry(minute(*start)).or_default() += 1;
            }
        }
        let failed =
            |at: i64| uncounted.iter().filter(|(t, s, time)| t == tenant && s == system && minute(*time) == at).count();
        counts.into_iter().map(|(at, count)| (at, count, failed(at))).collect()
    }

    /// The story, or what was violated.
    pub fn end(&self) -> Result<Vec<String>, Vec<String>> {
        let violations = std::mem::take(&mut *self.violations.lock().unwrap());
        if violations.is_empty() { Ok(std::mem::take(&mut *self.story.lock().unwrap())) } else { Err(violations) }
    }
}
