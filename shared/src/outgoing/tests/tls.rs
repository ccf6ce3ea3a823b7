//! Hosts that can't prove who they are.

use std::{net::TcpListener, thread};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::*;

/// A certificate for `localhost` that only its own key vouches for, and that key: it protects nothing.
const CERTIFICATE: &str = concat!(
    "MIIBljCCATugAwIBAgIUJRq/ARy0I5eg/pEeT+XtaMuJxTEwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDIyMD",
    "cxMFoYDzIxMjYxMDMxMjIwNzEwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ/cmRKx136Jk/gdR05",
    "iktRaWwmcPw9WvhWZ+M5qjLvHn+QNjsh9PQm85CnSAABsZ2pmpCf9KN0cr4tUdeC6z2mo2kwZzAdBgNVHQ4EFgQUaIe0yYeJ+Qk+nod91aOeHx",
    "FGR44wHwYDVR0jBBgwFoAUaIe0yYeJ+Qk+nod91aOeHxFGR44wDwYDVR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZI",
    "zj0EAwIDSQAwRgIhAPDC1ElW20UaB92PcYbtgd8cVI7eK69UTAJ/cOqYZpUiAiEAvbo5qsUERubrywoBLwvvgCNDb/wppx4BDGvMP/DCdmY=",
);
const KEY: &str = concat!(
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQggaXEbDXQGaRb65Wmkpcy/pxb5NcDMoAkSQ5OTutHRc+hRANCAAQ/cmRKx136Jk",
    "/gdR05iktRaWwmcPw9WvhWZ+M5qjLvHn+QNjsh9PQm85CnSAABsZ2pmpCf9KN0cr4tUdeC6z2m",
);

/// Talks TLS with whoever comes.
fn self_signed() -> SocketAddr {
    install_tls();
    let decode = |text| BASE64_STANDARD.decode(text).unwrap();
    let certificate = CertificateDer::from(decode(CERTIFICATE));
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(decode(KEY)));
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream: std::net::TcpStream = stream.unwrap();
            // Ends in the alert of a client that doesn't go on.
            while session.complete_io(&mut stream).is_ok_and(|(read, _)| read > 0) {}
        }
    });
    address
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let url = format!("https://localhost:{}/", self_signed().port());
    let outcome = sender(Reach::Loopback, &["127.0.0.1"])(request(&url, PATIENT)).await;
    assert_eq!(outcome, Err(SendError::TlsFailed));
}

#[tokio::test]
async fn a_host_without_tls_is_refused() {
    let server =
        Server::start(|mut stream| async move { stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await }).await;
    let url = server.url("127.0.0.1").replace("http:", "https:");
    let outcome = sender(Reach::Loopback, &[])(request(&url, PATIENT)).await;
    assert_eq!(outcome, Err(SendError::TlsFailed));
}

/// `cargo test -p shared --release -- --ignored --nocapture cost_of_the_first`
#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_the_first_request() {
    for _ in 0..5 {
        let start = Instant::now();
        let send = sender(Reach::Loopback, &[]);
        let made = start.elapsed();
        let _ = send(request("http://127.0.0.1:65535/", PATIENT)).await;
        println!("made in {made:?}, first request in {:?}", start.elapsed());
    }
}
