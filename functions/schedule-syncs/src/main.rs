//! Makes a job for each sync with something to send.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::sync_schedule().await
}
