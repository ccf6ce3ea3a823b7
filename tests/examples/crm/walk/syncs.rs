//! The syncs, seen from both sides until they have come to rest.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    CRM, Counts, Unmet,
    steps::{POLL, Walk},
};
use crate::records::Entity;

/// How long nothing may wait before it counts: what was just asked for may not have begun.
const CALM: Duration = Duration::from_secs(2);
/// How often to say what is to be seen.
const TELL: Duration = Duration::from_secs(5);
/// When there is no progress for so long, ask for the syncs again, as a person would.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// When there is none for so long, it is over.
const PATIENCE: Duration = Duration::from_mins(2);

/// What both sides say of the syncs.
pub struct Seen {
    /// As `GET /v1/sync/{system_id}` gives them.
    pub states: Value,
    in_crm: BTreeMap<&'static str, usize>,
    /// Changes that the CRM has still to tell.
    untold: u64,
}

impl Seen {
    /// The sum over all entities; `None` where the hub doesn't give one of each.
    pub fn total(&self, name: &str) -> Option<u64> {
        let states = self.states["data"].as_array()?;
        let of = |entity: Entity| states.iter().find(|state| state["entity_type"] == entity.name())?[name].as_u64();
        Entity::ALL.into_iter().map(of).sum()
    }

    /// How much is still to be done: records that aren't in the CRM or shouldn't be, syncs and webhooks that wait.
    fn left(&self, expected: Counts) -> u64 {
        let Some(waiting) = self.total("waiting") else { return u64::MAX };
        let off = |entity: Entity| self.in_crm[entity.name()].abs_diff(expected.of(entity)) as u64;
        waiting + self.untold + Entity::ALL.into_iter().map(off).sum::<u64>()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |name: &str| self.total(name).map_or_else(|| "?".to_owned(), |total| total.to_string());
        let (waiting, failed, sent) = (of("waiting"), of("failed"), of("sent"));
        let records =
            self.in_crm.iter().map(|(entity, count)| format!("{entity} {count}")).collect::<Vec<_>>().join(", ");
        write!(f, "in the CRM {records}; syncs: {waiting} waiting, {failed} failed, {sent} sent; ")?;
        write!(f, "webhooks of the CRM: {} waiting", self.untold)
    }
}

impl Walk {
    /// Has everything synced, the CRM's tokens revoked once on the way.
    pub async fn sync_all(&self) -> Result<(), Unmet> {
        let start = Instant::now();
        let (crm, half) = (Arc::clone(&self.crm), self.counts.contacts / 2);
        // A token can end before its time. The hub finds that out by a 401, and takes another.
        let revoking = tokio::spawn(async move {
            while crm.with_records(|records| records.count(Entity::Contact)) <= half {
                sleep(POLL / 10).await;
            }
            crm.access.revoke();
        });
        let settled = self.settle("Sync all records", self.counts).await;
        revoking.abort();
        settled?;
        println!("Synced all of it in {} s.", start.elapsed().as_secs());
        Ok(())
    }

    /// Asks for syncs, and waits until nothing waits, the CRM has `expected` and has told the hub everything.
    pub async fn settle(&self, step: &'static str, expected: Counts) -> Result<(), Unmet> {
        self.ask(step).await?;
        let (mut least, mut calm) = (u64::MAX, None);
        let (mut moved, mut asked, mut told) = (Instant::now(), Instant::now(), Instant::now());
        loop {
            sleep(POLL).await;
            let seen = self.see(step).await?;
            self.no_duplicates(step)?;
            let left = seen.left(expected);
            if left > 0 {
                calm = None;
            } else if calm.get_or_insert_with(Instant::now).elapsed() >= CALM {
                return Ok(());
            }
            // Less than ever: what only goes to and fro for ever isn't progress.
            if left < least {
                (least, moved) = (left, Instant::now());
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                println!("  {seen}");
            }
            if moved.elapsed() >= PATIENCE {
                let expected = format!("nothing waiting, and {expected} in the CRM");
                let calls = self.crm.report().calls;
                return Err(Unmet::new(
                    step,
                    expected,
                    format!("{seen}; sync states {}; calls {calls:?}", seen.states),
                ));
            }
            if moved.elapsed() >= ASK_AGAIN && asked.elapsed() >= ASK_AGAIN {
                asked = Instant::now();
                println!("  No progress for {} s; asking for the syncs again.", moved.elapsed().as_secs());
                self.ask(step).await?;
            }
        }
    }

    pub async fn ask(&self, step: &'static str) -> Result<(), Unmet> {
        for entity in Entity::ALL {
            let path = format!("/v1/sync/{CRM}/{}", entity.name());
            self.hub.post(&path).await?.expect(202, step, &format!("POST {path}"))?;
        }
        Ok(())
    }

    pub async fn see(&self, step: &'static str) -> Result<Seen, Unmet> {
        let path = format!("/v1/sync/{CRM}");
        let states = self.hub.get(&path).await?.expect(200, step, &format!("GET {path}"))?;
        let report = self.crm.report();
        Ok(Seen { states, in_crm: report.records, untold: report.webhooks.waiting })
    }
}
