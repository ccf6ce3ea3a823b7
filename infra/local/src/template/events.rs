//! What makes a function run: routes, queues, streams and schedules.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::document::{Resource, invalid, read as read_value};
use super::resources::last_part;
use super::{QueueTrigger, Route, Schedule, Template, TemplateError, stream};

/// How many batches of a queue run at once where the template doesn't say: what an account may run by default
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
const DEFAULT_CONCURRENCY: usize = 1_000;

/// What the template may say
/// (<https://docs.aws.amazon.com/lambda/latest/api/API_ScalingConfig.html>).
const CONCURRENCY_LIMITS: std::ops::RangeInclusive<usize> = 2..=1000;

/// Reads a function's events into the template's routes, triggers and schedules.
pub(super) fn read(
    resource: &Resource,
    default_authorizer: Option<&str>,
    template: &mut Template,
) -> Result<(), TemplateError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Event {
        r#type: String,
        #[serde(default)]
        properties: Value,
    }
    let function = resource.binary()?;
    let events = resource.properties(&["Events"])?.remove("Events").unwrap_or_else(|| serde_json::json!({}));
    let Value::Object(events) = events else {
        return Err(invalid(&resource.place(), "its Events are no map"));
    };
    for (name, event) in events {
        let at = format!("{}.Events.{name}", resource.place());
        let event: Event = read_value(event, &at)?;
        match event.r#type.as_str() {
            "HttpApi" => template.routes.push(route(function.clone(), event.properties, default_authorizer, &at)?),
            "SQS" => template.queue_triggers.push(queue_trigger(function.clone(), event.properties, &at)?),
            "DynamoDB" if template.stream_triggers.is_empty() => {
                template.stream_triggers.push(stream::read_trigger(function.clone(), event.properties, &at)?);
            }
            "DynamoDB" => return Err(TemplateError::Unsupported { at, what: "a second event of a stream".to_owned() }),
            "ScheduleV2" => template.schedules.push(schedule(function.clone(), name, event.properties, &at)?),
            other => return Err(TemplateError::Unsupported { at, what: format!("an event of type {other}") }),
        }
    }
    Ok(())
}

fn route(
    function: String,
    properties: Value,
    default_authorizer: Option<&str>,
    at: &str,
) -> Result<Route, TemplateError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Properties {
        #[serde(rename = "ApiId")]
        _api_id: String,
        path: String,
        method: String,
        #[serde(default)]
        auth: Auth,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Auth {
        authorizer: Option<String>,
    }
    let properties: Properties = read_value(properties, at)?;
    let authorizer = properties.auth.authorizer.or_else(|| default_authorizer.map(str::to_owned));
    Ok(Route {
        method: properties.method.to_ascii_uppercase(),
        path: properties.path,
        function,
        authorizer: authorizer.filter(|authorizer| authorizer != "NONE"),
    })
}

fn queue_trigger(function: String, properties: Value, at: &str) -> Result<QueueTrigger, TemplateError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Properties {
        queue: String,
        #[serde(default = "default_batch_size")]
        batch_size: usize,
        #[serde(default)]
        maximum_batching_window_in_seconds: u64,
        #[serde(default)]
        function_response_types: Vec<String>,
        #[serde(default)]
        scaling_config: ScalingConfig,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct ScalingConfig {
        maximum_concurrency: Option<usize>,
    }
    /// Lambda's own (<https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>).
    fn default_batch_size() -> usize {
        10
    }
    let properties: Properties = read_value(properties, at)?;
    let concurrency = properties.scaling_config.maximum_concurrency;
    if concurrency.is_some_and(|concurrency| !CONCURRENCY_LIMITS.contains(&concurrency)) {
        return Err(invalid(at, "its MaximumConcurrency is not from 2 to 1000"));
    }
    Ok(QueueTrigger {
        function,
        queue: last_part(&properties.queue),
        batch_size: properties.batch_size,
        batching_window: Duration::from_secs(properties.maximum_batching_window_in_seconds),
        reports_failures: reports_failures(&properties.function_response_types),
        concurrency: concurrency.unwrap_or(DEFAULT_CONCURRENCY),
    })
}

/// Whether the function names what failed of a batch.
pub(super) fn reports_failures(function_response_types: &[String]) -> bool {
    function_response_types.iter().any(|kind| kind == "ReportBatchItemFailures")
}

fn schedule(function: String, name: String, properties: Value, at: &str) -> Result<Schedule, TemplateError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Properties {
        schedule_expression: String,
        input: Option<String>,
        /// Says that one schedule may be off by some minutes, for which nobody waits here.
        #[serde(default, rename = "FlexibleTimeWindow")]
        _flexible_time_window: Value,
        /// That the schedule's name is the stack's to make; it has none here.
        #[serde(default, rename = "OmitName")]
        _omit_name: Value,
        /// How often the scheduler itself tries again; it never fails here.
        #[serde(default, rename = "RetryPolicy")]
        _retry_policy: Value,
    }
    let properties: Properties = read_value(properties, at)?;
    let expression = &properties.schedule_expression;
    let interval = rate(expression).ok_or_else(|| TemplateError::Unsupported {
        at: at.to_owned(),
        what: format!("the schedule {expression}; it knows rate(n minutes), rate(n hours) and rate(n days)"),
    })?;
    let input = properties.input.map(|input| serde_json::from_str(&input)).transpose();
    let input = input.map_err(|error| invalid(at, &format!("its Input is no JSON: {error}")))?;
    Ok(Schedule { function, name, interval, input })
}

/// The interval of `rate(5 minutes)`.
fn rate(expression: &str) -> Option<Duration> {
    let (number, unit) = expression.strip_prefix("rate(")?.strip_suffix(')')?.split_once(' ')?;
    let minutes = match unit {
        "minute" | "minutes" => 1,
        "hour" | "hours" => 60,
        "day" | "days" => 24 * 60,
        _ => return None,
    };
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    Some(Duration::from_secs(number.checked_mul(minutes * 60)?))
}
