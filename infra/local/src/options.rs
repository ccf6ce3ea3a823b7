//! The command line of `cargo local`.

use std::path::PathBuf;

use crate::aws::{Service, Switch};

/// What `--help` prints.
pub const HELP: &str = "\
Serves the whole integration hub on this machine.

Usage: cargo local [OPTIONS]
       cargo local outage [on [SERVICE] | off] [--aws-port <PORT>]

  --port <PORT>       Port of the HTTP API and of Lambda's Invoke API [9000]
  --aws-port <PORT>   Port of DynamoDB, SQS and Secrets Manager [9001]
  --data-dir <PATH>   Folder that keeps tables, queues and secrets [.local]
  --ephemeral         Keep nothing: all data is in memory
  --demo              Make a demo tenant and send it every sample event
  --outage <SERVICE>  Begin with an outage of this service, after the demo
  --help              Print this

`cargo local outage` tells a running `cargo local` to begin an outage of dynamodb
[the default], sqs or secretsmanager, or to end it, and says which ones fail.
";

/// What to serve, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The port of the HTTP API; 0 takes any that is free.
    pub port: u16,
    /// The port of the AWS services; 0 takes any that is free.
    pub aws_port: u16,
    /// Where data is kept; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// Whether to make a demo tenant.
    pub demo: bool,
    /// The service that fails until it is told not to.
    pub outage: Option<Service>,
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Serve.
    Serve(Options),
    /// Tell the one that serves AWS on this port.
    Outage(u16, Switch),
}

/// Why a command line can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// There is no such option.
    #[error("There is no option {0}. See `cargo local --help`.")]
    Unknown(String),
    /// There is no such service.
    #[error("There is no service {0}. An outage can be of dynamodb, sqs or secretsmanager.")]
    Service(String),
    /// The option has no value.
    #[error("{0} needs a value. See `cargo local --help`.")]
    MissingValue(String),
    /// The option takes no value, but has one.
    #[error("{0} takes no value. See `cargo local --help`.")]
    UnwantedValue(String),
    /// The value is no port.
    #[error("{option} needs a number from 0 to 65535, not {value:?}.")]
    Port {
        /// The option.
        option: String,
        /// What it was given.
        value: String,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 9000, aws_port: 9001, data_dir: Some(PathBuf::from(".local")), demo: false, outage: None }
    }
}

impl Command {
    /// Reads the arguments, without the program's name. `--option value` and `--option=value` are the same; of
    /// options that exclude each other, the last one counts.
    ///
    /// # Errors
    /// Names the first argument that can't be understood.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, OptionError> {
        let mut arguments = arguments.into_iter();
        let mut options = Options::default();
        let mut words = Vec::new();
        while let Some(argument) = arguments.next() {
            let (option, value) = match argument.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            match option {
                "--help" | "-h" => return Ok(Self::Help),
                "--ephemeral" | "--demo" if value.is_some() => {
                    return Err(OptionError::UnwantedValue(option.to_owned()));
                }
                "--ephemeral" => options.data_dir = None,
                "--demo" => options.demo = true,
                "--port" | "--aws-port" | "--data-dir" | "--outage" => {
                    let value = value.or_else(|| arguments.next()).filter(|value| !value.is_empty());
                    let value = value.ok_or_else(|| OptionError::MissingValue(option.to_owned()))?;
                    match option {
                        "--port" => options.port = port(option, value)?,
                        "--aws-port" => options.aws_port = port(option, value)?,
                        "--outage" => options.outage = Some(service(&value)?),
                        _ => options.data_dir = Some(value.into()),
                    }
                }
                _ if option.starts_with('-') => return Err(OptionError::Unknown(option.to_owned())),
                _ => words.push(argument),
            }
        }
        if words.is_empty() {
            return Ok(Self::Serve(options));
        }
        Ok(Self::Outage(options.aws_port, switch(&words)?))
    }
}

fn switch(words: &[String]) -> Result<Switch, OptionError> {
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["outage"] => Ok(Switch::Show),
        ["outage", "on"] => Ok(Switch::On(Service::DynamoDb)),
        ["outage", "on", name] => Ok(Switch::On(service(name)?)),
        ["outage", "off"] => Ok(Switch::Off),
        _ => Err(OptionError::Unknown(words.join(" "))),
    }
}

fn service(name: &str) -> Result<Service, OptionError> {
    Service::named(name).ok_or_else(|| OptionError::Service(name.to_owned()))
}

fn port(option: &str, value: String) -> Result<u16, OptionError> {
    value.parse().map_err(|_| OptionError::Port { option: option.to_owned(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, OptionError> {
        Command::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_understood() {
        let default = Options::default();
        let table = [
            ("", default.clone()),
            ("--port 1 --aws-port=2", Options { port: 1, aws_port: 2, ..default.clone() }),
            ("--data-dir a/b --demo", Options { data_dir: Some("a/b".into()), demo: true, ..default.clone() }),
            ("--outage=sqs", Options { outage: Some(Service::Sqs), ..default.clone() }),
            ("--ephemeral", Options { data_dir: None, ..default }),
        ];
        for (line, options) in table {
            assert_eq!(parse(line), Ok(Command::Serve(options)), "{line}");
        }
        assert_eq!(parse("--port 1 --help"), Ok(Command::Help));
    }

    #[test]
    fn an_outage_is_for_the_one_that_serves() {
        let table = [
            ("outage", 9001, Switch::Show),
            ("outage on", 9001, Switch::On(Service::DynamoDb)),
            ("outage on secretsmanager --aws-port 2", 2, Switch::On(Service::SecretsManager)),
            ("--aws-port=2 outage off", 2, Switch::Off),
        ];
        for (line, port, switch) in table {
            assert_eq!(parse(line), Ok(Command::Outage(port, switch)), "{line}");
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let table = [
            ("--prot 1", "There is no option --prot. See `cargo local --help`."),
            ("9000", "There is no option 9000. See `cargo local --help`."),
            ("outage of sqs", "There is no option outage of sqs. See `cargo local --help`."),
            ("outage on s3", "There is no service s3. An outage can be of dynamodb, sqs or secretsmanager."),
            ("--port", "--port needs a value. See `cargo local --help`."),
            ("--data-dir=", "--data-dir needs a value. See `cargo local --help`."),
            ("--demo=yes", "--demo takes no value. See `cargo local --help`."),
            ("--port 65536", "--port needs a number from 0 to 65535, not \"65536\"."),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line).unwrap_err().to_string(), expected, "{line}");
        }
    }
}
