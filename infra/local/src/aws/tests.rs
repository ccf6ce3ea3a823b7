//! Tests of the services behind their SDK clients.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use aws_sdk_sqs::types::QueueAttributeName;

use super::*;
use crate::template::Template;
use crate::testing::{Directory, clock_at, provisioned};

const TEMPLATE: &str = "
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: things
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}, {AttributeName: g, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
      GlobalSecondaryIndexes:
        - IndexName: by_g
          KeySchema: [{AttributeName: g, KeyType: HASH}]
          Projection: {ProjectionType: ALL}
      TimeToLiveSpecification: {AttributeName: ttl, Enabled: true}
  Work:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: work
      VisibilityTimeout: 60
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2}
  Dead:
    Type: AWS::SQS::Queue
    Properties: {QueueName: dead}
";

struct Clients {
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    secrets: aws_sdk_secretsmanager::Client,
}

/// Clients without retries, so that a test sees each fault.
fn clients(aws: &Aws) -> Clients {
    let parts = aws.sdk_parts();
    macro_rules! client {
        ($sdk:ident) => {
            $sdk::Client::from_conf(
                $sdk::Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .endpoint_url(&parts.endpoint_url)
                    .region(Region::new(parts.region.clone()))
                    .credentials_provider(parts.credentials.clone())
                    .retry_config(RetryConfig::disabled())
                    .http_client(parts.http_client.clone())
                    .build(),
            )
        };
    }
    Clients { dynamodb: client!(aws_sdk_dynamodb), sqs: client!(aws_sdk_sqs), secrets: client!(aws_sdk_secretsmanager) }
}

async fn in_memory() -> Aws {
    provisioned(Aws::in_memory(9001).unwrap(), TEMPLATE).await
}

