//! Feeds messages to a function, as Lambda's event source mappings do
//! (<https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>): many batches at once, so that a slow one holds up no
//! other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{failures, stopped, text};
use crate::aws::{ACCOUNT_ID, Aws, REGION, Service};
use crate::lambda::Lambda;
use crate::template::QueueTrigger;

/// The longest wait and the most messages of one `ReceiveMessage`
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>).
const WAIT_SECONDS_MAX: u64 = 20;
const MESSAGES_MAX: usize = 10;

/// Messages that are worked on at once. Lambda has no such bound; here they share one process, and a post to an endpoint that
/// doesn't answer takes 50 KB of it.
const UNDER_WAY_MAX: usize = 640;

/// The wait after a queue couldn't be read.
const PAUSE: Duration = Duration::from_secs(1);

/// A queue that feeds a function.
struct Mapping {
    trigger: QueueTrigger,
    queue_url: String,
    aws: Aws,
    lambda: Arc<Lambda>,
}

/// Runs one trigger until it is time to stop and its batches have ended.
pub(super) async fn run(trigger: QueueTrigger, aws: Aws, lambda: Arc<Lambda>, mut stop: watch::Receiver<bool>) {
    let queue_url = format!("{}/{ACCOUNT_ID}/{}", aws.endpoint_url(), trigger.queue);
    let mapping = Arc::new(Mapping { trigger, queue_url, aws, lambda });
    let mut running = Running::default();
    loop {
        let next = async {
            running.make_room(mapping.trigger.concurrency).await;
            mapping.batch().await
        };
        let batch = tokio::select! {
            batch = next => batch,
            () = stopped(&mut stop) => break,
        };
        match batch {
            Ok(messages) if messages.is_empty() => {}
            Ok(messages) => {
                running.start(Arc::clone(&mapping), messages);
            }
            Err(error) => {
                tracing::error!(queue = mapping.trigger.queue, error, "a queue can't be read");
                sleep(PAUSE).await;
            }
        }
    }
    running.make_room(1).await;
}

/// The batches that run.
#[derive(Default)]
struct Running {
    batches: JoinSet<usize>,
    messages: usize,
}

impl Running {
    fn start(&mut self, mapping: Arc<Mapping>, messages: Vec<Value>) {
        self.messages += messages.len();
        self.batches.spawn(async move {
            mapping.process(&messages).await;
            messages.len()
        });
    }

    /// Waits until fewer than this many batches run, with room for the messages of one more.
    async fn make_room(&mut self, batches: usize) {
        while let Some(done) = self.batches.try_join_next() {
            self.messages -= done.unwrap_or_default();
        }
        while self.batches.len() >= batches || self.messages >= UNDER_WAY_MAX {
            match self.batches.join_next().await {
                Some(done) => self.messages -= done.unwrap_or_default(),
                None => return,
            }
        }
    }
}

impl Mapping {
    /// Waits for messages, and then for more until the batch is full or its window closes.
    async fn batch(&self) -> Result<Vec<Value>, String> {
        let mut batch = self.receive(self.trigger.batch_size, WAIT_SECONDS_MAX).await?;
        let window_end = Instant::now() + self.trigger.batching_window;
        while !batch.is_empty() && batch.len() < self.trigger.batch_size {
            let left = window_end.saturating_duration_since(Instant::now()).as_millis().div_ceil(1000);
            let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else { break };
            batch.extend(self.receive(self.trigger.batch_size - batch.len(), left.min(WAIT_SECONDS_MAX)).await?);
        }
        Ok(batch)
    }

    async fn receive(&self, count: usize, wait_seconds: u64) -> Result<Vec<Value>, String> {
        let request = json!({
            "QueueUrl": self.queue_url,
            "MaxNumberOfMessages": count.min(MESSAGES_MAX),
            "WaitTimeSeconds": wait_seconds,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        let mut answer = self.aws.request(Service::Sqs, "ReceiveMessage", &request).await?;
        match answer.get_mut("Messages").map(Value::take) {
            Some(Value::Array(messages)) => Ok(messages),
            _ => Ok(Vec::new()),
        }
    }

    /// Invokes the function and deletes what it is done with. The rest comes back when its visibility times out.
    async fn process(&self, messages: &[Value]) {
        let records: Vec<_> = messages.iter().map(|message| self.record(message)).collect();
        let function = &self.trigger.function;
        let answer = match self.lambda.invoke(function, json!({"Records": records})).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(function, %error, messages = messages.len(), "a batch failed");
                return;
            }
        };
        let ids: Vec<_> = messages.iter().map(|message| text(message, "MessageId")).collect();
        let failed = if self.trigger.reports_failures { failures(&answer, &ids) } else { Some(HashSet::new()) };
        let Some(failed) = failed else {
            tracing::error!(function, messages = messages.len(), "a batch failed: its answer names no messages of it");
            return;
        };
        let done: Vec<_> = messages.iter().filter(|message| !failed.contains(text(message, "MessageId"))).collect();
        for messages in done.chunks(MESSAGES_MAX) {
            self.delete(messages).await;
        }
    }

    async fn delete(&self, messages: &[&Value]) {
        let handles = messages.iter().map(|message| text(message, "ReceiptHandle")).enumerate();
        let entries: Vec<_> =
            handles.map(|(id, handle)| json!({"Id": id.to_string(), "ReceiptHandle": handle})).collect();
        let request = json!({"QueueUrl": self.queue_url, "Entries": entries});
        let error = match self.aws.request(Service::Sqs, "DeleteMessageBatch", &request).await {
            Ok(answer) => match answer.get("Failed").and_then(Value::as_array) {
                Some(failed) if !failed.is_empty() => json!(failed).to_string(),
                _ => return,
            },
            Err(error) => error,
        };
        tracing::error!(queue = self.trigger.queue, error, "messages can't be deleted");
    }

    fn record(&self, message: &Value) -> Value {
        json!({
            "messageId": text(message, "MessageId"),
            "receiptHandle": text(message, "ReceiptHandle"),
            "body": text(message, "Body"),
            "attributes": message.get("Attributes").cloned().unwrap_or_else(|| json!({})),
            "messageAttributes": message_attributes(message),
            "md5OfBody": text(message, "MD5OfBody"),
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{}", self.trigger.queue),
            "awsRegion": REGION,
        })
    }
}

/// The message's own attributes, in the form that Lambda gives them.
fn message_attributes(message: &Value) -> Map<String, Value> {
    let attributes = message.get("MessageAttributes").and_then(Value::as_object);
    let attributes = attributes.into_iter().flatten().map(|(name, attribute)| {
        let mut converted = json!({"stringListValues": [], "binaryListValues": []});
        for (from, to) in [("DataType", "dataType"), ("StringValue", "stringValue"), ("BinaryValue", "binaryValue")] {
            if let (Some(value), Value::Object(fields)) = (attribute.get(from), &mut converted) {
                fields.insert(to.to_owned(), value.clone());
            }
        }
        (name.clone(), converted)
    });
    attributes.collect()
}
