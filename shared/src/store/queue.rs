//! Operations on their way: in a queue for up to SQS' 15 minutes, in the table for longer.
//!
//! A longer wait is an item of its tenant, found by its due time on the index `due`, that holds keys only. Once a minute
//! `release-waiting` moves what is due soon into its queue. However long, a wait costs the same: about 4 write units and
//! 2 read units.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest},
};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use super::{ABSENT, Item, Key, Page, Store, StoreError, Values, classify};
use crate::{
    connector::Entity,
    ids::{TenantId, sortable},
    time::millis_text,
};

/// The longest delay of a message
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>).
const DELAY_SECONDS_MAX: i64 = 900;
/// Messages in one `SendMessageBatch`.
const BATCH_MAX: usize = 10;
/// Bytes in one `SendMessageBatch`: a quarter of what SQS takes today, and all that it took until 2025.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Items in one `BatchWriteItem`.
pub const WRITES_MAX: usize = 25;
/// Batches under way at once.
const BATCHES_AT_ONCE: usize = 8;

/// The name of the index by due time.
const DUE: &str = "due";
/// Partitions of that index. Each takes 1,000 writes a second, and a full one would throttle the table.
pub const SHARDS: u8 = 4;

/// The queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// Inbound events that wait for another try, and jobs of tenants: `process-retries`.
    #[default]
    Retries,
    /// Deliveries of outgoing webhooks: `deliver-webhooks`.
    Deliveries,
    /// Runs of syncs: a queue for each of `sync-contacts`, `sync-companies` and `sync-interactions`.
    Syncs(Entity),
}

/// A message and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The queue.
    pub queue: Queue,
    /// Whose message it is, so that one group's many or slow messages don't keep those of others waiting
    /// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html>).
    pub group: Option<String>,
    /// What it says.
    pub body: String,
}

/// A message that is to be received in some seconds.
#[derive(Clone, Debug)]
pub struct Delayed {
    /// The message.
    pub message: Message,
    /// From now; negative counts as 0.
    pub delay_seconds: i64,
}

