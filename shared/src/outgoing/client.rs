//! The real sender, on reqwest.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use reqwest::{Client, Response, redirect::Policy};
use rustls::crypto::ring;
use tokio::time::timeout;

use super::{
    Answer, BODY_BYTES_KEPT, Lookup, Reply, Request, SendError, Sender,
    resolve::{Resolver, system},
    retry_after,
};
use crate::{
    endpoint::Reach,
    hub::{Clock, Lazy},
};

/// Looking the name up, connecting and the TLS handshake together. Thrice what a healthy host at the other end of the
/// world takes, and it leaves the answer most of a webhook's 30 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request: shorter than the 60 s after which common servers and load
/// balancers close it, since a request that meets the closing fails.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections that are kept for one host: all of a batch may go to the same one.
const IDLE_PER_HOST: usize = 16;
/// How long the body may take once the status is there. It is only for people to read.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// The sender that calls what `reach` allows. `clock` is for `Retry-After` dates. Makes nothing yet: the client is
/// built at the first request, since reading the system's CA certificates takes milliseconds of a cold start.
#[must_use]
pub fn client(reach: Reach, clock: Clock) -> Sender {
    client_with(reach, clock, system())
}

/// [`client`], with names that lead where `lookup` says.
#[must_use]
pub fn client_with(reach: Reach, clock: Clock, lookup: Lookup) -> Sender {
    install_tls();
    let built: Lazy<Result<Client, SendError>> = LazyLock::new(Box::new(move || build(Resolver { reach, lookup })));
    let built = Arc::new(built);
    Arc::new(move |request| {
        let (built, clock) = (Arc::clone(&built), Arc::clone(&clock));
        Box::pin(async move {
            // It may have been stored when the deployment allowed more.
            request.endpoint.check(reach)?;
            let client = LazyLock::force(&*built).as_ref().map_err(Clone::clone)?;
            send(client, &clock, request).await
        })
    })
}

/// Makes ring the TLS cryptography of every reqwest client of this program that is built from now on; without it,
/// building one panics. [`client`] calls it. A second call does nothing.
pub fn install_tls() {
    // An error means that there is one already.
    let _ = ring::default_provider().install_default();
}

fn build(resolver: Resolver) -> Result<Client, SendError> {
    Client::builder()
        // A redirect could lead anywhere.
        .redirect(Policy::none())
        .referer(false)
        // A proxy would resolve names itself. The environment doesn't decide that.
        .no_proxy()
        .dns_resolver(resolver)
        // These two also hold where another crate turns on more of reqwest's features.
        .http1_only()
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        // Whether to try again is our caller's decision.
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build()
        .map_err(|_| SendError::ClientUnavailable)
}

async fn send(client: &Client, clock: &Clock, request: Request) -> Result<Reply, SendError> {
    let (limit, answer) = (request.timeout, request.answer);
    let mut reply = None;
    let outcome = timeout(limit, exchange(client, clock, request, &mut reply)).await;
    match (reply, outcome) {
        // The status counts, whatever became of the body.
        (Some(reply), _) if answer == Answer::Beginning => Ok(reply),
        (Some(reply), Ok(Ok(()))) => Ok(reply),
        (_, Ok(Err(error))) => Err(error),
        (_, _) => Err(SendError::TimedOut(limit)),
    }
}

/// Puts the reply there as soon as there is one, and adds to it what comes of the body.
async fn exchange(
    client: &Client,
    clock: &Clock,
    request: Request,
    reply: &mut Option<Reply>,
) -> Result<(), SendError> {
    let (limit, answer) = (request.timeout, request.answer);
    let mut message = reqwest::Request::new(request.method, request.endpoint.url().clone());
    *message.headers_mut() = request.headers;
    *message.body_mut() = Some(request.body.into());
    let failed = |error: reqwest::Error| SendError::of(&error, limit);
    let response = client.execute(message).await.map_err(failed)?;
    let retry_after = retry_after(response.headers(), clock());
    let reply = reply.insert(Reply { status: response.status(), retry_after, body: Vec::new() });
    match answer {
        Answer::Beginning => {
            // Too late, broken off or too long: what came is kept.
            let _ = timeout(BODY_TIMEOUT, read(response, BODY_BYTES_KEPT, &mut reply.body)).await;
            Ok(())
        }
        Answer::Whole(max) => {
            let complete = read(response, max, &mut reply.body).await.map_err(failed)?;
            if complete { Ok(()) } else { Err(SendError::TooLarge(max)) }
        }
    }
}

/// Reads to the end, so that the connection can be used again, and says so; or until there is more than `max` bytes, of
/// which `max` are kept, and then drops the connection. A chunk is at most what the client buffers, 400 KB.
async fn read(mut response: Response, max: usize, body: &mut Vec<u8>) -> Result<bool, reqwest::Error> {
    while let Some(chunk) = response.chunk().await? {
        let room = max.saturating_sub(body.len());
        let Some(fits) = chunk.get(..room).filter(|_| chunk.len() > room) else {
            body.extend_from_slice(&chunk);
            continue;
        };
        body.extend_from_slice(fits);
        return Ok(false);
    }
    Ok(true)
}
