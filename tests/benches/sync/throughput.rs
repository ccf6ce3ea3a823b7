//! Records a second and a CPU second of the function.
//!
//! AWS runs behind its port, and the CRM behind its own, in threads of their own. `sync-contacts` runs in this one, one run as on
//! one copy of the function, and what counts is this thread's CPU time.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use local::aws::Tap;
use reqwest::Client;
use shared::{hub::Edge, sync::state::Scope};
use tokio::runtime::Runtime;

use super::{
    client::plain_client,
    crm::{Crm, Sent},
    figures::{as_f64, median},
    floor,
    function::hub_at,
    measure::{thread_cpu, wall_clock},
    records::{self, FUNCTION, change},
    services::Services,
    tenants::{make_tenant, tapped},
};

/// What a run sends.
const RECORDS: usize = 2_000;
/// Floor and subject take turns, so that whatever else the machine does meets both.
const ROUNDS: usize = 5;
/// Calls to AWS a record at most.
const CALLS_MAX: f64 = 2.0;
const KINDS: [&str; 2] = ["new contacts", "updates"];

/// CPU and wall-clock seconds.
type Times = [f64; 2];

/// Everything around a run.
struct Stage {
    crm: Crm,
    scope: Scope,
    runtime: Runtime,
    /// Writes what has changed.
    filler: Edge,
}

pub fn run() {
    let services = Services::start();
    for preset in ["generic", "hubspot"] {
        let crm = Crm::start();
        let scope = make_tenant(&services, preset, &crm.url);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stage = Stage { crm, scope, runtime, filler: hub_at(FUNCTION, &services.url()) };
        println!("\n{RECORDS} contacts, preset {preset}");
        let tap = Tap::recording();
        let listened = hub_at(FUNCTION, &tapped(&services, &tap));
        let sent = [1, 2].map(|version| stage.rehearse(&listened, version, &tap));
        let (hub, client) = (hub_at(FUNCTION, &services.url()), plain_client());
        // Warms both up.
        stage.round(&hub, &client, 1, &sent);
        let rounds: Vec<_> = (2..ROUNDS + 2).map(|n| stage.round(&hub, &client, n, &sent)).collect();
        for (kind, name) in KINDS.into_iter().enumerate() {
            print(name, |who, time| median(rounds.iter().map(|round| round[kind][who][time])));
        }
    }
}

fn print(name: &str, figure: impl Fn(usize, usize) -> f64) {
    println!("  {name}, CPU: {:.2} times the floor", figure(0, 0) / figure(1, 0));
    for (who, what) in [FUNCTION, "plain requests"].into_iter().enumerate() {
        let (count, cpu, wall) = (as_f64(RECORDS), figure(who, 0), figure(who, 1));
        let (a_cpu_second, each) = (count / cpu, 1e6 * cpu / count);
        println!("    {what}: {a_cpu_second:.0} a CPU second, {each:.1} µs each; {:.0} a second", count / wall);
    }
}

impl Stage {
    /// Sends once without taking the time, prints the calls, and gives what was sent.
    fn rehearse(&self, hub: &Edge, version: i64, tap: &Tap) -> Vec<Sent> {
        self.crm.keep();
        tap.take();
        self.sync(hub, 0..RECORDS, version);
        let mut calls: BTreeMap<String, (usize, f64)> = BTreeMap::new();
        let mut all = 0;
        for record in tap.take() {
            let (count, units) = calls.entry(record.operation.clone()).or_default();
            *count += 1;
            *units += record.capacity_units();
            all += 1;
        }
        let sent = self.crm.take();
        let a_record = as_f64(all) / as_f64(RECORDS);
        let name = KINDS[usize::from(version > 1)];
        println!("  {name}: {a_record:.3} calls to AWS a record, {} to the CRM", sent.len());
        assert!(a_record <= CALLS_MAX);
        for (operation, (count, units)) in calls {
            let [count, units] = [as_f64(count), units].map(|sum| sum / as_f64(RECORDS));
            println!("    {operation}: {count:.4} calls and {units:.3} units a record");
        }
        sent
    }

    /// New contacts and then their updates, each by the function and by the floor.
    fn round(&self, hub: &Edge, client: &Client, n: usize, sent: &[Vec<Sent>; 2]) -> [[Times; 2]; 2] {
        let contacts = n * RECORDS..(n + 1) * RECORDS;
        [(1, 0), (2, 1)].map(|(version, kind)| {
            let times = self.sync(hub, contacts.clone(), version);
            [times, self.time(floor::send(client, &self.crm.url, &sent[kind]))]
        })
    }

    fn sync(&self, hub: &Edge, contacts: Range<usize>, version: i64) -> Times {
        self.runtime.block_on(change(&self.filler, &self.scope, contacts, version));
        let before = self.crm.records();
        let times = self.time(records::run(hub, &self.scope));
        assert_eq!(self.crm.records() - before, RECORDS);
        times
    }

    fn time(&self, work: impl Future<Output = ()>) -> Times {
        let (cpu, wall) = (thread_cpu(), wall_clock());
        self.runtime.block_on(work);
        [thread_cpu().saturating_sub(cpu), wall.elapsed()].map(|time: Duration| time.as_secs_f64())
    }
}
