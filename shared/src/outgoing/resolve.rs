//! Names to addresses, of which only the allowed ones are left.
//!
//! The client connects to what comes from here and asks nobody else, so a name can't lead elsewhere between the check
//! and the connection (DNS rebinding).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::endpoint::{Reach, allowed};

/// Looks up the addresses of a name. An argument, so that tests decide where names lead.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The system's lookup, `getaddrinfo` on a thread of its own.
#[must_use]
pub fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// Why a name leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unresolved {
    #[error("the name has no address")]
    NotFound,
    #[error("the name has no address that is allowed")]
    Refused,
}

/// A lookup and what counts of its answers.
pub(super) struct Resolver {
    pub(super) reach: Reach,
    pub(super) lookup: Lookup,
}

impl Resolver {
    /// The allowed addresses of a name, at least one.
    pub(super) async fn addresses(reach: Reach, lookup: Lookup, name: String) -> Result<Vec<IpAddr>, Unresolved> {
        let found = lookup(name).await.map_err(|_| Unresolved::NotFound)?;
        if found.is_empty() {
            return Err(Unresolved::NotFound);
        }
        let kept: Vec<_> = found.into_iter().filter(|ip| allowed(*ip, reach)).collect();
        if kept.is_empty() { Err(Unresolved::Refused) } else { Ok(kept) }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = Self::addresses(self.reach, Arc::clone(&self.lookup), name.as_str().to_owned());
        Box::pin(async move {
            // Port 0 stands for the URL's.
            let kept = addresses.await?.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(kept) as Addrs)
        })
    }
}
