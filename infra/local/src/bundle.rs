//! The functions of the bundle, out of the common crate: what each `main.rs` runs on Lambda runs here in one process.
//!
//! Each function has a hub of its own, as each has a process of its own when deployed.

use std::sync::Arc;
use std::time::SystemTime;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use jiff::Timestamp;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, IntoResponse, Request, Service, service_fn};
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use shared::hub::{Edge, Random, Settings, SettingsError};
use shared::metrics::Emit;
use shared::outgoing::{self, Sender};
use shared::{administer, api, authorize, deliver, provision, publish, release, retry, sync, webhook};

use crate::Clock;
use crate::aws::Aws;
use crate::functions::{Function, FunctionError, Functions, InvocationContext};
use crate::template::Template;

/// How the bundle runs here, where not as the template says.
pub struct Surroundings {
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Takes the metrics' lines.
    pub emit: Emit,
    /// Makes requests that leave AWS; `None` for the real one.
    pub send: Option<Sender>,
    /// Where the gateway is reached.
    pub public_url: String,
    /// `cargo local`: changes of configuration apply at once, loopback is exempt from limits by address, and endpoints may be
    /// there (contract §7, §2, §9). Otherwise as deployed.
    pub interactive: bool,
}

/// A function that is invoked with its own kind of event. No generic function can say that a handler's future borrows the
/// hub that is handed to it.
macro_rules! invoked {
    ($hub:expr, $handle:path) => {{
        let hub = $hub;
        direct(move |event| {
            let hub = Arc::clone(&hub);
            async move { $handle(&hub, event).await.map_err(Diagnostic::from) }
        })
    }};
}

/// Makes every function of the bundle.
///
/// # Errors
/// Where the template gives a function too few settings.
pub fn functions(aws: &Aws, template: &Template, surroundings: &Surroundings) -> Result<Functions, SettingsError> {
    let hub = |name: &str| -> Result<Arc<Edge>, SettingsError> {
        let environment = template.function(name).map(|function| &function.environment);
        let settings = Settings::from_env(|variable| {
            let deployed = environment.and_then(|environment| environment.get(variable));
            local_setting(variable, deployed.is_some(), surroundings).or_else(|| deployed.cloned())
        })?;
        let clock = Arc::clone(&surroundings.clock);
        let now: shared::hub::Clock = Arc::new(move || timestamp(clock()));
        let (random, emit) = (Arc::clone(&surroundings.random), Arc::clone(&surroundings.emit));
        let own = || outgoing::client(settings.reach, Arc::clone(&now));
        let send = surroundings.send.clone().unwrap_or_else(own);
        Ok(Arc::new(Edge::new(settings, &sdk_config_of(aws, name), (now, random), emit, send)))
    };
    let mut functions = Functions::default();
    let webhooks = [
        ("webhook-sarah-ai", Some("sarah_ai")),
        ("webhook-payment-processor", Some("payment_processor")),
        ("webhook-stripe", Some("stripe")),
        ("webhook-github", Some("github")),
        ("webhook-external-crm", Some("external_crm")),
        ("webhook-custom", None),
    ];
    for (name, only) in webhooks {
        let hub = hub(name)?;
        functions = functions.with(
            name,
            http(move |request| {
                let hub = Arc::clone(&hub);
                async move { webhook::handle(&hub, only, request).await }
            }),
        );
    }
    let api = hub("management-api")?;
    functions = functions.with(
        "management-api",
        http(move |request| {
            let hub = Arc::clone(&api);
            async move { api::handle(&hub, request).await }
        }),
    );
    Ok(functions
        .with("authorize-api-key", invoked!(hub("authorize-api-key")?, authorize::handle))
        .with("provision-tenant", invoked!(hub("provision-tenant")?, provision::handle))
        .with("administer-tenant", invoked!(hub("administer-tenant")?, administer::handle))
        .with("process-retries", invoked!(hub("process-retries")?, retry::handle))
        .with("release-waiting", invoked!(hub("release-waiting")?, release::handle))
        .with("publish-events", invoked!(hub("publish-events")?, publish::handle))
        .with("deliver-webhooks", invoked!(hub("deliver-webhooks")?, deliver::handle))
        .with("sweep-events", invoked!(hub("sweep-events")?, publish::sweep))
        .with("sync-contacts", invoked!(hub("sync-contacts")?, sync::job::handle))
        .with("sync-companies", invoked!(hub("sync-companies")?, sync::job::handle))
        .with("sync-interactions", invoked!(hub("sync-interactions")?, sync::job::handle))
        .with("schedule-syncs", invoked!(hub("schedule-syncs")?, sync::schedule::handle)))
}

