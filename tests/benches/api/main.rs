//! What a call of the management API costs (contract §7), beside the floor: a handler that does nothing but the same call to AWS,
//! and answers what it gives. And whether another tenant's id takes as long as one that nobody has.
//!
//! The services run behind their port in a thread of their own; what counts is this thread's CPU time, from the event as Lambda
//! hands it over to the response. `cargo bench -p tests --bench api`; `docs/benchmarks.md` holds the results.

#[path = "../common/figures.rs"]
mod figures;
#[path = "../common/function.rs"]
mod function;
#[path = "../common/measure.rs"]
mod measure;
#[path = "../common/services.rs"]
mod services;
#[path = "../common/tenant.rs"]
mod tenant;

mod floor;
mod subject;

use std::{hint::black_box, time::Duration};

use self::{
    figures::{as_f64, median, quantile},
    floor::Floor,
    measure::{thread_cpu, wall_clock},
    services::Services,
    subject::{Subject, TENANT},
};

/// Calls of a round, and rounds in which subject and floor take turns.
const CALLS: usize = 1_000;
const ROUNDS: usize = 9;
/// Records of a list.
pub const RECORDS: usize = 50;

fn main() {
    // The function's log lines are part of its work: with Lambda's own settings, as JSON.
    let log = tracing_subscriber::fmt().json().with_target(false).without_time();
    log.with_env_filter("info").with_writer(std::io::sink).init();
    let services = Services::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let subject = Subject::new(&services, &runtime);
    let floor = Floor::new(&services.url());

    println!("\nCPU of a warm call, {CALLS} calls in each of {ROUNDS} rounds");
    let of = |route: &str| format!("{TENANT}#{route}");
    beside(
        "a contact",
        || runtime.block_on(subject.get("/v1/contacts/con_1")),
        || runtime.block_on(floor.get(&of("con"), "con_1")),
    );
    beside(
        "a list of 50 contacts",
        || runtime.block_on(subject.get("/v1/contacts?limit=50")),
        || runtime.block_on(floor.query(&of("con"))),
    );
    beside(
        "a key's check",
        || runtime.block_on(subject.authorize()),
        || runtime.block_on(floor.batch([(&of("key"), &subject.key_hash()), (&of("config"), "tenant")])),
    );

    println!("\nTime of a call that finds nothing, {} calls each in turn", CALLS * ROUNDS);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..CALLS * ROUNDS {
        for (id, times) in ["con_other", "con_none_"].iter().zip(&mut times) {
            let before = wall_clock();
            black_box(runtime.block_on(subject.missing(&format!("/v1/contacts/{id}"))));
            times.push(before.elapsed().as_secs_f64() * 1e6);
        }
    }
    let [foreign, none] = times.map(|times| [50, 90].map(|percent| quantile(times.iter().copied(), percent)));
    println!("  another tenant's id: {:.0} µs, 90 % within {:.0} µs", foreign[0], foreign[1]);
    println!("  an id that nobody has: {:.0} µs, 90 % within {:.0} µs", none[0], none[1]);
    println!("  ratio: {:.3}, {:.3}", foreign[0] / none[0], foreign[1] / none[1]);
}

/// Measures a call and its floor in turn.
fn beside<A, B>(name: &str, mut subject: impl FnMut() -> A, mut floor: impl FnMut() -> B) {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        times[0].push(cpu(&mut subject).as_secs_f64());
        times[1].push(cpu(&mut floor).as_secs_f64());
    }
    let [subject, floor] = times.map(median);
    let each = |cpu: f64| 1e6 * cpu / as_f64(CALLS);
    println!("  {name}: {:.0} µs, the floor {:.0} µs: {:.2} times", each(subject), each(floor), subject / floor);
}

fn cpu<T>(work: &mut impl FnMut() -> T) -> Duration {
    let before = thread_cpu();
    for _ in 0..CALLS {
        black_box(work());
    }
    thread_cpu().saturating_sub(before)
}
