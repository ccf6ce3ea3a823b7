//! A small CRM: the other side of an integration with the outbound preset `generic` (contract §5).
//!
//! ```sh
//! cargo run -p tests --example crm -- --token secret      # serves; --help says what else there is
//! cargo run -p tests --example crm -- walk                # the whole way there and back, with a running `cargo local`
//! ```
//!
//! What the hub calls is in [`api`]: create, patch, delete, read, look up, list; bearer tokens, and OAuth 2 client
//! credentials ([`access`]). A share of the calls fails on purpose ([`failures`]), also after they took effect. The hub
//! is told of all changes by webhooks ([`telling`]), of its own as well. People edit records under `/_crm` ([`own`]):
//!
//! ```sh
//! curl -s 127.0.0.1:9100/_crm/add -H content-type:application/json \
//!     -d '{"entity": "contact", "record": {"first_name": "Ada", "phone": "(415) 555-0132"}}'
//! curl -s 127.0.0.1:9100/_crm/edit -H content-type:application/json \
//!     -d '{"entity": "contact", "id": "crm_ct_…", "set": {"first_name": "Augusta"}}'
//! curl -s 127.0.0.1:9100/_crm/remove -H content-type:application/json -d '{"entity": "contact", "id": "crm_ct_…"}'
//! curl -s 127.0.0.1:9100/_crm/report                      # what is there, what is there twice, what happened
//! curl -s -X PUT 127.0.0.1:9100/_crm/failures -H content-type:application/json -d '{"share": 0.2}'
//! curl -s -X DELETE 127.0.0.1:9100/_crm/tokens            # revokes what /oauth/token gave
//! ```

mod access;
mod api;
mod crm;
mod failures;
mod options;
mod own;
mod records;
mod telling;
#[cfg(test)]
mod tests;
mod walk;
mod webhook;

use std::{net::Ipv4Addr, process::ExitCode, sync::Arc};

use jiff::Timestamp;
use shared::hub::Clock;
use tokio::net::TcpListener;

use self::{
    crm::{Crm, Settings},
    options::{Command, HELP},
};

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "the one place of the CRM that reads the clock")]
async fn main() -> ExitCode {
    let clock: Clock = Arc::new(Timestamp::now);
    let outcome = match Command::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{HELP}");
            Ok(())
        }
        Ok(Command::Serve { port, settings }) => serve(port, settings, clock).await,
        Ok(Command::Walk { port, settings, address, counts }) => match listen(port).await {
            Ok(listener) => walk::run(listener, settings, &address, counts, clock).await.map_err(|e| e.to_string()),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(port: u16, settings: Settings, clock: Clock) -> Result<(), String> {
    let listener = listen(port).await?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("The CRM serves http://{address}; http://{address}/_crm/report says what is there. Stop with Ctrl-C.");
    let served = Crm::new(settings, clock).serve(listener).await;
    served.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

async fn listen(port: u16) -> Result<TcpListener, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    listener.map_err(|error| format!("Port {port} can't be used: {error}. Choose another with --port."))
}
