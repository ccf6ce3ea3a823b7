//! Copies of functions as deployed, but for the endpoints that they may call.

use std::{sync::Arc, time::SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::Builder as HttpClient;
use jiff::Timestamp;
use local::template::Template;
use shared::{
    hub::{Edge, Settings},
    outgoing,
};

/// A copy of a function that reaches the services by HTTP.
pub fn hub_at(function: &str, aws_url: &str) -> Edge {
    let template = Template::bundled(aws_url).unwrap();
    let environment = template.function(function).unwrap().environment.clone();
    let settings = Settings::from_env(|name| match name {
        "ENDPOINTS" => Some("loopback".to_owned()),
        _ => environment.get(name).cloned(),
    });
    let settings = settings.unwrap();
    let sdk = sdk_at(aws_url);
    let clock: shared::hub::Clock = Arc::new(timestamp);
    let send = outgoing::client(settings.reach, Arc::clone(&clock));
    Edge::new(settings, &sdk, (clock, Arc::new(shared::hub::system_random)), Arc::new(|_: &str| {}), send)
}

/// What clients of the services are made of.
pub fn sdk_at(aws_url: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(aws_url)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("local", "local", None, None, "bench")))
        .http_client(HttpClient::new().build_http())
        .retry_config(shared::aws::retries())
        .timeout_config(shared::aws::timeouts())
        .build()
}

#[expect(clippy::disallowed_methods, reason = "a deployment has the system's clock")]
pub fn system_time() -> SystemTime {
    SystemTime::now()
}

/// The time now.
pub fn timestamp() -> Timestamp {
    Timestamp::try_from(system_time()).unwrap()
}
