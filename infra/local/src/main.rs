//! `cargo local`: reads the command line and serves until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use local::functions::Functions;
use local::options::{Command, HELP, Options};
use local::{Clock, Server, StartError};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Command::parse(std::env::args().skip(1)) {
        Ok(Command::Serve(options)) => serve(&options).await.map_err(|error| error.to_string()),
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

async fn serve(options: &Options) -> Result<(), StartError> {
    let clock: Clock = Arc::new(SystemTime::now);
    let seed = clock().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos().into();
    let server = Server::start(options, clock, seed, |_, _, _| Ok(Functions::default())).await?;
    println!("HTTP API and Lambda:  {}", server.url());
    println!("AWS services:         {}", server.aws().endpoint_url());
    until_told_to_stop().await;
    server.stop().await;
    Ok(())
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
