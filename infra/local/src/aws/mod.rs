//! AWS in this process: DynamoDB, SQS, Secrets Manager and as much of STS as sessions of tenants take, behind one door.
//!
//! The door takes what AWS takes, a JSON body and an `X-Amz-Target` header that names service and operation, and
//! has two fronts: an HTTP client for the AWS SDK ([`Aws::sdk_parts`]), and a local port ([`Aws::serve`]).

mod dynamodb;
mod journal;
mod move_task;
mod outage;
mod provision;
mod queue_log;
mod queues;
mod sdk;
mod secrets;
mod server;
mod storage;
mod stream;
mod sts;
mod tap;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;

pub use outage::{OutageError, Switch, tell};
pub use provision::ProvisionError;
pub use sdk::SdkParts;
pub use sts::Session;
pub use tap::{Call, Fate, Fault, Record, Service, Tap};

/// The account that all local resources belong to.
pub const ACCOUNT_ID: &str = "000000000000";

/// The region that all local resources live in.
pub const REGION: &str = "us-east-1";

/// The embedded services. Cloning gives another handle to the same ones.
#[derive(Clone)]
pub struct Aws {
    engines: Arc<Engines>,
    tap: Option<Arc<Tap>>,
}

struct Engines {
    dynamodb: dynamodb::Engine,
    queues: queues::Engine,
    secrets: secrets::Engine,
    sts: sts::Engine,
    outage: outage::Outage,
    port: u16,
    /// Tells the services of one process apart.
    number: usize,
    /// Holds the lock on the data directory for as long as anything uses the engines.
    _lock: Option<std::fs::File>,
}

/// Why the embedded services can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something in the data directory can't be read or written.
    #[error("The data directory's {path} can't be used: {source}.")]
    File {
        /// The file or folder in question.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process has the data directory open.
    #[error("Another `cargo local` is using {0}. Stop it, or choose another folder with --data-dir.")]
    InUse(PathBuf),
    /// The database engine refuses its file.
    #[error("The embedded database can't be opened: {0}")]
    Database(String),
    /// A journal has a line that isn't one of ours.
    #[error("Line {line} of {path} is damaged. Remove the line, or delete the data directory to start anew.")]
    Journal {
        /// The journal's file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
    },
    /// A journal's line was understood, but its service refused it.
    #[error("{path} can't be replayed: {operation} was refused with {code}. Delete the data directory to start anew.")]
    Replay {
        /// The journal's file.
        path: PathBuf,
        /// The operation that was refused.
        operation: String,
        /// The service's error code.
        code: String,
    },
}

impl Aws {
    /// Services that live in memory and vanish with the last handle.
    ///
    /// Must be called within a tokio runtime. `port` is the one that queue URLs name; it need not be served.
    ///
    /// # Errors
    /// When the database engine can't start.
    pub fn in_memory(port: u16) -> Result<Self, OpenError> {
        Ok(Self::new(
            dynamodb::Engine::in_memory()?,
            queues::Engine::in_memory(port),
            secrets::Engine::in_memory(),
            port,
            None,
        ))
    }

