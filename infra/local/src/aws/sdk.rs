//! The front for the AWS SDK: an HTTP client that never leaves the process.

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::Response;

use super::tap::LostAnswer;
use super::{Aws, REGION};

/// What an SDK client needs to talk to the embedded services.
#[derive(Debug, Clone)]
pub struct SdkParts {
    /// Where requests go. Nothing dials it; queue URLs begin with it.
    pub endpoint_url: String,
    /// A region of these services' own. The SDK's clients of one region share their quota of retries within a process, and
    /// one test's outage shall not use up another's.
    pub region: String,
    /// Credentials that nobody checks.
    pub credentials: Credentials,
    /// The client that hands requests to the services.
    pub http_client: SharedHttpClient,
}

impl Aws {
    /// The parts to build SDK clients from, whose calls go through this handle and its tap.
    #[must_use]
    pub fn sdk_parts(&self) -> SdkParts {
        let connector = SharedHttpConnector::new(self.clone());
        SdkParts {
            endpoint_url: self.endpoint_url(),
            region: format!("{REGION}-{}", self.engines.number),
            credentials: Credentials::new("local", "local", None, None, "cargo local"),
            http_client: http_client_fn(move |_, _| connector.clone()),
        }
    }
}

impl HttpConnector for Aws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let aws = self.clone();
        HttpConnectorFuture::new(async move {
            let Some(body) = request.body().bytes().map(Bytes::copy_from_slice) else {
                return Err(ConnectorError::user("a streamed body is none of these services' requests".into()));
            };
            let target = super::target(request.headers().get("x-amz-target"), &body);
            let access_key = super::access_key(request.headers().get("authorization"));
            let response = Aws::call(&aws, &target, access_key, body).await.map_err(|lost| match lost {
                LostAnswer::Disconnected => ConnectorError::io(lost.into()).never_connected(),
                LostAnswer::TimedOut => ConnectorError::timeout(lost.into()),
            })?;
            sdk_response(response)
        })
    }
}

fn sdk_response(response: Response<Bytes>) -> Result<HttpResponse, ConnectorError> {
    HttpResponse::try_from(response.map(SdkBody::from)).map_err(|error| ConnectorError::user(error.into()))
}
