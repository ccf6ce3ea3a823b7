//! Makes a tenant, or adds systems to one.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::provisioning().await
}
