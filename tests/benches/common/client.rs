//! Plain clients.

use std::time::Duration;

use reqwest::{Client, redirect::Policy};
use shared::outgoing;

/// A client with the hub's settings.
pub fn plain_client() -> Client {
    outgoing::install_tls();
    Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_max_idle_per_host(16)
        .build()
        .unwrap()
}