async fn on_disk(directory: &Path) -> Aws {
    provisioned(Aws::open(directory, 9001, clock_at(1_000)).await.unwrap(), TEMPLATE).await
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

async fn put(clients: &Clients, key: &str) -> Result<(), String> {
    let put = clients.dynamodb.put_item().table_name("things").item("pk", text(key)).item("g", text("g"));
    put.send().await.map(|_| ()).map_err(|error| describe(&error))
}

fn describe<E: fmt::Debug>(error: &SdkError<E>) -> String {
    match error {
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "time-out".to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_io() => "connection".to_owned(),
        SdkError::ServiceError(error) => format!("{} {:?}", error.raw().status(), error.err()),
        other => format!("{other:?}"),
    }
}

async fn exists(clients: &Clients, key: &str) -> bool {
    let item = clients.dynamodb.get_item().table_name("things").key("pk", text(key)).send().await;
    item.unwrap().item.is_some()
}

async fn receive(clients: &Clients, queue: &str) -> Vec<aws_sdk_sqs::types::Message> {
    let url = format!("http://127.0.0.1:9001/{ACCOUNT_ID}/{queue}");
    let received = clients.sqs.receive_message().queue_url(url).max_number_of_messages(10).send().await;
    received.unwrap().messages.unwrap_or_default()
}

async fn send(clients: &Clients, body: &str, delay_seconds: i32) {
    let url = format!("http://127.0.0.1:9001/{ACCOUNT_ID}/work");
    let send = clients.sqs.send_message().queue_url(url).message_body(body).delay_seconds(delay_seconds);
    send.send().await.unwrap();
}

fn bodies(messages: &[aws_sdk_sqs::types::Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body().unwrap()).collect()
}

#[tokio::test]
async fn the_sdk_reaches_all_three_services() {
    let aws = in_memory().await;
    let clients = clients(&aws);
    put(&clients, "a").await.unwrap();
    assert!(exists(&clients, "a").await);
    send(&clients, "hello", 0).await;
    assert_eq!(bodies(&receive(&clients, "work").await), ["hello"]);
    clients.secrets.create_secret().name("a/b").secret_string("s").send().await.unwrap();
    let secret = clients.secrets.get_secret_value().secret_id("a/b").send().await.unwrap();
    assert_eq!(secret.secret_string(), Some("s"));
}

#[tokio::test]
async fn errors_arrive_as_the_sdk_knows_them() {
    let aws = in_memory().await;
    let clients = clients(&aws);
    put(&clients, "a").await.unwrap();
    let again = clients.dynamodb.put_item().table_name("things").item("pk", text("a"));
    let refused = again.condition_expression("attribute_not_exists(pk)").send().await.unwrap_err();
    assert!(refused.into_service_error().is_conditional_check_failed_exception());
    let unknown = clients.secrets.get_secret_value().secret_id("none").send().await.unwrap_err();
    assert!(unknown.into_service_error().is_resource_not_found_exception());
    let queue = clients.sqs.receive_message().queue_url("http://127.0.0.1:9001/0/none").send().await.unwrap_err();
    assert!(queue.into_service_error().is_queue_does_not_exist());
    let late = clients.sqs.send_message().queue_url(format!("http://127.0.0.1:9001/{ACCOUNT_ID}/work"));
    let late = late.message_body("x").delay_seconds(901).send().await.unwrap_err();
    assert!(describe(&late).starts_with("400"), "{}", describe(&late));
}

#[tokio::test]
async fn concurrent_writers_of_one_key_have_one_winner() {
    let aws = in_memory().await;
    let wins = AtomicUsize::new(0);
    let clients = clients(&aws);
    let attempts = (0..32).map(|number| {
        let put = clients.dynamodb.put_item().table_name("things").item("pk", text("one"));
        let put = put.item("by", text(&number.to_string())).condition_expression("attribute_not_exists(pk)");
        async {
            if put.send().await.is_ok() {
                wins.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    futures_util::future::join_all(attempts).await;
    assert_eq!(wins.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn each_fault_does_what_it_says() {
    let throttled = Fault::Refuse { status: 400, code: "ProvisionedThroughputExceededException" };
    let table = [
        (Fault::None, Ok(()), true),
        (throttled, Err("400 ProvisionedThroughputExceededException"), false),
        (Fault::Refuse { status: 500, code: "InternalServerError" }, Err("500 InternalServerError"), false),
        (Fault::Disconnect, Err("connection"), false),
        (Fault::TimeOut, Err("time-out"), false),
        (Fault::LoseAnswer, Err("time-out"), true),
    ];
    for (fault, expected, applied) in table {
        let aws = in_memory().await;
        let outcome = put(&clients(&aws.tapped(&Tap::new(move |_| fault))), "a").await;
        match (&outcome, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(expected)) => assert!(error.starts_with(expected), "{fault:?}: {error}"),
            _ => panic!("{fault:?}: {outcome:?}"),
        }
        assert_eq!(exists(&clients(&aws), "a").await, applied, "{fault:?}");
    }
}

#[tokio::test]
async fn a_tap_counts_calls_and_capacity() {
    let aws = in_memory().await;
    let tap = Tap::recording();
    let clients = clients(&aws.tapped(&tap));
    let put = clients.dynamodb.put_item().table_name("things").item("pk", text("a")).item("g", text("g"));
    put.return_consumed_capacity(ReturnConsumedCapacity::Indexes).send().await.unwrap();
    send(&clients, "hello", 0).await;
    let records = tap.take();
    let seen: Vec<_> = records.iter().map(|call| (call.number, call.service, call.operation.as_str())).collect();
    assert_eq!(seen, [(0, Service::DynamoDb, "PutItem"), (1, Service::Sqs, "SendMessage")]);
    // One unit for the table, one for the index.
    assert!((records[0].capacity_units() - 2.0).abs() < f64::EPSILON, "{:?}", records[0]);
    assert!(tap.take().is_empty());
}

#[tokio::test]
async fn provisioning_again_changes_nothing_and_another_table_is_an_error() {
    let aws = in_memory().await;
    put(&clients(&aws), "a").await.unwrap();
    let aws = provisioned(aws, TEMPLATE).await;
    assert!(exists(&clients(&aws), "a").await);
    for change in [("AttributeName: g,", "AttributeName: h,"), ("by_g", "by_h"), ("ALL", "KEYS_ONLY")] {
        let text = TEMPLATE.replace(change.0, change.1);
        let changed = Template::parse(&text, &aws.endpoint_url()).unwrap();
        assert_eq!(aws.provision(&changed).await, Err(ProvisionError::TableDiffers("things".to_owned())), "{change:?}");
    }
    let slower = Template::parse(&TEMPLATE.replace("60", "90"), &aws.endpoint_url()).unwrap();
    aws.provision(&slower).await.unwrap();
    let attributes = clients(&aws).sqs.get_queue_attributes().attribute_names(QueueAttributeName::VisibilityTimeout);
    let attributes = attributes.queue_url(format!("http://x/{ACCOUNT_ID}/work")).send().await.unwrap();
    assert_eq!(attributes.attributes.unwrap()[&QueueAttributeName::VisibilityTimeout], "90");
}

#[tokio::test]
async fn expired_items_are_swept() {
    let aws = in_memory().await;
    let clients = clients(&aws);
    for (key, ttl) in [("old", "1"), ("new", "99999999999")] {
        let put = clients.dynamodb.put_item().table_name("things").item("pk", text(key));
        put.item("ttl", AttributeValue::N(ttl.to_owned())).send().await.unwrap();
    }
    assert_eq!(aws.sweep_expired().await, Ok(1));
    assert!(!exists(&clients, "old").await);
    assert!(exists(&clients, "new").await);
}

#[tokio::test]
async fn what_was_stored_outlives_the_process() {
    let directory = Directory::new();
    let aws = on_disk(directory.path()).await;
    let before = clients(&aws);
    put(&before, "a").await.unwrap();
    before.secrets.create_secret().name("a/b").secret_string("s").send().await.unwrap();
    for body in ["one", "two", "three"] {
        send(&before, body, 0).await;
    }
    let messages = receive(&before, "work").await;
    let url = format!("http://127.0.0.1:9001/{ACCOUNT_ID}/work");
    let delete = before.sqs.delete_message().queue_url(url).receipt_handle(messages[1].receipt_handle().unwrap());
    delete.send().await.unwrap();
    drop((aws, before));

    let aws = on_disk(directory.path()).await;
    let after = clients(&aws);
    assert!(exists(&after, "a").await);
    let secret = after.secrets.get_secret_value().secret_id("a/b").send().await.unwrap();
    assert_eq!(secret.secret_string(), Some("s"));
    assert_eq!(bodies(&receive(&after, "work").await), ["one", "three"]);
    drop((aws, after));

    // Both were received twice now, as often as the redrive policy allows.
    let aws = on_disk(directory.path()).await;
    let after = clients(&aws);
    assert!(receive(&after, "work").await.is_empty());
    assert_eq!(bodies(&receive(&after, "dead").await), ["one", "three"]);
}

#[tokio::test(start_paused = true)]
async fn a_delay_goes_on_after_a_restart() {
    let directory = Directory::new();
    let open = |seconds| Aws::open(directory.path(), 9001, clock_at(seconds));
    let aws = provisioned(open(1_000).await.unwrap(), TEMPLATE).await;
    send(&clients(&aws), "later", 600).await;
    drop(aws);

    let aws = provisioned(open(1_500).await.unwrap(), TEMPLATE).await;
    assert!(receive(&clients(&aws), "work").await.is_empty());
    tokio::time::sleep(std::time::Duration::from_secs(101)).await;
    assert_eq!(bodies(&receive(&clients(&aws), "work").await), ["later"]);
}

#[tokio::test]
async fn a_directory_belongs_to_one_process() {
    let directory = Directory::new();
    let aws = on_disk(directory.path()).await;
    let second = Aws::open(directory.path(), 9001, clock_at(0)).await.unwrap_err();
    assert!(second.to_string().contains("Another `cargo local` is using"), "{second}");
    drop(aws);
    on_disk(directory.path()).await;
}

#[tokio::test]
async fn a_standard_queue_takes_message_groups() {
    let aws = in_memory().await;
    let sqs = clients(&aws).sqs;
    let url = format!("http://127.0.0.1:9001/{ACCOUNT_ID}/work");
    let send = |group: &str| sqs.send_message().queue_url(&url).message_body("one").message_group_id(group).send();
    send("a.~!").await.unwrap();
    send(&"g".repeat(128)).await.unwrap();
    for group in ["", "a b", "\u{e9}", &"g".repeat(129)] {
        let refused = describe(&send(group).await.unwrap_err());
        assert!(refused.starts_with("400") && refused.contains("MessageGroupId is invalid"), "{group}: {refused}");
    }
    let entry = |id: &str, group| {
        let entry = aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder().id(id).message_body(id);
        entry.set_message_group_id(group).build().unwrap()
    };
    let batch = |group: &str| sqs.send_message_batch().queue_url(&url).entries(entry("b", Some(group.to_owned())));
    let answer = batch("g").entries(entry("c", None)).send().await.unwrap();
    assert_eq!((answer.successful.len(), answer.failed.len()), (2, 0));
    batch(" ").send().await.unwrap_err();
    let mut received = receive(&clients(&aws), "work").await;
    received.sort_by_key(|message| message.body.clone());
    assert_eq!(bodies(&received), ["b", "c", "one", "one"]);
}

#[tokio::test]
async fn a_fifo_queue_keeps_its_message_groups() {
    let aws = in_memory().await;
    let attributes = serde_json::json!({"FifoQueue": "true", "ContentBasedDeduplication": "true"});
    let create = serde_json::json!({"QueueName": "q.fifo", "Attributes": attributes});
    aws.request(Service::Sqs, "CreateQueue", &create).await.unwrap();
    let url = format!("http://127.0.0.1:9001/{ACCOUNT_ID}/q.fifo");
    let send = serde_json::json!({"QueueUrl": url, "MessageBody": "a", "MessageGroupId": "g"});
    aws.request(Service::Sqs, "SendMessage", &send).await.unwrap();
    let ungrouped = serde_json::json!({"QueueUrl": url, "MessageBody": "a"});
    aws.request(Service::Sqs, "SendMessage", &ungrouped).await.unwrap_err();
}