impl Store {
    /// Lets `message` come out of its queue at `due`.
    ///
    /// While the table is down, a longer wait hops: the message comes early, says when it is due, and is let wait again.
    ///
    /// # Errors
    /// [`StoreError`] where neither takes it.
    pub async fn wait(
        &self,
        tenant: &TenantId,
        message: Message,
        due: Timestamp,
        (now, random): (Timestamp, u128),
    ) -> Result<(), StoreError> {
        let delay_seconds = seconds_until(due, now);
        if delay_seconds <= DELAY_SECONDS_MAX {
            return self.enqueue(message, delay_seconds).await;
        }
        let shard = random.to_be_bytes().last().copied().unwrap_or_default() % SHARDS;
        let item = Item::new(&Key::of(tenant, "wait", sortable("wait", due, random)))
            .text("due_pk", wait_partition(shard))
            .text("due_at", millis_text(due))
            .text("queue", message.queue.name())
            .text("group", message.group.as_deref().unwrap_or_default())
            .text("msg", message.body.as_str());
        match self.put(item, ABSENT, Values::new()).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "a long wait begins in the queue");
                self.enqueue(message, DELAY_SECONDS_MAX).await
            }
        }
    }

    /// Puts a message into its queue, to be received after `delay_seconds` or SQS' longest delay.
    ///
    /// # Errors
    /// [`StoreError`] where SQS doesn't take it.
    pub async fn enqueue(&self, message: Message, delay_seconds: i64) -> Result<(), StoreError> {
        let request = self.shared.sqs.send_message().queue_url(self.url(message.queue)).message_body(message.body);
        let request = request.set_message_group_id(message.group);
        let sent = request.delay_seconds(clamped(delay_seconds)).send().await;
        sent.map(|_| ()).map_err(|e| classify("SendMessage", e))
    }

    fn url(&self, queue: Queue) -> &str {
        match queue {
            Queue::Retries => &self.shared.retry_queue_url,
            Queue::Deliveries => &self.shared.delivery_queue_url,
            Queue::Syncs(Entity::Contact) => &self.shared.sync_queue_urls[0],
            Queue::Syncs(Entity::Company) => &self.shared.sync_queue_urls[1],
            Queue::Syncs(Entity::Interaction) => &self.shared.sync_queue_urls[2],
        }
    }

    /// Puts several messages into their queues, in as few calls as they fit into, and gives the positions of those that
    /// SQS took.
    ///
    /// # Errors
    /// [`StoreError`] where it took none at all.
    pub async fn enqueue_all(&self, messages: Vec<Delayed>) -> Result<Vec<usize>, StoreError> {
        let batches = stream::iter(batches(messages)).map(|batch| self.enqueue_batch(batch));
        let answers: Vec<_> = batches.buffer_unordered(BATCHES_AT_ONCE).collect().await;
        let (mut taken, mut failed) = (Vec::new(), None);
        for answer in answers {
            match answer {
                Ok(positions) => taken.extend(positions),
                Err(error) => failed = Some(error),
            }
        }
        failed.filter(|_| taken.is_empty()).map_or(Ok(taken), Err)
    }

    /// As [`Store::enqueue_all`], for a caller that can only begin anew: gives how many there were.
    ///
    /// # Errors
    /// [`StoreError`] where SQS didn't take all of them; some may be in their queues.
    pub async fn enqueue_every(&self, messages: Vec<Delayed>) -> Result<usize, StoreError> {
        let count = messages.len();
        if self.enqueue_all(messages).await?.len() < count {
            return Err(StoreError::Unavailable { operation: "SendMessageBatch", reason: "throttled".into() });
        }
        Ok(count)
    }

    async fn enqueue_batch(&self, batch: Vec<(usize, Delayed)>) -> Result<Vec<usize>, StoreError> {
        let queue = batch.first().map(|(_, delayed)| delayed.message.queue).unwrap_or_default();
        let mut request = self.shared.sqs.send_message_batch().queue_url(self.url(queue));
        for (position, Delayed { message, delay_seconds }) in batch {
            let entry = SendMessageBatchRequestEntry::builder().id(position.to_string()).message_body(message.body);
            let entry = entry.set_message_group_id(message.group).delay_seconds(clamped(delay_seconds)).build();
            request = request.entries(entry.map_err(|e| StoreError::unbuildable("SendMessageBatch", &e))?);
        }
        let answer = request.send().await.map_err(|e| classify("SendMessageBatch", e))?;
        Ok(answer.successful.iter().filter_map(|sent| sent.id.parse().ok()).collect())
    }

    /// A page of the keys of what waits in a partition of the index by due time (for messages, a [`wait_partition`]) and is
    /// due by `until`, the earliest first, after `after`.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn due(
        &self,
        partition: &str,
        until: Timestamp,
        after: Option<(String, Key)>,
        limit: i32,
    ) -> Result<Page, StoreError> {
        self.due_between(partition, ("", &millis_text(until)), after, limit).await
    }

    /// A page of the keys in a partition of that index between two sort keys, these included.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn due_between(
        &self,
        partition: &str,
        (from, to): (&str, &str),
        after: Option<(String, Key)>,
        limit: i32,
    ) -> Result<Page, StoreError> {
        let text = AttributeValue::S;
        let mut request = self.shared.dynamodb.query().table_name(&self.shared.table).index_name(DUE).limit(limit);
        request = request
            .expression_attribute_values(":pk", text(partition.to_owned()))
            .expression_attribute_values(":to", text(to.to_owned()));
        // An empty text is no key.
        request = if from.is_empty() {
            request.key_condition_expression("due_pk = :pk AND due_at <= :to")
        } else {
            let request = request.key_condition_expression("due_pk = :pk AND due_at BETWEEN :from AND :to");
            request.expression_attribute_values(":from", text(from.to_owned()))
        };
        if let Some((due_at, key)) = after {
            let mut start = key.attributes();
            start.insert("due_pk".to_owned(), text(partition.to_owned()));
            start.insert("due_at".to_owned(), text(due_at));
            request = request.set_exclusive_start_key(Some(start));
        }
        let answer = request.send().await.map_err(|e| classify("Query", e))?;
        Ok(Page::of(answer.items, answer.last_evaluated_key, "due_at"))
    }

    /// A page of the keys in a partition of that index whose sort keys begin with `prefix` and, with `until`, end with that
    /// time or an earlier one, after `after`; with their sort keys.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn due_with(
        &self,
        partition: &str,
        prefix: &str,
        until: Option<Timestamp>,
        (after, limit): (Option<(String, Key)>, i32),
    ) -> Result<Page, StoreError> {
        let end = until.map_or_else(|| "~".to_owned(), millis_text);
        self.due_between(partition, (prefix, &format!("{prefix}{end}")), after, limit).await
    }

    /// What waits under `keys` (at most 100), as messages with the rest of their time; `None` for what is no longer there.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn waiting(&self, keys: &[Key], now: Timestamp) -> Result<Vec<Option<Delayed>>, StoreError> {
        let items = self.get_many(keys).await?;
        let delayed = |item: Item| {
            let due: Timestamp = item.get_text("due_at")?.parse().ok()?;
            let message = Message {
                queue: Queue::named(item.get_text("queue").unwrap_or_default()),
                group: item.get_text("group").map(str::to_owned),
                body: item.get_text("msg")?.to_owned(),
            };
            Some(Delayed { message, delay_seconds: seconds_until(due, now) })
        };
        Ok(items.into_iter().map(|item| item.and_then(delayed)).collect())
    }

    /// Deletes items, as far as DynamoDB lets; the rest is deleted with the next release.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn delete_all(&self, keys: Vec<Key>) -> Result<(), StoreError> {
        self.delete_batches(keys).await.map(drop)
    }

    /// Gives how many DynamoDB left out.
    async fn delete_batches(&self, keys: Vec<Key>) -> Result<usize, StoreError> {
        let mut left = 0;
        for chunk in keys.chunks(WRITES_MAX) {
            let delete = |key: &Key| DeleteRequest::builder().set_key(Some(key.attributes())).build();
            let writes = chunk.iter().map(|key| Ok(WriteRequest::builder().delete_request(delete(key)?).build()));
            let writes: Result<Vec<_>, BuildError> = writes.collect();
            left += self.write_batch(writes.map_err(|e| StoreError::unbuildable("BatchWriteItem", &e))?).await?;
        }
        Ok(left)
    }

    /// Deletes items, all of them.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails or doesn't take all of them; some may be deleted.
    pub async fn delete_every(&self, keys: Vec<Key>) -> Result<(), StoreError> {
        let left = self.delete_batches(keys).await?;
        if left == 0 {
            return Ok(());
        }
        Err(StoreError::Unavailable { operation: "BatchWriteItem", reason: "throttled".into() })
    }

    /// Puts at most 25 items, whatever is there: the cheapest way to write several.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails or doesn't take all of them; some may be written.
    pub async fn put_all(&self, items: Vec<Item>) -> Result<(), StoreError> {
        let put = |item: Item| PutRequest::builder().set_item(Some(item.0)).build();
        let writes = items.into_iter().map(|item| Ok(WriteRequest::builder().put_request(put(item)?).build()));
        let writes: Result<Vec<_>, BuildError> = writes.collect();
        let left = self.write_batch(writes.map_err(|e| StoreError::unbuildable("BatchWriteItem", &e))?).await?;
        if left == 0 {
            return Ok(());
        }
        Err(StoreError::Unavailable { operation: "BatchWriteItem", reason: "throttled".into() })
    }

    /// One `BatchWriteItem`; gives how many writes DynamoDB left out.
    async fn write_batch(&self, writes: Vec<WriteRequest>) -> Result<usize, StoreError> {
        let request = self.dynamodb().await?.batch_write_item().request_items(&self.shared.table, writes);
        let answer = request.send().await.map_err(|e| classify("BatchWriteItem", e))?;
        let left = answer.unprocessed_items.and_then(|mut tables| tables.remove(&self.shared.table));
        Ok(left.map_or(0, |left| left.len()))
    }
}

