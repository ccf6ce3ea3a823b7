//! SQS, by `rustack`: an engine in memory, with a log of what it holds.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Response, StatusCode};
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::dispatch::SqsHandler;
use rustack_sqs_http::response::error_to_response;
use rustack_sqs_http::router::resolve_operation;
use serde_json::Value;

use super::queue_log::{Entry, Message, QueueLog};
use super::{OpenError, move_task};
use crate::Clock;

/// The longest delay of a message, which the embedded engine doesn't enforce
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>).
const DELAY_SECONDS_MAX: u64 = 900;

/// The longest name of a message group (same page).
const GROUP_LENGTH_MAX: usize = 128;

/// The queues, and the log that brings their messages back.
pub(super) struct Engine {
    provider: Arc<RustackSqs>,
    handler: RustackSqsHandler,
    log: Option<(Mutex<QueueLog>, Clock)>,
}

impl Engine {
    pub(super) fn in_memory(port: u16) -> Self {
        let config = SqsConfig {
            default_region: super::REGION.to_owned(),
            account_id: super::ACCOUNT_ID.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            ..SqsConfig::default()
        };
        let provider = Arc::new(RustackSqs::new(config));
        Self { handler: RustackSqsHandler::new(Arc::clone(&provider)), provider, log: None }
    }

    /// Opens the log at `path`, and makes its queues and sends its messages again, with what is left of their delays.
    pub(super) async fn open(path: &Path, port: u16, clock: Clock) -> Result<Self, OpenError> {
        let (log, contents) = QueueLog::open(path)?;
        let (queues, messages) = contents.into_parts();
        let mut engine = Self::in_memory(port);
        let refused = |operation: &str, code: String| OpenError::Replay {
            path: path.to_owned(),
            operation: operation.to_owned(),
            code,
        };
        let imported = engine.provider.import_snapshot(queues.clone()).await;
        imported.map_err(|error| refused("CreateQueue", error.code.error_type().to_owned()))?;
        let mut entries = vec![Entry::Queues(queues)];
        for message in messages {
            let request = request_again(&message, milliseconds(clock()));
            let response = engine.execute("SendMessage", request.to_string().into()).await;
            if !response.status().is_success() {
                return Err(refused("SendMessage", super::error_code(response.body())));
            }
            let id = text(&super::json_of(response.body()), "MessageId");
            entries.push(Entry::Sent { id, message });
        }
        engine.log = Some((Mutex::new(log.restart(&entries)?), clock));
        Ok(engine)
    }

    pub(super) async fn call(&self, operation: &str, mut body: Bytes) -> Response<Bytes> {
        let mut request = super::json_of(&body);
        if delays(&request).any(|delay| delay > DELAY_SECONDS_MAX) {
            let message = "Value for parameter DelaySeconds is invalid. Reason: Must be >= 0 and <= 900.";
            return super::error(StatusCode::BAD_REQUEST, "com.amazonaws.sqs#InvalidParameterValue", message);
        }
        let groups = take_groups(operation, &mut request);
        if !groups.iter().all(is_group) {
            let message = "Value for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include \
                           alphanumeric and punctuation characters. 1 to 128 in length.";
            return super::error(StatusCode::BAD_REQUEST, "com.amazonaws.sqs#InvalidParameterValue", message);
        }
        if !groups.is_empty() {
            body = request.to_string().into();
        }
        if operation == "StartMessageMoveTask" {
            return Box::pin(move_task::run(self, &request)).await;
        }
        let response = self.execute(operation, body).await;
        if response.status().is_success()
            && let Err(problem) = self.note(operation, &request, response.body()).await
        {
            let message = format!("The change can't be written to the data directory: {problem}.");
            return super::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", &message);
        }
        response
    }

    async fn execute(&self, operation: &str, body: Bytes) -> Response<Bytes> {
        let result = match resolve_operation(&super::target_header("AmazonSQS", operation)) {
            Ok(operation) => self.handler.handle_operation(operation, body).await,
            Err(error) => Err(error),
        };
        super::buffered(result.unwrap_or_else(|error| error_to_response(&error, "local"))).await
    }

    /// Writes down what a request that succeeded has changed.
    async fn note(&self, operation: &str, request: &Value, response: &[u8]) -> Result<(), String> {
        let Some((log, clock)) = &self.log else { return Ok(()) };
        let entries = match operation {
            "CreateQueue" | "DeleteQueue" | "SetQueueAttributes" | "TagQueue" | "UntagQueue" => {
                let queues = self.provider.export_snapshot().await.map_err(|error| error.message)?;
                vec![Entry::Queues(queues)]
            }
            _ => changes(operation, request, &super::json_of(response), milliseconds(clock())),
        };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().try_for_each(|entry| log.note(entry)).map_err(|error| error.to_string())
    }
}

