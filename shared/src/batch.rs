//! Batches of SQS, message by message: a bad one neither holds up nor repeats its neighbours.
//!
//! A message that is done is deleted. One that isn't ours, that panics, takes too long or can't be done for the moment is
//! left to SQS: it comes again, and after some times it is in the dead-letter queue.

use std::{panic::AssertUnwindSafe, time::Duration};

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};
use futures_util::FutureExt;
use jiff::Timestamp;

use crate::{
    operation::{MessageError, Operation},
    store::StoreError,
};

/// Why a message is left to SQS.
#[derive(Debug, thiserror::Error)]
pub enum Left {
    /// It isn't one of ours, or of a newer version.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// AWS fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A mistake of ours.
    #[error("working on it panicked; the panic's own line in the log says where")]
    Panic,
    /// It waits for something that doesn't come.
    #[error("it took more than {} s", .0.as_secs())]
    TimeOut(Duration),
}

/// Keeps a panic and an endless wait to their message.
///
/// # Errors
/// [`Left`].
pub async fn contained<T>(time_max: Duration, work: impl Future<Output = Result<T, Left>>) -> Result<T, Left> {
    let work = tokio::time::timeout(time_max, work);
    // What a panic leaves half done in memory are caches at worst, and those are behind locks that survive it.
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or(Ok(Err(Left::Panic))).unwrap_or(Err(Left::TimeOut(time_max)))
}

/// What the log lines of a message's work are found by, where it says so.
pub fn correlation_id(message: &SqsMessage) -> Option<String> {
    // Whatever time it names is good enough for the log.
    let operation = Operation::from_message(message.body.as_deref()?, Timestamp::MAX).ok()?;
    operation.correlation_id().map(str::to_owned)
}

/// Notes that a message is left to SQS.
pub fn leave(response: &mut SqsBatchResponse, message: &SqsMessage, error: &Left) {
    let correlation_id = correlation_id(message);
    tracing::warn!(message_id = message.message_id, correlation_id, %error, "a message is left to the queue");
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message.message_id.clone().unwrap_or_default();
    response.batch_item_failures.push(failure);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_or_an_endless_wait_is_its_messages_own() {
        let most = Duration::from_secs(20);
        assert!(matches!(contained(most, async { Ok(1) }).await, Ok(1)));
        assert!(matches!(contained::<()>(most, async { panic!("bad message") }).await, Err(Left::Panic)));
        assert!(matches!(contained::<()>(most, std::future::pending()).await, Err(Left::TimeOut(_))));
    }
}