/// What `cargo local` sets differently from the template, which sets a variable or doesn't: `deployed`.
fn local_setting(variable: &str, deployed: bool, surroundings: &Surroundings) -> Option<String> {
    let interactive = |value: &str| surroundings.interactive.then(|| value.to_owned());
    match variable {
        // Deployed, the functions behind the gateway learn its name from their requests, but not that it speaks plain HTTP here.
        "PUBLIC_URL" => (deployed || surroundings.interactive).then(|| surroundings.public_url.clone()),
        "CONFIG_TTL_SECONDS" | "SECRETS_TTL_SECONDS" => interactive("0"),
        "LOOPBACK_EXEMPT" => interactive("true"),
        "ENDPOINTS" => interactive("loopback"),
        _ => None,
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_default()
}

/// The same for a function, which signs its requests with an access key of its own: its name.
fn sdk_config_of(aws: &Aws, function: &str) -> SdkConfig {
    let credentials = Credentials::new(function, "local", None, None, "cargo local");
    sdk_config(aws).into_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build()
}

/// The configuration of SDK clients that talk to the embedded services, with the retries of the deployed functions.
#[must_use]
pub fn sdk_config(aws: &Aws) -> SdkConfig {
    let parts = aws.sdk_parts();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(parts.region))
        .endpoint_url(parts.endpoint_url)
        .credentials_provider(SharedCredentialsProvider::new(parts.credentials))
        .http_client(parts.http_client)
        .retry_config(shared::aws::retries())
        .timeout_config(shared::aws::timeouts())
        .build()
}

/// A function that API Gateway calls, through the same conversion as on Lambda.
fn http<F, A, R>(handler: F) -> Function
where
    F: Fn(Request) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<R, std::convert::Infallible>> + Send + 'static,
    R: IntoResponse + Send + Sync + 'static,
{
    Arc::new(move |event, context| {
        let mut adapter = Adapter::from(service_fn(handler.clone()));
        Box::pin(async move {
            let request: LambdaRequest = read(event)?;
            let answer = adapter.call(LambdaEvent::new(request, lambda_context(&context))).await;
            write(&answer.map_err(|never| match never {})?)
        })
    })
}

/// A function that is invoked with its own kind of event.
fn direct<F, A, E, R>(handler: F) -> Function
where
    F: Fn(LambdaEvent<E>) -> A + Send + Sync + 'static,
    A: Future<Output = Result<R, Diagnostic>> + Send + 'static,
    E: DeserializeOwned + Send + 'static,
    R: Serialize,
{
    let handler = Arc::new(handler);
    Arc::new(move |event, context| {
        let handler = Arc::clone(&handler);
        Box::pin(async move {
            let answer = handler(LambdaEvent::new(read(event)?, lambda_context(&context))).await;
            write(
                &answer
                    .map_err(|error| FunctionError { error_type: error.error_type, message: error.error_message })?,
            )
        })
    })
}

fn lambda_context(context: &InvocationContext) -> Context {
    let mut lambda = Context::default();
    lambda.request_id.clone_from(&context.request_id);
    lambda.invoked_function_arn.clone_from(&context.invoked_function_arn);
    lambda.deadline = context.deadline_ms;
    lambda
}

fn read<E: DeserializeOwned>(event: Value) -> Result<E, FunctionError> {
    serde_json::from_value(event)
        .map_err(|error| FunctionError { error_type: "InvalidEvent".into(), message: error.to_string() })
}

fn write(answer: &impl Serialize) -> Result<Value, FunctionError> {
    serde_json::to_value(answer)
        .map_err(|error| FunctionError { error_type: "InvalidAnswer".into(), message: error.to_string() })
}
