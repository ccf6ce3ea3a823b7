//! What the clients of AWS are made of, on Lambda.
//!
//! By hand and not by `aws_config`'s loader, for the sake of cold starts: the loader makes the whole chain of places in which
//! credentials may be, with a client of STS, while Lambda has them in its environment; and it reads the system's 140 CA
//! certificates, two thirds of all instructions until the first answer (docs/benchmarks.md), while AWS has five roots.

use std::{fs, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_smithy_http_client::{Builder as HttpClient, tls};

use crate::hub::SettingsError;

/// Amazon Trust Services' five roots; it recommends all of them to those with a trust store of their own
/// (<https://www.amazontrust.com/repository/>). They end in 2037 and later.
const ROOTS: &[u8] = include_bytes!("roots.pem");

/// The configuration of all clients, from Lambda's environment (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, …). `var` looks a name up
/// in it. These are an operator's: `AWS_CA_BUNDLE`, a PEM file of other roots, for where something stands between the
/// functions and AWS; `AWS_ENDPOINT_URL`; and `AWS_USE_FIPS_ENDPOINT`.
///
/// # Errors
/// [`SettingsError`] where there is no region, or no file.
pub fn config(var: impl Fn(&str) -> Option<String>) -> Result<SdkConfig, SettingsError> {
    let region = var("AWS_REGION").ok_or(SettingsError { name: "AWS_REGION", problem: "is missing" })?;
    let roots = match var("AWS_CA_BUNDLE") {
        None => ROOTS.to_vec(),
        Some(path) => {
            fs::read(path).map_err(|_| SettingsError { name: "AWS_CA_BUNDLE", problem: "names no readable file" })?
        }
    };
    let trusted = tls::TlsContext::builder().with_trust_store(tls::TrustStore::empty().with_pem_certificate(roots));
    let trusted = trusted.build().map_err(|_| SettingsError { name: "AWS_CA_BUNDLE", problem: "names no PEM file" })?;
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .http_client(HttpClient::new().tls_provider(ring).tls_context(trusted).build_https())
        .retry_config(retries())
        .timeout_config(timeouts())
        .use_fips(var("AWS_USE_FIPS_ENDPOINT").is_some_and(|value| value.eq_ignore_ascii_case("true")));
    config.set_endpoint_url(var("AWS_ENDPOINT_URL"));
    Ok(config.build())
}

/// Three tries within a webhook's patience: senders give up after 5 to 30 s, so waits begin at 50 ms, not at the SDK's 1 s.
#[must_use]
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(50))
}

/// DynamoDB and SQS answer in milliseconds; after 2 s a try is lost, after 6 s the call.
#[must_use]
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(6))
        .build()
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

    use super::*;
    use crate::ids::sha256_hex;

    /// <https://www.amazontrust.com/repository/>: SHA-256 of each root's certificate.
    const FINGERPRINTS: [&str; 5] = [
        "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
        "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
        "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
        "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
        "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
    ];

    #[test]
    fn the_roots_are_amazons() {
        let text = std::str::from_utf8(ROOTS).unwrap();
        let certificates = text.split("-----BEGIN CERTIFICATE-----").skip(1).map(|rest| {
            let base64: String = rest.split("-----END").next().unwrap().split_whitespace().collect();
            sha256_hex(&BASE64.decode(base64).unwrap())
        });
        assert_eq!(certificates.collect::<Vec<_>>(), FINGERPRINTS);
    }

    fn config(given: &[(&str, &str)]) -> Result<SdkConfig, String> {
        let var = |name: &str| given.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        super::config(var).map_err(|error| error.to_string())
    }

    #[test]
    fn lambdas_environment_is_enough_and_what_an_operator_adds_counts() {
        let region = ("AWS_REGION", "us-gov-west-1");
        let plain = config(&[region]).unwrap();
        assert_eq!(plain.region().unwrap().as_ref(), "us-gov-west-1");
        assert_eq!((plain.endpoint_url(), plain.use_fips()), (None, Some(false)));
        let own = [region, ("AWS_ENDPOINT_URL", "http://127.0.0.1:9001"), ("AWS_USE_FIPS_ENDPOINT", "true")];
        let own = config(&own).unwrap();
        assert_eq!((own.endpoint_url(), own.use_fips()), (Some("http://127.0.0.1:9001"), Some(true)));
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = |given: &[(&str, &str)]| config(given).unwrap_err();
        assert!(refused(&[]).starts_with("environment variable AWS_REGION is missing"));
        let bundle = [("AWS_REGION", "eu-west-1"), ("AWS_CA_BUNDLE", "/nowhere.pem")];
        assert!(refused(&bundle).starts_with("environment variable AWS_CA_BUNDLE names no readable file"));
    }
}
