//! Tells API Gateway whether an API key is good.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::authorizer().await
}
