//! When a delivery may be made: not before it is due, and where its endpoint has a rate, when it is its turn.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    attempt::{Known, Work},
    record::Record,
};
use crate::{
    event::Event,
    operation::{Deliver, Operation},
    store::{Key, StoreError},
};

/// So long a delivery waits for its turn in the function; for a longer wait it goes back into the queue, whose delays are
/// whole seconds.
const WAIT_MAX: Duration = Duration::from_millis(2_500);
/// So long before its turn a delivery comes out of the queue: a second that its whole seconds may take, and one that it may
/// be late. One that misses its turn has to take another, and where all are late alike, none would ever be made.
const EARLY: Duration = Duration::from_secs(2);
/// A turn that is over by so much isn't used any more: deliveries that are late together would come together.
const TURN_MAX: Duration = Duration::from_millis(200);

fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

impl Work<'_> {
    /// Waits for what is early, and for its turn at an endpoint with a rate. `false` where it went back into the queue.
    pub(super) async fn has_turn(&self, known: &Known, event: &Event) -> Result<bool, StoreError> {
        let early = self.delivery.due.map(|due| (due, until(due, self.hub.now())));
        match early {
            Some((due, wait)) if wait > WAIT_MAX => {
                self.hub.send_at(&Operation::Deliver(Box::new(self.delivery.clone())), due).await?;
                return Ok(false);
            }
            Some((_, wait)) => tokio::time::sleep(wait).await,
            None => {}
        }
        let mut turn = self.delivery.turn;
        loop {
            let now = self.hub.now();
            let next = match turn {
                Some(turn) if until(now, turn) <= TURN_MAX => turn,
                _ => match self.next_turn().await? {
                    None => return Ok(true),
                    Some(turn) => turn,
                },
            };
            let wait = until(next, now);
            if wait.is_zero() {
                return Ok(true);
            }
            if wait > WAIT_MAX {
                self.wait(known, event, next).await?;
                return Ok(false);
            }
            tokio::time::sleep(wait).await;
            turn = Some(next);
        }
    }

    fn interval_ms(&self) -> Option<i64> {
        let rate = self.subscription.config.rate_per_second.as_ref()?.as_f64()?;
        #[expect(clippy::cast_possible_truncation, reason = "from 1 to 100,000")]
        Some((1_000.0 / rate).ceil() as i64)
    }

    /// The next turn at the endpoint; `None` where it has no rate.
    async fn next_turn(&self) -> Result<Option<Timestamp>, StoreError> {
        let Some(interval_ms) = self.interval_ms() else { return Ok(None) };
        let key = Key::of(self.context.tenant(), "pace", self.subscription.id.clone());
        self.hub.store.turn(&key, interval_ms, self.hub.now()).await.map(Some)
    }

    /// Back into the queue until `turn`, a little before it where the queue's whole seconds allow.
    async fn wait(&self, known: &Known, event: &Event, turn: Timestamp) -> Result<(), StoreError> {
        let delivery = Deliver { turn: Some(turn), ..self.delivery.clone() };
        if known.record.is_none() && delivery.made == 0 && delivery.cause.is_none() {
            // So that people see it, and the sweep doesn't take it for left behind.
            let record = Record { next_attempt_at: Some(turn), ..Record::new(event.event_type.as_str()) };
            let (condition, values) = Record::unchanged(None);
            self.hub.store.put(record.item(&self.delivery, self.ttl()), condition, values).await?.ok();
        }
        let early = turn.checked_sub(EARLY).unwrap_or(turn);
        self.hub.send_at(&Operation::Deliver(Box::new(delivery)), early).await
    }

    /// Waits for the next turn, however long that takes.
    pub(super) async fn await_turn(&self) -> Result<(), StoreError> {
        while let Some(turn) = self.next_turn().await? {
            tokio::time::sleep(until(turn, self.hub.now())).await;
            if until(self.hub.now(), turn) <= TURN_MAX {
                break;
            }
        }
        Ok(())
    }
}
