//! What `infra/template.yaml` says is to be deployed, as far as it can run in one process.
//!
//! The template is AWS SAM. What it names and this can't serve is an error, so that nothing runs deployed that
//! doesn't run here.

mod document;
mod events;
mod resources;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::functions::Functions;

/// The template of this repository.
const BUNDLED: &str = include_str!("../../../template.yaml");

/// The deployed parts that run locally.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// The functions, in the template's order.
    pub functions: Vec<FunctionSpec>,
    /// The HTTP API's routes, in no particular order.
    pub routes: Vec<Route>,
    /// The HTTP API's authorizers by the names that routes know them by.
    pub authorizers: BTreeMap<String, Authorizer>,
    /// The tables.
    pub tables: Vec<Table>,
    /// The queues.
    pub queues: Vec<Queue>,
    /// Which functions are fed from which queues.
    pub queue_triggers: Vec<QueueTrigger>,
    /// Which function is fed from a table's stream; one at most.
    pub stream_triggers: Vec<StreamTrigger>,
    /// Which functions run on a schedule.
    pub schedules: Vec<Schedule>,
}

/// A function as it is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionSpec {
    /// The name of the function's binary, such as `webhook-stripe`, by which it is known locally.
    pub name: String,
    /// When an invocation is cut off.
    pub timeout: Duration,
    /// The environment variables, with all references resolved.
    pub environment: BTreeMap<String, String>,
}

/// A route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The HTTP method in upper case, or `ANY`.
    pub method: String,
    /// The path with its parameters, such as `/webhooks/{tenant_id}/stripe`, or `$default`.
    pub path: String,
    /// The function that answers.
    pub function: String,
    /// The authorizer that is asked before; `None` where everybody may call.
    pub authorizer: Option<String>,
}

/// A function that decides who may call a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorizer {
    /// The function that is asked.
    pub function: String,
    /// The headers, in lower case, without which nobody is let in.
    pub identity_headers: Vec<String>,
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The `CreateTable` request.
    pub definition: Value,
    /// The attribute that says when an item expires.
    pub ttl_attribute: Option<String>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its attributes as `CreateQueue` takes them.
    pub attributes: BTreeMap<String, String>,
}

/// A queue that feeds a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueTrigger {
    /// The function that is invoked.
    pub function: String,
    /// The queue's name.
    pub queue: String,
    /// How many messages one invocation gets at most.
    pub batch_size: usize,
    /// How long to wait for a batch to fill.
    pub batching_window: Duration,
    /// Whether the function names the messages that failed, instead of failing the whole batch.
    pub reports_failures: bool,
    /// How many batches run at once at most.
    pub concurrency: usize,
}

/// A table's stream that feeds a function with new items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTrigger {
    /// The function that is invoked.
    pub function: String,
    /// The table's name.
    pub table: String,
    /// The stream's ARN.
    pub stream_arn: String,
    /// How many records one invocation gets at most.
    pub batch_size: usize,
    /// Whether the function names the record that failed, instead of failing the whole batch.
    pub reports_failures: bool,
    /// An item goes to the function when any of these is true of it.
    pub filters: Vec<StreamFilter>,
}

/// What must be true of a new item: each of these attributes is one of its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFilter(pub BTreeMap<String, Vec<String>>);

/// A function that runs at intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The function that is invoked.
    pub function: String,
    /// The schedule's name in the template.
    pub name: String,
    /// The time from one invocation to the next.
    pub interval: Duration,
    /// The event that the function gets, where the template gives one.
    pub input: Option<Value>,
}

/// Why a template can't run locally.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It isn't YAML.
    #[error("The template is not valid YAML: {0}.")]
    Yaml(String),
    /// Something is missing, or not what it should be.
    #[error("{at} in the template: {problem}.")]
    Invalid {
        /// The place, such as `Resources.HubTable`.
        at: String,
        /// What is wrong.
        problem: String,
    },
    /// Something is as it should be, but can't run here.
    #[error("{at} in the template: `cargo local` can't serve {what}. Teach it to, in infra/local.")]
    Unsupported {
        /// The place, such as `Resources.Sync.Events.Daily`.
        at: String,
        /// What it is.
        what: String,
    },
}

/// The template's functions are not those that this binary has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The template and this binary have different functions.{}{}",
    listed(" Only in infra/template.yaml: ", .only_in_template), listed(" Only in the binary: ", .only_in_binary))]
pub struct FunctionsDiffer {
    /// Functions that would be deployed, but don't run here.
    pub only_in_template: Vec<String>,
    /// Functions that run here, but wouldn't be deployed.
    pub only_in_binary: Vec<String>,
}

fn listed(title: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("{title}{}.", names.join(", ")) }
}

impl Template {
    /// The template of this repository, as it runs with the AWS services at `endpoint_url`.
    ///
    /// # Errors
    /// When the template can't run locally.
    pub fn bundled(endpoint_url: &str) -> Result<Self, TemplateError> {
        Self::parse(BUNDLED, endpoint_url)
    }

    /// Reads a template. Its queues' URLs begin with `endpoint_url`, and its parameters have their default values,
    /// but for `Stage`, which is `local`.
    ///
    /// # Errors
    /// When the text isn't a template, or names something that can't run locally.
    pub fn parse(text: &str, endpoint_url: &str) -> Result<Self, TemplateError> {
        resources::read(&document::Document::parse(text, endpoint_url)?)
    }

    /// The function of this name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&FunctionSpec> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// Makes sure that what would be deployed and what runs here are the same functions.
    ///
    /// # Errors
    /// Names the functions that one side lacks.
    pub fn check(&self, functions: &Functions) -> Result<(), FunctionsDiffer> {
        let deployed: BTreeSet<_> = self.functions.iter().map(|function| function.name.as_str()).collect();
        let running: BTreeSet<_> = functions.names().collect();
        if deployed == running {
            return Ok(());
        }
        let names = |only: &mut dyn Iterator<Item = &&str>| only.map(|name| (*name).to_owned()).collect();
        Err(FunctionsDiffer {
            only_in_template: names(&mut deployed.difference(&running)),
            only_in_binary: names(&mut running.difference(&deployed)),
        })
    }
}
