//! Signed webhooks to the hub, as its systems send them.

use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use shared::{
    outgoing::install_tls,
    signature::{SignatureConfig, UnsignedRequest},
};

/// Where the hub takes a system's webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    pub url: String,
    pub secret: String,
}

impl Receiver {
    /// Posts webhook `id`, signed; gives the answer's status and text.
    pub async fn post(
        &self,
        client: &reqwest::Client,
        scheme: &SignatureConfig,
        id: &str,
        body: String,
        now: Timestamp,
    ) -> reqwest::Result<(u16, String)> {
        let unsigned = UnsignedRequest { method: "POST", url: &self.url, body: body.as_bytes() };
        let scheme = scheme.compile().expect("schemes without fields are valid");
        let headers =
            scheme.sign(&unsigned, &format!("msg_{id}"), &[&self.secret], now).expect("the hub made the secret");
        let request = client.post(&self.url).header(CONTENT_TYPE, "application/json");
        let answer = request.headers(headers.into_iter().collect()).body(body).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }
}

/// A client for this machine's own ports.
pub fn client() -> reqwest::Client {
    // reqwest panics without, even where nothing is encrypted.
    install_tls();
    reqwest::Client::new()
}