    fn new(
        dynamodb: dynamodb::Engine,
        queues: queues::Engine,
        secrets: secrets::Engine,
        port: u16,
        lock: Option<std::fs::File>,
    ) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let outage = outage::Outage::default();
        let engines =
            Engines { dynamodb, queues, secrets, sts: sts::Engine::default(), outage, port, number, _lock: lock };
        Self { engines: Arc::new(engines), tap: None }
    }

    /// The same services, with `tap` between them and whoever uses the returned handle.
    #[must_use]
    pub fn tapped(&self, tap: &Arc<Tap>) -> Self {
        Self { engines: Arc::clone(&self.engines), tap: Some(Arc::clone(tap)) }
    }

    /// Where the services are: the address that [`Aws::serve`] listens on.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.engines.port)
    }

    /// Deletes the items whose time to live has passed, and returns how many those were.
    ///
    /// # Errors
    /// The database's own message, when it can't.
    pub async fn sweep_expired(&self) -> Result<usize, String> {
        self.engines.dynamodb.sweep_expired().await
    }

    /// Begins or ends an outage, and says in a line which services fail then. Triggers and provisioning go around it.
    #[must_use]
    pub fn outage(&self, switch: Switch) -> String {
        self.engines.outage.switch(switch)
    }

    /// Asks a service without going through the tap or an outage, and returns its answer, or else its error as text.
    pub(crate) async fn request(&self, service: Service, operation: &str, request: &Value) -> Result<Value, String> {
        let response = self.engines.call(service, operation, request.to_string().into()).await;
        if response.status().is_success() {
            return Ok(json_of(response.body()));
        }
        Err(String::from_utf8_lossy(response.body()).into_owned())
    }

    /// The session that this access key was given out for.
    #[must_use]
    pub fn session(&self, access_key: &str) -> Option<Session> {
        self.engines.sts.session(access_key)
    }

    /// Carries out one request, as the tap sees fit.
    ///
    /// `target` is the `X-Amz-Target` header, such as `DynamoDB_20120810.GetItem`; `access_key` tells who asks.
    async fn call(&self, target: &str, access_key: &str, body: Bytes) -> Result<Response<Bytes>, tap::LostAnswer> {
        let Some((service, operation)) = Service::parse(target) else {
            return Ok(error(StatusCode::BAD_REQUEST, "UnknownOperationException", "No such service or operation."));
        };
        let call = async |body| match self.engines.outage.refusal(service) {
            Some(refusal) => refusal,
            None => self.engines.call(service, operation, body).await,
        };
        match &self.tap {
            None => Ok(call(body).await),
            Some(tap) => tap.pass(service, operation, (access_key, body), call).await,
        }
    }
}

impl Engines {
    async fn call(&self, service: Service, operation: &str, body: Bytes) -> Response<Bytes> {
        match service {
            Service::DynamoDb => self.dynamodb.call(operation, body).await,
            Service::Sqs => self.queues.call(operation, body).await,
            Service::SecretsManager => self.secrets.call(operation, body).await,
            Service::Sts => self.sts.call(operation, &body),
        }
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Aws").field("endpoint_url", &self.endpoint_url()).finish_non_exhaustive()
    }
}

/// The header by which an engine tells its operations apart.
fn target_header(service: &str, operation: &str) -> HeaderMap {
    let target = HeaderValue::try_from(format!("{service}.{operation}"));
    target.map(|target| HeaderMap::from_iter([(HeaderName::from_static("x-amz-target"), target)])).unwrap_or_default()
}

/// What `X-Amz-Target` says; of a request to STS, whose protocol has none, the same made of its form.
fn target(header: Option<&str>, body: &[u8]) -> String {
    match header {
        Some(target) => target.to_owned(),
        None => format!("sts.{}", sts::field(body, "Action").unwrap_or_default()),
    }
}

/// The access key that a request is signed with
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
fn access_key(authorization: Option<&str>) -> &str {
    let scope = authorization.and_then(|header| header.split_once("Credential=")).map(|(_, scope)| scope);
    scope.and_then(|scope| scope.split('/').next()).unwrap_or_default()
}

/// An engine's answer with its body, which is in memory already, as bytes.
async fn buffered<B>(response: Response<B>) -> Response<Bytes>
where
    B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(Body::new(body), usize::MAX).await.unwrap_or_default();
    Response::from_parts(parts, body)
}

/// An answer in AWS's JSON protocol.
fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}

/// An error answer in AWS's JSON protocol.
fn error(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    answer(status, serde_json::json!({"__type": code, "message": message}).to_string())
}

/// A request's or an answer's body; null where it isn't JSON.
fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

/// The error code of an error answer, without its namespace.
fn error_code(body: &[u8]) -> String {
    let body = json_of(body);
    let code = body.get("__type").and_then(Value::as_str).unwrap_or("an unknown error");
    code.rsplit_once('#').map_or(code, |(_, code)| code).to_owned()
}
