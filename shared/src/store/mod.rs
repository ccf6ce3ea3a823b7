//! The table and the queue, through the AWS SDK.
//!
//! One table holds everything but secrets. Its partition keys are `{tenant}#{kind}`, so that every key of a tenant's data
//! begins with the tenant and IAM can be told so (`dynamodb:LeadingKeys`). The index `by_time` (`g1pk`, `g1sk`) lists
//! inbound events by receipt and a number's interactions by time; `due` (`due_pk`, `due_at`) finds what waits
//! long. `docs/architecture.md` has the whole layout.

mod commit;
mod error;
mod item;
mod limits;
mod pace;
mod queue;
mod read;

pub use self::{
    commit::{Commit, Refusal, Update, Values, Write},
    error::{StoreError, classify},
    item::{Item, Key},
    limits::{Counted, Reserved},
    queue::{Delayed, Message, Queue, SHARDS, WRITES_MAX, wait_partition},
    read::{Page, Range, Span},
};
use std::time::Duration;

use crate::hub::{Lazy, Settings};

/// The condition that no item with this key is there.
pub const ABSENT: &str = "attribute_not_exists(pk)";

/// The name of the index by time.
pub const BY_TIME: &str = "by_time";

/// The table and the queues.
pub struct Store {
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: Lazy<aws_sdk_sqs::Client>,
    table: String,
    retry_queue_url: String,
    delivery_queue_url: String,
    /// Of contacts, companies, interactions.
    sync_queue_urls: [String; 3],
    counter_retention: Duration,
}

impl Store {
    /// Makes no call.
    #[must_use]
    pub fn new(dynamodb: aws_sdk_dynamodb::Client, sqs: Lazy<aws_sdk_sqs::Client>, settings: &Settings) -> Self {
        Self {
            dynamodb,
            sqs,
            table: settings.table.clone(),
            retry_queue_url: settings.retry_queue_url.clone(),
            delivery_queue_url: settings.delivery_queue_url.clone(),
            sync_queue_urls: settings.sync_queue_urls.clone(),
            counter_retention: settings.counter_retention,
        }
    }
}
