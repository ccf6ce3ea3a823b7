//! Receives the webhooks of payment processors.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::webhooks(Some("payment_processor")).await
}
