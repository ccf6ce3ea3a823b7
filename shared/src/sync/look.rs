//! Looking for what a try may have made whose answer was lost.

use std::{
    future::ready,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{StreamExt, stream};

use super::{
    link::Link,
    page::Sending,
    run::{AT_ONCE, Run, Stop},
};
use crate::{connector::CallError, store::StoreError};

impl Run<'_> {
    /// Looks whether records exist over there that may have been made by a try whose answer was lost. Gives those that don't.
    /// As in [`Self::send`], a system that is down is left alone.
    pub(super) async fn look_for(&self, sendings: Vec<Sending>) -> Result<(Vec<Sending>, Option<Stop>), StoreError> {
        self.quota.expect(sendings.len());
        let in_a_row = AtomicUsize::new(0);
        let at_once = if self.strikes() > 0 { 1 } else { AT_ONCE };
        let found = stream::iter(sendings)
            .take_while(|_| ready(in_a_row.load(Ordering::Relaxed) < self.streak_max()))
            .map(async |sending| (self.connector.find(self.scope.entity, &sending.place.record_id).await, sending));
        let mut found = std::pin::pin!(found.buffer_unordered(at_once));
        let (mut missing, mut failed, mut limited) = (Vec::new(), Vec::new(), None);
        while let Some((outcome, sending)) = found.next().await {
            if outcome.is_ok() {
                self.well().await?;
                // Once the limit is reached, no other call is begun.
                if limited.is_none() {
                    in_a_row.store(0, Ordering::Relaxed);
                }
                for (sending, error) in failed.drain(..) {
                    self.failed(&sending, &error).await?;
                }
            }
            match outcome {
                Ok(Some(written)) => self.found(&sending, &written).await?,
                Ok(None) => missing.push(sending),
                Err(CallError::Limited { until }) => {
                    limited = Some(Stop::Until(until));
                    in_a_row.store(usize::MAX, Ordering::Relaxed);
                }
                Err(CallError::Uncounted(error)) => return Err(error),
                Err(error) => {
                    let one_more = in_a_row.load(Ordering::Relaxed).saturating_add(error.is_systemic().into());
                    in_a_row.store(one_more, Ordering::Relaxed);
                    failed.push((sending, error));
                }
            }
        }
        let stop = self.judge(failed).await?.or(limited);
        if stop.is_some() {
            // Looked for anew in each run, they would never be made where the limit allows no more calls than looks.
            for sending in &missing {
                self.is_not_there(sending).await?;
            }
        }
        Ok((missing, stop))
    }

    /// A record that isn't there is in doubt no longer.
    async fn is_not_there(&self, sending: &Sending) -> Result<(), StoreError> {
        let sure = |link: &mut Link, moved: bool| {
            link.in_doubt &= moved;
            Vec::new()
        };
        self.write_link(sending, sure).await.map(drop)
    }
}
