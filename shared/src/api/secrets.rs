//! Changing the tenant's document of secrets: under a lease, because Secrets Manager can only replace it as a whole.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Call, busy, invalid};
use crate::{
    lease::{self, Lease},
    problem::Problem,
    secrets::Document,
    store::{Commit, Write},
};

/// Changes of the same take turns.
pub(super) const ROUNDS_MAX: u32 = 20;

/// Contract §6: how long an old secret counts by default, and how long at most.
const OVERLAP_HOURS: u32 = 24;
const OVERLAP_HOURS_MAX: u32 = 7 * 24;

/// A rotation, as it is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// Of a form that its scheme can sign with; made where there is none.
    #[serde(default)]
    #[schemars(length(min = 1, max = 4096), extend("format" = "webhook-secret"))]
    pub(super) secret: Option<String>,
    /// How long the old secret counts too; 24 by default.
    #[serde(default)]
    #[schemars(range(max = 168))]
    overlap_hours: Option<u32>,
}

impl Rotation {
    /// How long the old secret counts.
    pub(super) fn overlap(&self) -> Duration {
        Duration::from_hours(self.overlap_hours.unwrap_or(OVERLAP_HOURS).into())
    }
}

impl Call<'_> {
    pub(super) fn rotation(&self) -> Result<Rotation, Problem> {
        let rotation: Rotation = self.read(&["secret", "overlap_hours"])?;
        if rotation.overlap_hours.is_some_and(|hours| hours > OVERLAP_HOURS_MAX) {
            return Err(invalid("overlap_hours", format!("must be from 0 to {OVERLAP_HOURS_MAX}")));
        }
        Ok(rotation)
    }

    pub(super) async fn secrets_lease(&self) -> Result<Lease, Problem> {
        for _ in 0..ROUNDS_MAX {
            if let Some(lease) = lease::take(self.hub, self.context, lease::SECRETS).await? {
                return Ok(lease);
            }
            self.pause().await;
        }
        Err(busy())
    }

    pub(super) async fn change_secrets(&self, change: impl FnOnce(&mut Document)) -> Result<(), Problem> {
        let stored = self.hub.secrets.read(self.tenant()).await?;
        let exists = stored.is_some();
        let before = stored.unwrap_or_default();
        let mut document = before.clone();
        change(&mut document);
        if document == before {
            return Ok(());
        }
        Ok(self.hub.secrets.write(self.tenant(), &document, exists).await?)
    }

    /// Makes the last writes of a change, and with them the lease ends. It is given back where they are refused.
    pub(super) async fn commit_and_release(&self, mut writes: Vec<Write>, lease: Lease) -> Result<(), Problem> {
        writes.push(lease.clone().release());
        match self.hub.store.commit(writes).await? {
            Commit::Done => Ok(()),
            Commit::Conflict | Commit::Refused(_) => {
                lease.give_back(self.hub).await;
                Err(busy())
            }
        }
    }

    /// Before another try: 50 to 150 ms.
    pub(super) async fn pause(&self) {
        let share = u64::try_from((self.hub.random)() % 100).unwrap_or(50);
        tokio::time::sleep(Duration::from_millis(50 + share)).await;
    }
}
