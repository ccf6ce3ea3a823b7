//! Receives the webhooks of any system that a tenant registered.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::webhooks(None).await
}