/// Whole seconds, rounded up: nothing comes early.
fn seconds_until(due: Timestamp, now: Timestamp) -> i64 {
    let left = due.duration_since(now);
    left.as_secs().saturating_add(i64::from(left > SignedDuration::from_secs(left.as_secs())))
}

fn clamped(delay_seconds: i64) -> i32 {
    i32::try_from(delay_seconds.clamp(0, DELAY_SECONDS_MAX)).unwrap_or(900)
}

/// The partition of the index by due time in which the messages of a shard wait.
#[must_use]
pub fn wait_partition(shard: u8) -> String {
    format!("due#{shard}")
}

/// Messages with their positions, in batches that SQS takes, each for one queue.
fn batches(messages: Vec<Delayed>) -> Vec<Vec<(usize, Delayed)>> {
    let mut queues: BTreeMap<Queue, Vec<(usize, Delayed)>> = BTreeMap::new();
    for (position, delayed) in messages.into_iter().enumerate() {
        queues.entry(delayed.message.queue).or_default().push((position, delayed));
    }
    let mut batches: Vec<Vec<(usize, Delayed)>> = Vec::new();
    for queue in queues.into_values() {
        let mut bytes = usize::MAX;
        for (position, delayed) in queue {
            bytes = bytes.saturating_add(delayed.message.body.len());
            match batches.last_mut() {
                Some(batch) if batch.len() < BATCH_MAX && bytes <= BATCH_BYTES_MAX => batch.push((position, delayed)),
                _ => {
                    bytes = delayed.message.body.len();
                    batches.push(vec![(position, delayed)]);
                }
            }
        }
    }
    batches
}

