//! The template's resources, one reader for each type.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::document::{Document, Resource, invalid, plain_text, read as read_value};
use super::{Authorizer, FunctionSpec, Queue, Table, Template, TemplateError, events, stream};

/// Types that need nothing locally: they watch or permit, give the API another name, or keep what is printed to the
/// terminal here.
const NOT_NEEDED: [&str; 12] = [
    "AWS::ApiGatewayV2::ApiMapping",
    "AWS::ApiGatewayV2::DomainName",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::KMS::Key",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::Route53::RecordSet",
    "AWS::SNS::Topic",
];

/// The time after which Lambda cuts off a function that doesn't say
/// (<https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-function.html>).
const DEFAULT_TIMEOUT_SECONDS: u64 = 3;

/// Reads all resources.
pub(super) fn read(document: &Document) -> Result<Template, TemplateError> {
    let mut template = Template {
        functions: Vec::new(),
        routes: Vec::new(),
        authorizers: BTreeMap::new(),
        tables: Vec::new(),
        queues: Vec::new(),
        queue_triggers: Vec::new(),
        stream_triggers: Vec::new(),
        schedules: Vec::new(),
    };
    let resources = document.resources()?;
    let mut default_authorizer = None;
    for api in resources.iter().filter(|resource| resource.kind == "AWS::Serverless::HttpApi") {
        let auth = read_api(api)?;
        template.authorizers.extend(auth.authorizers);
        default_authorizer = auth.default_authorizer;
    }
    for resource in &resources {
        match resource.kind {
            kind if NOT_NEEDED.contains(&kind) => {}
            _ if resource.has("/Condition") => return Err(unsupported(resource, "a resource with a Condition")),
            "AWS::Serverless::HttpApi" => {}
            "AWS::Serverless::Function" => {
                template.functions.push(read_function(resource)?);
                events::read(resource, default_authorizer.as_deref(), &mut template)?;
            }
            "AWS::DynamoDB::Table" => template.tables.push(read_table(resource)?),
            "AWS::SQS::Queue" => template.queues.push(read_queue(resource)?),
            kind => return Err(unsupported(resource, kind)),
        }
    }
    stream::check(&template)?;
    Ok(template)
}

pub(super) fn unsupported(resource: &Resource, what: &str) -> TemplateError {
    TemplateError::Unsupported { at: resource.place(), what: what.to_owned() }
}

fn read_function(resource: &Resource) -> Result<FunctionSpec, TemplateError> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Properties {
        timeout: Option<u64>,
        environment: Environment,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Environment {
        variables: BTreeMap<String, Value>,
    }
    let own = resource.properties(&["Environment", "Timeout"])?;
    let own: Properties = read_value(own.into(), &resource.place())?;
    let global_timeout = resource.global("/Timeout")?.and_then(|timeout| timeout.as_u64());
    let shared = resource.global("/Environment/Variables")?.unwrap_or_else(|| serde_json::json!({}));
    let mut environment: BTreeMap<String, Value> = read_value(shared, "Globals.Function.Environment")?;
    environment.extend(own.environment.variables);
    Ok(FunctionSpec {
        name: resource.binary()?,
        timeout: Duration::from_secs(own.timeout.or(global_timeout).unwrap_or(DEFAULT_TIMEOUT_SECONDS)),
        environment: environment.into_iter().map(|(name, value)| (name, plain_text(&value))).collect(),
    })
}

/// What the HTTP API says about who may call it.
struct Auth {
    authorizers: BTreeMap<String, Authorizer>,
    default_authorizer: Option<String>,
}

fn read_api(resource: &Resource) -> Result<Auth, TemplateError> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
    struct Properties {
        authorizers: BTreeMap<String, LambdaAuthorizer>,
        default_authorizer: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct LambdaAuthorizer {
        function_arn: String,
        authorizer_payload_format_version: Value,
        #[serde(default)]
        enable_simple_responses: bool,
        identity: Identity,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Identity {
        headers: Vec<String>,
    }
    if resource.has("/Properties/CorsConfiguration") {
        return Err(unsupported(resource, "a CorsConfiguration"));
    }
    let auth = resource.properties(&["Auth"])?.remove("Auth");
    let auth: Properties = read_value(auth.unwrap_or_else(|| serde_json::json!({})), &resource.place())?;
    let mut authorizers = BTreeMap::new();
    for (name, authorizer) in auth.authorizers {
        if plain_text(&authorizer.authorizer_payload_format_version) != "2.0" || !authorizer.enable_simple_responses {
            return Err(unsupported(resource, "an authorizer without payload format 2.0 and simple responses"));
        }
        let identity_headers = authorizer.identity.headers.iter().map(|header| header.to_ascii_lowercase()).collect();
        authorizers.insert(name, Authorizer { function: last_part(&authorizer.function_arn), identity_headers });
    }
    Ok(Auth { authorizers, default_authorizer: auth.default_authorizer })
}

fn read_table(resource: &Resource) -> Result<Table, TemplateError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct TimeToLive {
        attribute_name: String,
        enabled: bool,
    }
    stream::check_view(resource)?;
    let mut definition = resource.properties(&[
        "AttributeDefinitions",
        "BillingMode",
        "GlobalSecondaryIndexes",
        "KeySchema",
        "LocalSecondaryIndexes",
        "ProvisionedThroughput",
    ])?;
    definition.insert("TableName".to_owned(), resource.reference().into());
    let ttl = resource.properties(&["TimeToLiveSpecification"])?.remove("TimeToLiveSpecification");
    let ttl: Option<TimeToLive> = ttl.map(|ttl| read_value(ttl, &resource.place())).transpose()?;
    Ok(Table {
        name: resource.reference().to_owned(),
        definition: definition.into(),
        ttl_attribute: ttl.filter(|ttl| ttl.enabled).map(|ttl| ttl.attribute_name),
    })
}

fn read_queue(resource: &Resource) -> Result<Queue, TemplateError> {
    let attributes = resource.properties(&[
        "ContentBasedDeduplication",
        "DelaySeconds",
        "FifoQueue",
        "MaximumMessageSize",
        "MessageRetentionPeriod",
        "ReceiveMessageWaitTimeSeconds",
        "RedrivePolicy",
        "VisibilityTimeout",
    ])?;
    let name = resource.reference().rsplit('/').next().filter(|name| !name.is_empty());
    Ok(Queue {
        name: name.ok_or_else(|| invalid(&resource.place(), "its name is empty"))?.to_owned(),
        attributes: attributes.iter().map(|(name, value)| (name.clone(), plain_text(value))).collect(),
    })
}

/// The name at the end of an ARN.
pub(super) fn last_part(arn: &str) -> String {
    arn.rsplit(':').next().unwrap_or_default().to_owned()
}
