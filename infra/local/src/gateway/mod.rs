//! API Gateway in this process: an HTTP API in front of the functions, and Lambda's own door beside it.

mod answer;
mod authorizer;
mod event;
mod invoke;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, State};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Clock;
use crate::lambda::Lambda;
use crate::template::{Authorizer, Template};
use event::Arrival;
use routes::Routes;

/// The API's id in events and ARNs.
const API_ID: &str = "local";

/// The largest body that an HTTP API takes
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>).
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The HTTP API.
pub struct Gateway {
    routes: Routes,
    authorizers: BTreeMap<String, Authorizer>,
    lambda: Arc<Lambda>,
    clock: Clock,
}

impl Gateway {
    /// The API that `template` describes, with its functions in `lambda`. `clock` times the requests.
    #[must_use]
    pub fn new(template: &Template, lambda: Arc<Lambda>, clock: Clock) -> Self {
        let routes = Routes::new(&template.routes);
        Self { routes, authorizers: template.authorizers.clone(), lambda, clock }
    }

    /// Answers one request as if it had come from `source_ip`.
    pub async fn handle(&self, request: Request<Bytes>, source_ip: IpAddr) -> Response<Bytes> {
        if let Some(name) = invoke::function_name(request.uri().path()) {
            return invoke::handle(&self.lambda, &name, &request).await;
        }
        if request.body().len() > BODY_BYTES_MAX {
            return too_large();
        }
        let Some(matched) = self.routes.find(request.method(), request.uri().path()) else {
            return answer::message(StatusCode::NOT_FOUND, "Not Found");
        };
        let arrival = Arrival { request_id: self.lambda.request_id(), source_ip, time: (self.clock)() };
        let mut event = event::without_body(&request, &matched, &arrival);
        if let Some(name) = &matched.route.authorizer {
            let Some(authorizer) = self.authorizers.get(name) else { return answer::internal_error() };
            match authorizer::ask(&self.lambda, authorizer, &event).await {
                Ok(context) => {
                    if let Some(Value::Object(known)) = event.get_mut("requestContext") {
                        known.insert("authorizer".to_owned(), json!({"lambda": context}));
                    }
                }
                Err(refusal) => return refusal.response(),
            }
        }
        event::add_body(&mut event, &request);
        match self.lambda.invoke(&matched.route.function, event.into()).await {
            Ok(answer) => answer::from_function(&answer),
            Err(error) => {
                tracing::error!(function = matched.route.function, %error, "a function failed");
                answer::internal_error()
            }
        }
    }

    /// Serves the API on `listener` until `stop` is done and all requests have their answers.
    ///
    /// # Errors
    /// When the operating system takes the listener away.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let router = Router::new().fallback(serve_one).with_state(self);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).with_graceful_shutdown(stop).await
    }
}

async fn serve_one(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    // What announces itself as too large isn't waited for.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return too_large().map(Body::from);
    }
    let response = match axum::body::to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => gateway.handle(Request::from_parts(parts, body), peer.ip()).await,
        Err(_) => too_large(),
    };
    response.map(Body::from)
}

fn too_large() -> Response<Bytes> {
    answer::message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")
}
