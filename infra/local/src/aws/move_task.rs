//! `StartMessageMoveTask`, which the embedded engine lacks: puts dead letters back where they came from.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html>

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::queues::Engine;

/// Moves all messages of `SourceArn` to `DestinationArn`, or else to the queue whose dead letters they are. AWS does it
/// in the background; here it is done when the answer comes.
pub(super) async fn run(engine: &Engine, request: &Value) -> Response<Bytes> {
    let arn = |name: &str| request.get(name).and_then(Value::as_str).map(url_of);
    let Some(source) = arn("SourceArn") else { return refused("SourceArn is missing.") };
    let destination = match arn("DestinationArn") {
        Some(destination) => Some(destination),
        None => origin(engine, &source).await,
    };
    let Some(destination) = destination else { return refused("No queue has this one for its dead letters.") };
    match move_all(engine, &source, &destination).await {
        Ok(()) => super::answer(StatusCode::OK, json!({"TaskHandle": "done"}).to_string()),
        Err(response) => response,
    }
}

async fn move_all(engine: &Engine, source: &str, destination: &str) -> Result<(), Response<Bytes>> {
    loop {
        let receive = json!({"QueueUrl": source, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]});
        let received = ask(engine, "ReceiveMessage", &receive).await?;
        let messages = received.get("Messages").and_then(Value::as_array).cloned().unwrap_or_default();
        if messages.is_empty() {
            return Ok(());
        }
        for message in messages {
            let send = json!({"QueueUrl": destination, "MessageBody": message.get("Body"),
                "MessageAttributes": message.get("MessageAttributes").cloned().unwrap_or_else(|| json!({}))});
            ask(engine, "SendMessage", &send).await?;
            let delete = json!({"QueueUrl": source, "ReceiptHandle": message.get("ReceiptHandle")});
            ask(engine, "DeleteMessage", &delete).await?;
        }
    }
}

/// The queue whose dead letters `url` holds.
async fn origin(engine: &Engine, url: &str) -> Option<String> {
    let answer = ask(engine, "ListDeadLetterSourceQueues", &json!({"QueueUrl": url})).await.ok()?;
    answer.get("QueueUrls")?.get(0)?.as_str().map(str::to_owned)
}

async fn ask(engine: &Engine, operation: &str, request: &Value) -> Result<Value, Response<Bytes>> {
    let response = engine.call(operation, request.to_string().into()).await;
    if response.status().is_success() { Ok(super::json_of(response.body())) } else { Err(response) }
}

fn url_of(arn: &str) -> String {
    let name = arn.rsplit(':').next().unwrap_or_default();
    format!("http://127.0.0.1/{}/{name}", super::ACCOUNT_ID)
}

fn refused(message: &str) -> Response<Bytes> {
    super::error(StatusCode::BAD_REQUEST, "com.amazonaws.sqs#InvalidParameterValue", message)
}
