//! Finds who wants to know of what happened, and queues deliveries.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::publishing().await
}
