//! Releases, every minute, what waited for longer than SQS can delay.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::releases().await
}
