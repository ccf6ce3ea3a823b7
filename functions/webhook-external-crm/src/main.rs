//! Receives the webhooks of external CRMs.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::webhooks(Some("external_crm")).await
}
