//! The command line.

use std::str::FromStr;

use crate::{access::Credentials, crm::Settings, walk::Counts, webhook::Receiver};

/// What `--help` prints.
pub const HELP: &str = "\
A small CRM: the other side of an integration with the outbound preset `generic`.

Usage: cargo run -p tests --example crm -- [OPTIONS]
       cargo run -p tests --example crm -- walk [OPTIONS]

  --port <PORT>             Where it serves [9100; for `walk` any that is free]
  --token <TOKEN>           A bearer token that opens the API and never expires
  --client-id <ID>          Of the OAuth 2 client that POST /oauth/token knows [hub]
  --client-secret <SECRET>  Its secret [hub-secret]
  --token-seconds <N>       How long a token of /oauth/token is good for [3600; for `walk` 20]
  --failures <SHARE>        Share of the API's calls that fail [0; for `walk` 0.2]
  --seed <N>                Decides which ones [1]
  --no-echo                 Don't tell the hub of what it did over the API itself
  --help                    Print this

To serve until Ctrl-C:

  --hub <URL>               Where the hub takes this CRM's webhooks: …/webhooks/TENANT/external_crm
  --webhook-secret <SECRET> What they are signed with, scheme custom

`walk` starts the CRM, makes a tenant of a running `cargo local`, sends it records, has them
synced, and checks that each is in the CRM once, and that changes go both ways:

  --address <URL>           Where `cargo local` serves [http://127.0.0.1:9000]
  --contacts <N>            [1000]
  --companies <N>           [50]
  --interactions <N>        [5000]
";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Help,
    Serve { port: u16, settings: Settings },
    Walk { port: u16, settings: Settings, address: String, counts: Counts },
}

#[derive(Default)]
struct Given {
    port: Option<u16>,
    token: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    token_seconds: Option<u32>,
    failures: Option<f64>,
    seed: Option<u64>,
    no_echo: bool,
    hub: Option<String>,
    webhook_secret: Option<String>,
    address: Option<String>,
    counts: Counts,
    walk: bool,
}

impl Command {
    /// Reads the arguments, without the program's name. `--option value` and `--option=value` are the same.
    ///
    /// # Errors
    /// A sentence about the first argument that can't be understood.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mut given = Given::default();
        while let Some(argument) = arguments.next() {
            let (option, value) = match argument.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            match (option, &value) {
                ("--help" | "-h", None) => return Ok(Self::Help),
                ("walk", None) => given.walk = true,
                ("--no-echo", None) => given.no_echo = true,
                _ if option.starts_with("--") => given.set(option, || value.or_else(|| arguments.next()))?,
                _ => return Err(unknown(option)),
            }
        }
        given.command()
    }
}

impl Given {
    fn set(&mut self, option: &str, value: impl FnOnce() -> Option<String>) -> Result<(), String> {
        match option {
            "--port" => self.port = Some(read(option, value)?),
            "--token" => self.token = Some(read(option, value)?),
            "--client-id" => self.client_id = Some(read(option, value)?),
            "--client-secret" => self.client_secret = Some(read(option, value)?),
            "--token-seconds" => self.token_seconds = Some(read(option, value)?),
            "--failures" => self.failures = Some(read(option, value)?),
            "--seed" => self.seed = Some(read(option, value)?),
            "--hub" => self.hub = Some(read(option, value)?),
            "--webhook-secret" => self.webhook_secret = Some(read(option, value)?),
            "--address" => self.address = Some(read(option, value)?),
            "--contacts" => self.counts.contacts = read(option, value)?,
            "--companies" => self.counts.companies = read(option, value)?,
            "--interactions" => self.counts.interactions = read(option, value)?,
            _ => return Err(unknown(option)),
        }
        Ok(())
    }

    fn command(self) -> Result<Command, String> {
        let walk = self.walk;
        let failures = self.failures.unwrap_or(if walk { 0.2 } else { 0.0 });
        if !(0.0..=1.0).contains(&failures) {
            return Err("--failures needs a share from 0 to 1.".into());
        }
        let hub = match (self.hub, self.webhook_secret) {
            (None, None) => None,
            (Some(url), Some(secret)) if !walk => Some(Receiver { url, secret }),
            _ if walk => return Err("`walk` makes its own tenant: no --hub and no --webhook-secret.".into()),
            _ => return Err("--hub and --webhook-secret go together.".into()),
        };
        if walk && self.counts.contacts == 0 {
            return Err("--contacts needs at least 1: `walk` edits one.".into());
        }
        let credentials = Credentials {
            token: self.token,
            client_id: self.client_id.unwrap_or_else(|| "hub".into()),
            client_secret: self.client_secret.unwrap_or_else(|| "hub-secret".into()),
            token_seconds: self.token_seconds.unwrap_or(if walk { 20 } else { 3_600 }),
        };
        let settings = Settings { credentials, failures, seed: self.seed.unwrap_or(1), hub, echo: !self.no_echo };
        let port = self.port.unwrap_or(if walk { 0 } else { 9_100 });
        if !walk {
            return Ok(Command::Serve { port, settings });
        }
        let address = self.address.unwrap_or_else(|| "http://127.0.0.1:9000".into());
        Ok(Command::Walk { port, settings, address: address.trim_end_matches('/').into(), counts: self.counts })
    }
}

fn unknown(option: &str) -> String {
    format!("There is no option {option}. See `cargo run -p tests --example crm -- --help`.")
}

fn read<T: FromStr>(option: &str, value: impl FnOnce() -> Option<String>) -> Result<T, String> {
    let text = value().filter(|text| !text.is_empty()).ok_or_else(|| format!("{option} needs a value."))?;
    text.parse().map_err(|_| format!("{option} doesn't take {text:?}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_server_and_a_walk_have_their_own_defaults() {
        let Ok(Command::Serve { port: 9_100, settings }) = parse("--hub http://h/w --webhook-secret=s --no-echo")
        else {
            panic!("not served")
        };
        assert_eq!(settings.hub, Some(Receiver { url: "http://h/w".into(), secret: "s".into() }));
        assert_eq!((settings.failures.to_bits(), settings.echo), (0.0_f64.to_bits(), false));
        let Ok(Command::Walk { port: 0, settings, address, counts }) = parse("walk --address http://h/ --companies 7")
        else {
            panic!("not walked")
        };
        assert_eq!((settings.failures.to_bits(), settings.echo), (0.2_f64.to_bits(), true));
        assert_eq!((address.as_str(), counts), ("http://h", Counts { companies: 7, ..Counts::default() }));
    }

    #[test]
    fn mistakes_are_explained() {
        let unknown = "There is no option --prot. See `cargo run -p tests --example crm -- --help`.";
        let table = [
            ("--prot 1", unknown),
            ("--port", "--port needs a value."),
            ("--port x", "--port doesn't take \"x\"."),
            ("--failures 2", "--failures needs a share from 0 to 1."),
            ("--hub http://h", "--hub and --webhook-secret go together."),
            ("walk --hub http://h", "`walk` makes its own tenant: no --hub and no --webhook-secret."),
            ("walk --contacts 0", "--contacts needs at least 1: `walk` edits one."),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line).unwrap_err(), expected, "{line}");
        }
    }
}
