//! The floor of a start: a function with the hub's three AWS clients, made as the SDK's documentation makes them,
//! that answers and does nothing.

use aws_config::BehaviorVersion;
use aws_smithy_http_client::{Builder as HttpClient, tls};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json, value::RawValue};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let http = HttpClient::new().tls_provider(tls).build_https();
    let aws = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let clients = (
        aws_sdk_dynamodb::Client::new(&aws),
        aws_sdk_sqs::Client::new(&aws),
        aws_sdk_secretsmanager::Client::new(&aws),
    );
    let hello = async |_: LambdaEvent<Box<RawValue>>| Ok::<Value, Error>(json!({"statusCode": 200, "body": "hello"}));
    lambda_runtime::run(service_fn(hello)).await?;
    drop(clients);
    Ok(())
}
