//! Suspends, exports, deletes and otherwise looks after tenants.

use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::run::administration().await
}
