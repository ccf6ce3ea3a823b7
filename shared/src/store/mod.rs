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
mod session;

pub use self::{
    commit::{Commit, Refusal, Update, Values, Write},
    error::{StoreError, classify},
    item::{Item, Key},
    limits::{Counted, Reserved},
    queue::{Delayed, Message, Queue, SHARDS, WRITES_MAX, wait_partition},
    read::{Page, Range, Span},
    session::Sessions,
};
use std::{sync::Arc, time::Duration};

use self::session::Session;
use crate::{
    hub::{Lazy, Settings},
    tenant::TenantContext,
};

/// The condition that no item with this key is there.
pub const ABSENT: &str = "attribute_not_exists(pk)";

/// The name of the index by time.
pub const BY_TIME: &str = "by_time";

/// The table and the queues. Cloning gives another way to the same.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    /// Whose calls to the table these are; `None` where they go by the function's own role.
    session: Option<Arc<Session>>,
}

struct Shared {
    /// By the function's own role.
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: Lazy<aws_sdk_sqs::Client>,
    table: String,
    retry_queue_url: String,
    delivery_queue_url: String,
    /// Of contacts, companies, interactions.
    sync_queue_urls: [String; 3],
    counter_retention: Duration,
    /// Where tenants have them.
    sessions: Option<Sessions>,
}

impl Store {
    /// By the function's own role, for `sessions` where a tenant's calls have one of their own. Makes no call.
    #[must_use]
    pub fn new(
        dynamodb: aws_sdk_dynamodb::Client,
        sqs: Lazy<aws_sdk_sqs::Client>,
        settings: &Settings,
        sessions: Option<Sessions>,
    ) -> Self {
        let shared = Shared {
            dynamodb,
            sqs,
            table: settings.table.clone(),
            retry_queue_url: settings.retry_queue_url.clone(),
            delivery_queue_url: settings.delivery_queue_url.clone(),
            sync_queue_urls: settings.sync_queue_urls.clone(),
            counter_retention: settings.counter_retention,
            sessions,
        };
        Self { shared: Arc::new(shared), session: None }
    }

    /// The same for one tenant: by its session, where there are sessions.
    pub(crate) fn of_tenant(&self, context: &TenantContext) -> Self {
        let session = self.shared.sessions.as_ref().map(|sessions| sessions.of(context));
        Self { shared: Arc::clone(&self.shared), session }
    }

    /// Whether a call can be for one tenant only.
    pub(crate) fn has_sessions(&self) -> bool {
        self.shared.sessions.is_some()
    }

    /// What calls to the table are made with. Every call but those on the index `due`, which is no tenant's.
    async fn dynamodb(&self) -> Result<aws_sdk_dynamodb::Client, StoreError> {
        match (&self.session, &self.shared.sessions) {
            (Some(session), Some(sessions)) => sessions.client(session).await,
            _ => Ok(self.shared.dynamodb.clone()),
        }
    }
}
