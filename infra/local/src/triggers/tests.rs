//! Tests of triggers, in paused time.

mod stream;

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::*;
use crate::aws::{ACCOUNT_ID, Service};
use crate::functions::{Function, FunctionError, Functions};
use crate::testing::{clock_at, function};

/// How long the function works on an event.
const WORK: Duration = Duration::from_secs(3);

/// A world with one function `f`, the events that it got with their times, and one trigger of it.
struct World {
    aws: Aws,
    events: Arc<Mutex<Vec<(u64, Value)>>>,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
}

impl World {
    /// `answer` is what the function says to its n-th event.
    async fn start(
        trigger: &str,
        answer: impl Fn(usize, &Value) -> Result<Value, FunctionError> + Send + Sync + 'static,
    ) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let function = recorder(&events, answer);
        Self::start_with(trigger, events, function).await
    }

    async fn start_with(trigger: &str, events: Arc<Mutex<Vec<(u64, Value)>>>, function: Function) -> Self {
        Self::start_on(Aws::in_memory(9001).unwrap(), trigger, events, function).await
    }

    async fn start_on(aws: Aws, trigger: &str, events: Arc<Mutex<Vec<(u64, Value)>>>, function: Function) -> Self {
        let text = format!(
            "Resources:
  F:
    Type: AWS::Serverless::Function
    Metadata: {{BuildProperties: {{Binary: f}}}}
    Properties: {{Timeout: 30, Events: {{Trigger: {trigger}}}}}
  Q:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: q
      VisibilityTimeout: 60
      RedrivePolicy: {{deadLetterTargetArn: !GetAtt D.Arn, maxReceiveCount: 2}}
  D: {{Type: AWS::SQS::Queue, Properties: {{QueueName: d}}}}
  T:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: t-t
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{{AttributeName: pk, AttributeType: S}}]
      KeySchema: [{{AttributeName: pk, KeyType: HASH}}]
      StreamSpecification: {{StreamViewType: NEW_IMAGE}}"
        );
        let template = Template::parse(&text, &aws.endpoint_url()).unwrap();
        aws.provision(&template).await.unwrap();
        let functions = Functions::default().with("f", function);
        let clock = clock_at(1_700_000_000);
        let lambda = Arc::new(Lambda::new(&template, functions, Arc::clone(&clock), 1).unwrap());
        let (stop, stopped) = watch::channel(false);
        let running = {
            let aws = aws.clone();
            tokio::spawn(async move { run(&template, &aws, &lambda, &clock, &stopped).await })
        };
        Self { aws, events, stop, running }
    }

    async fn send(&self, body: &str) {
        let request = json!({"QueueUrl": url("q"), "MessageBody": body,
            "MessageAttributes": {"a": {"DataType": "String", "StringValue": "b"}}});
        self.aws.request(Service::Sqs, "SendMessage", &request).await.unwrap();
    }

    /// The seconds and the bodies of each batch that the function got.
    fn batches(&self) -> Vec<(u64, Vec<String>)> {
        let bodies = |event: &Value| {
            let records = event["Records"].as_array().unwrap();
            records.iter().map(|record| record["body"].as_str().unwrap().to_owned()).collect()
        };
        self.events.lock().unwrap().iter().map(|(at, event)| (*at, bodies(event))).collect()
    }

    async fn dead_letters(&self) -> Vec<String> {
        let request = json!({"QueueUrl": url("d"), "MaxNumberOfMessages": 10});
        let answer = self.aws.request(Service::Sqs, "ReceiveMessage", &request).await.unwrap();
        let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
        messages.iter().map(|message| message["Body"].as_str().unwrap().to_owned()).collect()
    }
}

fn recorder(
    events: &Arc<Mutex<Vec<(u64, Value)>>>,
    answer: impl Fn(usize, &Value) -> Result<Value, FunctionError> + Send + Sync + 'static,
) -> Function {
    let start = Instant::now();
    let events = Arc::clone(events);
    function(move |event, _| {
        let mut events = events.lock().unwrap();
        let answer = answer(events.len(), &event);
        events.push((start.elapsed().as_secs(), event));
        async {
            sleep(WORK).await;
            answer
        }
    })
}

fn url(queue: &str) -> String {
    format!("http://127.0.0.1:9001/{ACCOUNT_ID}/{queue}")
}

fn queue_event(more: &str) -> String {
    format!("{{Type: SQS, Properties: {{Queue: !GetAtt Q.Arn{more}}}}}")
}

fn batch(at: u64, bodies: &[&str]) -> (u64, Vec<String>) {
    (at, bodies.iter().map(ToString::to_string).collect())
}

#[tokio::test(start_paused = true)]
async fn a_message_arrives_as_lambda_gives_it() {
    let world = World::start(&queue_event(""), |_, _| Ok(Value::Null)).await;
    world.send("hello").await;
    sleep(Duration::from_secs(1)).await;
    let record = world.events.lock().unwrap()[0].1["Records"][0].clone();
    assert_eq!(record["body"], "hello");
    assert_eq!(record["md5OfBody"], "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");
    let attribute = json!({"dataType": "String", "stringValue": "b", "stringListValues": [], "binaryListValues": []});
    assert_eq!(record["messageAttributes"]["a"], attribute);
    assert_eq!(record["eventSource"], "aws:sqs");
    assert_eq!(record["eventSourceARN"], "arn:aws:sqs:us-east-1:000000000000:q");
    assert_eq!(record["awsRegion"], "us-east-1");
    assert!(record["messageId"].is_string() && record["receiptHandle"].is_string());
    sleep(Duration::from_mins(5)).await;
    assert_eq!(world.batches().len(), 1, "what succeeded was deleted");
}

