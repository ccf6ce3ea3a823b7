//! Receives the webhooks of Sarah AI, the calling system.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::webhooks(Some("sarah_ai")).await
}
