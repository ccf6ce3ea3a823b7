//! Keeps contacts in step with the tenants' other CRMs.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::syncs().await
}
