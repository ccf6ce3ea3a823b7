//! What outgoing webhooks cost (contract §6), beside the floor: the same number of plain signed posts.
//!
//! `cargo bench -p tests --bench deliver`, or one part: `… -- throughput`, `latency` or `memory`; `docs/benchmarks.md` holds
//! the results.

#[path = "../common/client.rs"]
mod client;
#[path = "../common/figures.rs"]
mod figures;
#[path = "../common/function.rs"]
mod function;
#[path = "../common/http.rs"]
mod http;
#[path = "../common/measure.rs"]
mod measure;
#[path = "../common/memory.rs"]
mod resident;

mod deployment;
mod endpoint;
mod latency;
mod memory;
mod plain;
mod sample;
mod throughput;

fn main() {
    // The function's log lines are part of its work: with Lambda's own settings, as JSON.
    let log = tracing_subscriber::fmt().json().with_target(false).without_time();
    log.with_env_filter("info").with_writer(std::io::sink).init();
    // `cargo bench` adds a `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [part, role, url] = arguments.as_slice()
        && part == memory::CHILD
    {
        return memory::child(role, url);
    }
    let parts = [("throughput", throughput::run as fn()), ("latency", latency::run), ("memory", memory::run)];
    for (name, run) in parts {
        if arguments.is_empty() || arguments.iter().any(|wanted| wanted == name) {
            run();
        }
    }
}
