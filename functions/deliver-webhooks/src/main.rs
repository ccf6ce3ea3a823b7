//! Posts events to the endpoints of tenants.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::deliveries().await
}
