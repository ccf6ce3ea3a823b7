//! The front for everything outside the process: the services on one local port, the switch of an outage, and a
//! receiver of webhooks.

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::net::TcpListener;

use super::{Aws, outage};

/// The largest request of the three services: DynamoDB's `BatchWriteItem`
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Aws {
    /// Serves the services on `listener` until `stop` is done and all requests have their answers.
    ///
    /// Requests are told apart by `X-Amz-Target`; signatures are not checked.
    ///
    /// # Errors
    /// When the operating system takes the listener away.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let services = Router::new().fallback(handle).layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
        let router = services.merge(outage::route()).with_state(self).merge(crate::receiver::route());
        axum::serve(listener, router).with_graceful_shutdown(stop).await
    }
}

async fn handle(State(aws): State<Aws>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let target = super::target(header("x-amz-target"), &body);
    let response = aws
        .call(&target, super::access_key(header("authorization")), body)
        .await
        .unwrap_or_else(|lost| super::error(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", &lost.to_string()));
    response.map(Body::from)
}
