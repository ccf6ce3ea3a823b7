//! A table's stream, and the function that it feeds.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::document::{Resource, invalid, read as read_value};
use super::events::reports_failures;
use super::resources::unsupported;
use super::{StreamFilter, StreamTrigger, Template, TemplateError};

/// Reads an event of type `DynamoDB`.
pub(super) fn read_trigger(function: String, properties: Value, at: &str) -> Result<StreamTrigger, TemplateError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Properties {
        stream: String,
        starting_position: String,
        #[serde(default = "default_batch_size")]
        batch_size: usize,
        #[serde(default)]
        function_response_types: Vec<String>,
        #[serde(default)]
        filter_criteria: FilterCriteria,
        /// Saves invocations, at the price of waiting; nobody pays for them here.
        #[serde(default, rename = "MaximumBatchingWindowInSeconds")]
        _window: Value,
        /// Says how many batches run at once; here it is always one.
        #[serde(default, rename = "ParallelizationFactor")]
        _parallelization_factor: Value,
        /// The four say when and how Lambda gives up on a record; that never happens here.
        #[serde(default, rename = "BisectBatchOnFunctionError")]
        _bisect: Value,
        #[serde(default, rename = "MaximumRetryAttempts")]
        _maximum_retry_attempts: Value,
        #[serde(default, rename = "MaximumRecordAgeInSeconds")]
        _maximum_record_age: Value,
        #[serde(default, rename = "DestinationConfig")]
        _destination_config: Value,
    }
    /// Lambda's own (<https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>).
    fn default_batch_size() -> usize {
        100
    }
    let properties: Properties = read_value(properties, at)?;
    let cannot = |what: &str| TemplateError::Unsupported { at: at.to_owned(), what: what.to_owned() };
    if properties.starting_position != "TRIM_HORIZON" {
        return Err(cannot("a stream that isn't read from its TRIM_HORIZON"));
    }
    let Some(table) = table_of(&properties.stream) else { return Err(invalid(at, "its Stream is no table's stream")) };
    Ok(StreamTrigger {
        function,
        table: table.to_owned(),
        batch_size: properties.batch_size.max(1),
        reports_failures: reports_failures(&properties.function_response_types),
        filters: filters(&properties.filter_criteria).map_err(|what| cannot(&what))?,
        stream_arn: properties.stream,
    })
}

/// Makes sure that the template has the table whose stream is read.
pub(super) fn check(template: &Template) -> Result<(), TemplateError> {
    let is_there = |name: &str| template.tables.iter().any(|table| table.name == name);
    match template.stream_triggers.iter().find(|trigger| !is_there(&trigger.table)) {
        Some(trigger) => {
            Err(invalid("Resources", &format!("there is no table {}, whose stream is read", trigger.table)))
        }
        None => Ok(()),
    }
}

/// Makes sure that a table's stream, if it has one, holds new images and no more.
pub(super) fn check_view(table: &Resource) -> Result<(), TemplateError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct StreamSpecification {
        stream_view_type: String,
    }
    let Some(specification) = table.properties(&["StreamSpecification"])?.remove("StreamSpecification") else {
        return Ok(());
    };
    let specification: StreamSpecification = read_value(specification, &table.place())?;
    match specification.stream_view_type.as_str() {
        "NEW_IMAGE" => Ok(()),
        other => Err(unsupported(table, &format!("a stream of {other}; it knows NEW_IMAGE"))),
    }
}

fn table_of(stream_arn: &str) -> Option<&str> {
    let (_, path) = stream_arn.split_once(":table/")?;
    path.split_once("/stream/").map(|(table, _)| table)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct FilterCriteria {
    #[serde(default)]
    filters: Vec<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Filter {
    pattern: String,
}

/// The filters, or else what can't be served.
fn filters(criteria: &FilterCriteria) -> Result<Vec<StreamFilter>, String> {
    const KNOWN: &str = "it knows those of eventName INSERT with texts in NewImage";
    if criteria.filters.is_empty() {
        return Err(format!("a stream without a filter; {KNOWN}"));
    }
    let filter =
        |filter: &Filter| read_filter(&filter.pattern).ok_or(format!("the filter {}; {KNOWN}", filter.pattern));
    criteria.filters.iter().map(filter).collect()
}

/// Reads a pattern such as `{"eventName":["INSERT"],"dynamodb":{"NewImage":{"kind":{"S":["event"]}}}}`.
fn read_filter(pattern: &str) -> Option<StreamFilter> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Pattern {
        event_name: Vec<String>,
        dynamodb: Change,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Change {
        new_image: BTreeMap<String, Attribute>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Attribute {
        s: Vec<String>,
    }
    let Pattern { event_name, dynamodb: Change { new_image } } = serde_json::from_str(pattern).ok()?;
    let attributes = new_image.into_iter().map(|(name, attribute)| (name, attribute.s));
    (event_name == ["INSERT"] && attributes.len() > 0).then(|| StreamFilter(attributes.collect()))
}
