//! `cargo local`: reads the command line and serves until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use local::aws::{Switch, tell};
use local::bundle::{Surroundings, functions};
use local::demo;
use local::options::{Command, HELP, Options};
use local::{Clock, Server};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Command::parse(std::env::args().skip(1)) {
        Ok(Command::Serve(options)) => serve(&options).await.map_err(|error| error.to_string()),
        Ok(Command::Outage(port, switch)) => {
            tell(port, switch).await.map(|state| print!("{state}")).map_err(|error| error.to_string())
        }
        Ok(Command::Help) => {
            print!("{HELP}");
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of `cargo local` that reads the clock")]
async fn serve(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    // The log goes to standard error, so that the demo's table and its `curl` lines stand alone.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let clock: Clock = Arc::new(SystemTime::now);
    let seed = clock().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos().into();
    let time = Arc::clone(&clock);
    let server = Server::start(options, clock, seed, |aws, template, url| {
        let random = Arc::new(shared::hub::system_random);
        let emit = Arc::new(|line: &str| tracing::info!("{}", readable(line)));
        let surroundings =
            Surroundings { clock: time, random, emit, send: None, public_url: url.to_owned(), interactive: true };
        Ok(functions(aws, template, &surroundings)?)
    })
    .await?;
    if options.demo {
        print!("{}", demo::run(server.url(), &server.aws().endpoint_url(), Timestamp::now).await?);
    }
    if let Some(service) = options.outage {
        print!("{}", server.aws().outage(Switch::On(service)));
    }
    println!("HTTP API and Lambda:  {}", server.url());
    println!("AWS services:         {}", server.aws().endpoint_url());
    println!("Stop with Ctrl-C.");
    until_told_to_stop().await;
    server.stop().await;
    Ok(())
}

/// A metric's line without what only CloudWatch reads.
fn readable(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return line.to_owned() };
    fields.retain(|name, _| !["_aws", "timestamp", "level", "stage"].contains(&name.as_str()));
    Value::Object(fields).to_string()
}

/// Waits for Ctrl-C or SIGTERM. Where signals can't be heard, it waits for the end of the process.
async fn until_told_to_stop() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => signals.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = terminated => {}
        () = interrupted => {}
    }
}
