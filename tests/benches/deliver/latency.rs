//! From a webhook's answer, that tells its commit, to the arrival of what subscribers are told of it, in `cargo local`.

use std::{fs, path::Path, sync::mpsc, time::Duration};

use super::{
    client::plain_client,
    deployment::Deployment,
    endpoint::{Endpoint, Manner},
    figures::quantile,
    measure::wall_clock,
};

/// One after the other, so that none waits for another.
const WEBHOOKS: usize = 200;
const WARM_UP: usize = 20;
const PATIENCE: Duration = Duration::from_secs(10);

pub fn run() {
    println!(
        "\nCommit to arrival in `cargo local`, {WEBHOOKS} webhooks one after the other; the target is a median of 10 ms"
    );
    measure("in memory", &Deployment::start(None));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-deliver");
    // What an earlier run left; there may be nothing.
    let _ = fs::remove_dir_all(&directory);
    measure("on disk", &Deployment::start(Some(directory)));
}

fn measure(name: &str, deployment: &Deployment) {
    let (tell, arrivals) = mpsc::channel();
    let endpoint = Endpoint::start(Manner::Tell(tell));
    deployment.subscribe(&endpoint.url, "phone_number.interaction.created");
    // A new subscription is tried.
    arrivals.recv_timeout(PATIENCE).unwrap();
    let (client, runtime) =
        (plain_client(), tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    let (mut since_answer, mut since_sent, mut posts) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..WARM_UP + WEBHOOKS {
        let sent = wall_clock();
        runtime.block_on(deployment.call_ended(&client, n));
        let answered = wall_clock();
        let arrived = arrivals.recv_timeout(PATIENCE).unwrap();
        if n >= WARM_UP {
            since_sent.push(1e3 * (arrived - sent).as_secs_f64());
            // The delivery may overtake the answer.
            since_answer.push(1e3 * arrived.saturating_duration_since(answered).as_secs_f64());
        }
    }
    for _ in 0..WARM_UP + WEBHOOKS {
        let sent = wall_clock();
        runtime.block_on(async { client.post(&endpoint.url).body("{}").send().await.unwrap().bytes().await.unwrap() });
        posts.push(1e3 * (arrivals.recv_timeout(PATIENCE).unwrap() - sent).as_secs_f64());
    }
    let rows = [("since the answer", since_answer), ("since it was sent", since_sent), ("floor: a plain post", posts)];
    for (what, times) in rows {
        let [median, p95] = [50, 95].map(|percent| quantile(times.iter().copied(), percent));
        println!("  {name}, {what}: median {median:.2} ms, p95 {p95:.2} ms");
    }
}
