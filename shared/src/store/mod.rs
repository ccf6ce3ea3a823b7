//! The table and the queue, through the AWS SDK.
//!
//! One table holds everything but secrets. Its partition keys are `{tenant}#{kind}`, so that every key of a tenant's data
//! begins with the tenant and IAM can be told so (`dynamodb:LeadingKeys`). The index `by_time` (`g1pk`, `g1sk`) lists
//! inbound events by receipt and a number's interactions by time. `docs/architecture.md` has the whole layout.

mod commit;
mod item;
mod limits;
mod read;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

pub use self::{
    commit::{Commit, Refusal, Values, Write},
    item::{Item, Key},
    limits::Counted,
    read::Page,
};
use crate::hub::{Lazy, Settings};

/// The condition that no item with this key is there.
pub const ABSENT: &str = "attribute_not_exists(pk)";

/// The name of the index by time.
pub const BY_TIME: &str = "by_time";

/// A call to AWS that didn't succeed. Whether trying again can help is decided here, where it is born.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Throttled, timed out, failing or not permitted: our side's trouble, that passes or that an operator ends.
    #[error("{operation} failed for the moment: {reason}")]
    Unavailable {
        /// The AWS operation.
        operation: &'static str,
        /// What AWS said, without the request's content.
        reason: String,
    },
    /// Refused for what it asks: trying again gives the same.
    #[error("{operation} was refused: {reason}")]
    Rejected {
        /// The AWS operation.
        operation: &'static str,
        /// What AWS said.
        reason: String,
    },
}

/// Tells what a failed call means.
///
/// Only what AWS refuses for its content is final. A missing permission or table is an operator's mistake: the events
/// of that time should wait for its end, not fail.
pub fn classify<E, R>(operation: &'static str, error: SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let code = context.err().code().unwrap_or("an unknown error").to_owned();
            let refused = matches!(
                code.as_str(),
                "ValidationException"
                    | "SerializationException"
                    | "ItemCollectionSizeLimitExceededException"
                    | "InvalidMessageContents"
                    | "InvalidParameterValue"
                    | "InvalidParameterException"
                    | "InvalidRequestException"
            );
            if refused {
                let message = context.err().message().unwrap_or_default();
                StoreError::Rejected { operation, reason: format!("{code}: {message}") }
            } else {
                StoreError::Unavailable { operation, reason: code }
            }
        }
        SdkError::ConstructionFailure(_) => {
            StoreError::Rejected { operation, reason: "the request can't be made of these values".into() }
        }
        SdkError::TimeoutError(_) => StoreError::Unavailable { operation, reason: "no answer in time".into() },
        SdkError::DispatchFailure(_) => StoreError::Unavailable { operation, reason: "no connection".into() },
        _ => StoreError::Unavailable { operation, reason: "the answer can't be read".into() },
    }
}

/// The table and the retry queue.
pub struct Store {
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: Lazy<aws_sdk_sqs::Client>,
    table: String,
    retry_queue_url: String,
}

impl Store {
    /// Makes no call.
    #[must_use]
    pub fn new(dynamodb: aws_sdk_dynamodb::Client, sqs: Lazy<aws_sdk_sqs::Client>, settings: &Settings) -> Self {
        Self { dynamodb, sqs, table: settings.table.clone(), retry_queue_url: settings.retry_queue_url.clone() }
    }

    /// Puts a message into the retry queue, to be received after `delay_seconds` or SQS' longest delay, 900 s.
    ///
    /// # Errors
    /// [`StoreError`] where SQS doesn't take it.
    pub async fn enqueue(&self, message: String, delay_seconds: i64) -> Result<(), StoreError> {
        let request = self.sqs.send_message().queue_url(&self.retry_queue_url).message_body(message);
        let delay = i32::try_from(delay_seconds.clamp(0, 900)).unwrap_or(900);
        let sent = request.delay_seconds(delay).send().await;
        sent.map(|_| ()).map_err(|e| classify("SendMessage", e))
    }
}
