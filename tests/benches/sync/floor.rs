//! The floor: the same requests by a plain client, as many at once as a run has under way.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::Client;

use super::crm::Sent;

/// Calls that a run has under way at once.
const AT_ONCE: usize = 16;

/// Sends requests again, and reads each answer to the end.
pub async fn send(client: &Client, base_url: &str, requests: &[Sent]) {
    let exchanges = requests.iter().map(|request| async move {
        let answer = exchange(client, base_url, request).await;
        assert!(!answer.is_empty());
    });
    stream::iter(exchanges).buffer_unordered(AT_ONCE).collect::<()>().await;
}

async fn exchange(client: &Client, base_url: &str, request: &Sent) -> Bytes {
    let call = client.request(request.method.parse().unwrap(), format!("{base_url}{}", request.path));
    // These two the client writes itself.
    let own = |name: &str| ["host", "content-length"].iter().any(|own| name.eq_ignore_ascii_case(own));
    let headers = request.headers.iter().filter(|(name, _)| !own(name));
    let call = headers.fold(call, |call, (name, value)| call.header(name, value));
    let answer = call.body(request.body.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap()
}