/// The request that sends a message again, with what is left of its delay.
fn request_again(message: &Message, now_ms: u64) -> Value {
    let mut request = message.request.clone();
    if let Value::Object(fields) = &mut request {
        let url = format!("http://127.0.0.1/{}/{}", super::ACCOUNT_ID, message.queue);
        fields.insert("QueueUrl".to_owned(), url.into());
        if let Some(due_ms) = message.due_ms {
            fields.insert("DelaySeconds".to_owned(), due_ms.saturating_sub(now_ms).div_ceil(1000).into());
        }
    }
    request
}

/// What a successful request about messages has changed.
fn changes(operation: &str, request: &Value, response: &Value, now_ms: u64) -> Vec<Entry> {
    let queue = text(request, "QueueUrl").rsplit('/').next().unwrap_or_default().to_owned();
    let sent = |request: &Value, response: &Value| Entry::Sent {
        id: text(response, "MessageId"),
        message: stored(&queue, request, now_ms),
    };
    let deleted = |request: &Value| Entry::Deleted { id: message_id(&text(request, "ReceiptHandle")) };
    match operation {
        "SendMessage" => vec![sent(request, response)],
        "SendMessageBatch" => {
            list(response, "Successful").filter_map(|done| Some(sent(entry_of(request, done)?, done))).collect()
        }
        "ReceiveMessage" => list(response, "Messages")
            .map(|message| Entry::Received { id: text(message, "MessageId"), queue: queue.clone() })
            .collect(),
        "DeleteMessage" => vec![deleted(request)],
        "DeleteMessageBatch" => {
            list(response, "Successful").filter_map(|done| Some(deleted(entry_of(request, done)?))).collect()
        }
        "PurgeQueue" => vec![Entry::Purged { queue }],
        _ => Vec::new(),
    }
}

fn stored(queue: &str, request: &Value, now_ms: u64) -> Message {
    let mut request = request.clone();
    let mut due_ms = None;
    if let Value::Object(fields) = &mut request {
        fields.remove("QueueUrl");
        fields.remove("Id");
        let delay_seconds = fields.remove("DelaySeconds").and_then(|delay| delay.as_u64());
        due_ms = delay_seconds.map(|seconds| now_ms + seconds * 1000);
    }
    Message { queue: queue.to_owned(), request, due_ms, receives: 0 }
}

/// The entry of a batch request that an entry of its answer is about.
fn entry_of<'a>(request: &'a Value, done: &Value) -> Option<&'a Value> {
    list(request, "Entries").find(|entry| entry.get("Id") == done.get("Id"))
}

/// The delays, in seconds, that a request asks for.
fn delays(request: &Value) -> impl Iterator<Item = u64> {
    let batch = list(request, "Entries");
    std::iter::once(request).chain(batch).filter_map(|message| message.get("DelaySeconds")?.as_u64())
}

/// Takes the message groups off what is sent to a standard queue: the embedded engine knows them of FIFO queues only.
///
/// In AWS they make a standard queue fair: a group with many messages doesn't hold up the others
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html>). That isn't
/// emulated. A trigger here runs many batches at once, and a group holds up the others only where it fills all of them.
fn take_groups(operation: &str, request: &mut Value) -> Vec<Value> {
    let sends = matches!(operation, "SendMessage" | "SendMessageBatch");
    if !sends || text(request, "QueueUrl").rsplit('.').next() == Some("fifo") {
        return Vec::new();
    }
    let take = |message: &mut Value| message.as_object_mut()?.remove("MessageGroupId");
    let mut groups = Vec::from_iter(take(request));
    let entries = request.get_mut("Entries").and_then(Value::as_array_mut);
    groups.extend(entries.into_iter().flatten().filter_map(take));
    groups
}

fn is_group(group: &Value) -> bool {
    let valid = |name: &str| name.len() <= GROUP_LENGTH_MAX && name.bytes().all(|byte| byte.is_ascii_graphic());
    group.as_str().is_some_and(|name| !name.is_empty() && valid(name))
}

/// The message that a receipt handle is about: the embedded engine's handles are `<message id>:<more>` in base64.
fn message_id(receipt_handle: &str) -> String {
    let handle = BASE64_STANDARD.decode(receipt_handle).unwrap_or_default();
    String::from_utf8_lossy(&handle).split(':').next().unwrap_or_default().to_owned()
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