impl Queue {
    /// All of them.
    const ALL: [Self; 5] = [
        Self::Retries,
        Self::Deliveries,
        Self::Syncs(Entity::Contact),
        Self::Syncs(Entity::Company),
        Self::Syncs(Entity::Interaction),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Retries => "",
            Self::Deliveries => "deliveries",
            Self::Syncs(entity) => entity.as_str(),
        }
    }

    fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|queue| queue.name() == name).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_to_both_limits_of_sqs() {
        let message = |queue, n: &usize| Message { queue, group: None, body: "x".repeat(*n) };
        let lengths = |messages: Vec<Message>| {
            let delayed = messages.into_iter().map(|message| Delayed { message, delay_seconds: 0 }).collect();
            batches(delayed).iter().map(Vec::len).collect::<Vec<_>>()
        };
        let of = |sizes: &[usize]| lengths(sizes.iter().map(|n| message(Queue::Retries, n)).collect());
        assert_eq!(of(&[1; 23]), [10, 10, 3]);
        assert_eq!(of(&[200_000, 50_000, 50_000, 300_000, 1]), [2, 1, 1, 1]);
        assert_eq!(of(&[]), [0; 0]);
        let mixed = [Queue::Deliveries, Queue::Retries, Queue::Deliveries].map(|queue| message(queue, &1));
        assert_eq!(lengths(mixed.to_vec()), [1, 2], "a batch is for one queue");
    }

    #[test]
    fn no_wait_is_rounded_down() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-01-01T00:00:00Z");
        let table = [("00:00:00Z", 0), ("00:00:01Z", 1), ("00:00:01.001Z", 2), ("00:15:00Z", 900)];
        for (due, seconds) in table {
            assert_eq!(seconds_until(at(&format!("2026-01-01T{due}")), now), seconds, "{due}");
        }
        assert!(seconds_until(at("2025-12-31T00:00:00.5Z"), now) < 0);
    }
}
