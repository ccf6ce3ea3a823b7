//! What outgoing webhooks cost (contract §6), beside the floor: the same number of plain signed posts.
//!
//! `cargo bench -p tests --bench deliver`, or one part: `… -- throughput`, `latency` or `memory`; `docs/benchmarks.md` holds
//! the results.

mod deployment;
mod endpoint;
mod latency;
mod memory;
mod plain;
mod sample;
mod throughput;

use std::time::Instant;

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

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(values, 50)
}

/// The value below which `percent` of all are.
fn quantile(values: impl IntoIterator<Item = f64>, percent: usize) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

#[expect(clippy::cast_precision_loss, reason = "counts of far fewer than 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn wall_clock() -> Instant {
    Instant::now()
}
