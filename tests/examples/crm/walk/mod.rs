//! The whole way there and back: records come into the hub, are synced to the CRM, and are changed on both sides.

mod hub;
mod source;
mod steps;
mod syncs;

use std::fmt;

use serde_json::json;
use shared::hub::Clock;
use tokio::{net::TcpListener, time::Instant};

use self::{hub::Hub, steps::Walk};
use crate::{
    crm::{Crm, Settings},
    records::Entity,
};

/// The CRM, as the hub names it.
const CRM: &str = "external_crm";

/// How many records of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub contacts: usize,
    pub companies: usize,
    pub interactions: usize,
}

impl Default for Counts {
    fn default() -> Self {
        Self { contacts: 1_000, companies: 50, interactions: 5_000 }
    }
}

impl Counts {
    pub fn of(self, entity: Entity) -> usize {
        match entity {
            Entity::Contact => self.contacts,
            Entity::Company => self.companies,
            Entity::Interaction => self.interactions,
        }
    }

    fn total(self) -> usize {
        Entity::ALL.into_iter().map(|entity| self.of(entity)).sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { contacts, companies, interactions } = self;
        write!(f, "company {companies}, contact {contacts}, interaction {interactions}")
    }
}

/// A step that didn't end as it should.
#[derive(Debug)]
pub struct Unmet {
    step: &'static str,
    expected: String,
    got: String,
}

impl Unmet {
    fn new(step: &'static str, expected: impl Into<String>, got: impl fmt::Display) -> Self {
        Self { step, expected: expected.into(), got: got.to_string() }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FAILED: {}\n  expected  {}\n  got       {}", self.step, self.expected, self.got)
    }
}

/// Walks all steps, and prints each.
///
/// # Errors
/// The first step that didn't end as it should.
pub async fn run(
    listener: TcpListener,
    settings: Settings,
    address: &str,
    counts: Counts,
    clock: Clock,
) -> Result<(), Unmet> {
    let start = Instant::now();
    let port = listener.local_addr().map_or(0, |address| address.port());
    let url = format!("http://127.0.0.1:{port}");
    let (share, seed) = (settings.failures, settings.seed);
    // Each run has its own tenant: a `cargo local` keeps what an earlier run left.
    let tenant = format!("walk-{}", clock().as_millisecond());
    let integrations = [integration(&url, &settings), source::integration()];
    let hub = Hub::provision(address, &tenant, &integrations, &clock).await?;
    let crm = Crm::new(Settings { hub: Some(hub.receiver(CRM)?), ..settings }, clock);
    let serving = crm.serve(listener);
    println!("Tenant {tenant} at {address}; its CRM at {url}, where {share} of all calls fail (seed {seed}).");

    let walk = Walk { hub, crm, counts };
    let ids = walk.send().await?;
    walk.sync_all().await?;
    walk.each_once(&ids).await?;
    walk.edited_there(&ids).await?;
    walk.edited_here(&ids).await?;
    walk.deleted_there(&ids).await?;
    walk.nothing_else_changed(&ids).await?;
    walk.summary();
    println!("All is as it should be, after {} s.", start.elapsed().as_secs());
    serving.abort();
    Ok(())
}

/// The CRM as an integration of the tenant.
fn integration(url: &str, settings: &Settings) -> serde_json::Value {
    json!({
        "system_id": CRM,
        "direction": "bidirectional",
        "signature": {"scheme": "custom"},
        "limits": {"per_minute": 1_000_000, "per_day": 10_000_000},
        "retry": {"max_attempts": 10, "backoff_factor": 1, "base_delay_seconds": 1},
        "outbound": {"preset": "generic", "base_url": url, "auth": {
            "type": "oauth2",
            "token_url": format!("{url}/oauth/token"),
            "client_id": settings.credentials.client_id,
            "client_secret": settings.credentials.client_secret,
        }},
    })
}
