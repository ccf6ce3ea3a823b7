//! Receives Stripe's webhooks.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::webhooks(Some("stripe")).await
}
