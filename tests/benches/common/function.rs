//! Copies of functions as deployed, but for the endpoints that they may call, and plain clients with the same settings.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::Builder as HttpClient;
use jiff::Timestamp;
use local::template::Template;
use reqwest::{Client, redirect::Policy};
use shared::{
    hub::{Hub, Settings},
    outgoing,
};

/// A copy of a function that reaches the services by HTTP.
pub fn hub_at(function: &str, aws_url: &str) -> Hub {
    let template = Template::bundled(aws_url).unwrap();
    let environment = template.function(function).unwrap().environment.clone();
    let settings = Settings::from_env(|name| match name {
        "ENDPOINTS" => Some("loopback".to_owned()),
        _ => environment.get(name).cloned(),
    });
    let settings = settings.unwrap();
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(aws_url)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("local", "local", None, None, "bench")))
        .http_client(HttpClient::new().build_http())
        .retry_config(shared::hub::retries())
        .timeout_config(shared::hub::timeouts())
        .build();
    let clock: shared::hub::Clock = Arc::new(timestamp);
    let send = outgoing::client(settings.reach, Arc::clone(&clock));
    Hub::new(settings, &sdk, (clock, Arc::new(shared::hub::system_random)), Arc::new(|_: &str| {}), send)
}

/// A client with the hub's settings.
pub fn plain_client() -> Client {
    outgoing::install_tls();
    Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_max_idle_per_host(16)
        .build()
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a deployment has the system's clock")]
pub fn system_time() -> SystemTime {
    SystemTime::now()
}

/// The time now.
pub fn timestamp() -> Timestamp {
    Timestamp::try_from(system_time()).unwrap()
}
