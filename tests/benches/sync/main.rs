//! What it costs to send changed records to a CRM (contract §5), beside the floor: plain posts of the same bytes.
//!
//! `cargo bench -p tests --bench sync`, or one part: `… -- throughput` or `memory`; `docs/benchmarks.md` holds the results.

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
#[path = "../common/services.rs"]
mod services;
#[path = "../common/tenant.rs"]
mod tenant;

mod crm;
mod floor;
mod memory;
mod records;
mod tenants;
mod throughput;

fn main() {
    // The function's log lines are part of its work: with Lambda's own settings, as JSON.
    let log = tracing_subscriber::fmt().json().with_target(false).without_time();
    log.with_env_filter("info").with_writer(std::io::sink).init();
    // `cargo bench` adds a `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [part, preset, aws_url] = arguments.as_slice()
        && part == memory::CHILD
    {
        return memory::child(preset, aws_url);
    }
    for (name, run) in [("throughput", throughput::run as fn()), ("memory", memory::run)] {
        if arguments.is_empty() || arguments.iter().any(|wanted| wanted == name) {
            run();
        }
    }
}