#[tokio::test(start_paused = true)]
async fn named_failures_come_back_and_end_with_the_dead_letters() {
    let fail_b = |_: usize, event: &Value| {
        let records = event["Records"].as_array().unwrap();
        let failed = records.iter().filter(|record| record["body"] == "b");
        let failed: Vec<_> = failed.map(|record| json!({"itemIdentifier": record["messageId"]})).collect();
        Ok(json!({"batchItemFailures": failed}))
    };
    let event = queue_event(", FunctionResponseTypes: [ReportBatchItemFailures], MaximumBatchingWindowInSeconds: 2");
    let world = World::start(&event, fail_b).await;
    for body in ["a", "b", "c"] {
        world.send(body).await;
    }
    sleep(Duration::from_mins(5)).await;
    let batches = world.batches();
    assert_eq!(batches[0], batch(2, &["a", "b", "c"]));
    assert_eq!(batches[1].1, ["b"]);
    assert_eq!(batches.len(), 2);
    assert_eq!(world.dead_letters().await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_comes_back_whole() {
    type Answer = Box<dyn Fn(usize, &Value) -> Result<Value, FunctionError> + Send + Sync>;
    let error = || FunctionError { error_type: "E".to_owned(), message: "m".to_owned() };
    let table: [(&str, Answer); 3] = [
        ("", Box::new(move |number, _| if number == 0 { Err(error()) } else { Ok(Value::Null) })),
        (
            ", FunctionResponseTypes: [ReportBatchItemFailures]",
            Box::new(|number, _| {
                Ok(if number == 0 { json!({"batchItemFailures": [{"itemIdentifier": "?"}]}) } else { json!({}) })
            }),
        ),
        (
            ", FunctionResponseTypes: [ReportBatchItemFailures]",
            Box::new(|number, _| Ok(if number == 0 { json!({"batchItemFailures": [{}]}) } else { json!({}) })),
        ),
    ];
    for (index, (more, answer)) in table.into_iter().enumerate() {
        let world = World::start(&queue_event(more), answer).await;
        world.send("a").await;
        sleep(Duration::from_mins(5)).await;
        let bodies: Vec<_> = world.batches().into_iter().map(|(_, bodies)| bodies).collect();
        assert_eq!(bodies, [["a"], ["a"]], "case {index}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_a_size() {
    let world = World::start(&queue_event(", BatchSize: 2"), |_, _| Ok(Value::Null)).await;
    for body in ["a", "b", "c"] {
        world.send(body).await;
    }
    sleep(Duration::from_secs(30)).await;
    let sizes: Vec<_> = world.batches().iter().map(|(_, bodies)| bodies.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 3);
    assert!(sizes.iter().all(|size| *size <= 2), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_batch_holds_up_no_other() {
    let world =
        World::start(&queue_event(", BatchSize: 1, ScalingConfig: {MaximumConcurrency: 2}"), |_, _| Ok(Value::Null))
            .await;
    for body in ["a", "b", "c", "d", "e"] {
        world.send(body).await;
    }
    sleep(Duration::from_secs(30)).await;
    let times: Vec<_> = world.batches().iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 0, 3, 3, 6], "two at once, and the next when one of them ends");
    let left = world.aws.request(Service::Sqs, "ReceiveMessage", &json!({"QueueUrl": url("q")})).await.unwrap();
    assert_eq!(left["Messages"].as_array().map_or(0, Vec::len), 0);
}

#[tokio::test(start_paused = true)]
async fn hanging_batches_hold_up_no_other() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let hangs = function(move |event, _| {
        let body = event["Records"][0]["body"].clone();
        seen.lock().unwrap().push(body.clone());
        async move { if body == "hang" { std::future::pending().await } else { Ok(Value::Null) } }
    });
    let world = World::start_with(&queue_event(", BatchSize: 1"), Arc::default(), hangs).await;
    for _ in 0..300 {
        world.send("hang").await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(events.lock().unwrap().len(), 300);
    world.send("next").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(events.lock().unwrap()[300], "next");
}

#[tokio::test(start_paused = true)]
async fn a_schedule_runs_until_it_is_stopped() {
    let event = "{Type: ScheduleV2, Properties: {ScheduleExpression: rate(5 minutes)}}";
    let world = World::start(event, |_, _| Ok(Value::Null)).await;
    sleep(Duration::from_secs(910)).await;
    let times: Vec<_> = world.events.lock().unwrap().iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [300, 600, 900]);
    let first = world.events.lock().unwrap()[0].1.clone();
    assert_eq!(first["source"], "aws.scheduler");
    assert_eq!(first["time"], "2023-11-14T22:13:20Z");
    assert_eq!(first["resources"], json!(["arn:aws:scheduler:us-east-1:000000000000:schedule/default/Trigger"]));
    world.stop.send(true).unwrap();
    world.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_schedule_gives_its_input() {
    let event = "{Type: ScheduleV2, Properties: {ScheduleExpression: rate(1 minute), Input: '{\"n\": 1}'}}";
    let world = World::start(event, |_, _| Ok(Value::Null)).await;
    sleep(Duration::from_secs(61)).await;
    assert_eq!(world.events.lock().unwrap()[0].1, json!({"n": 1}));
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_a_batch_end() {
    let world = World::start(&queue_event(""), |_, _| Ok(Value::Null)).await;
    world.send("a").await;
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    world.stop.send(true).unwrap();
    world.running.await.unwrap();
    assert_eq!((start.elapsed() + Duration::from_secs(1)).as_secs(), WORK.as_secs());
    sleep(Duration::from_mins(2)).await;
    let left = world.aws.request(Service::Sqs, "ReceiveMessage", &json!({"QueueUrl": url("q")})).await.unwrap();
    assert_eq!(left["Messages"].as_array().map_or(0, Vec::len), 0);
}
