//! Tests of the trigger of a table's stream.

use super::*;

const EVENT: &str = r#"{Type: DynamoDB, Properties: {Stream: !GetAtt T.StreamArn, StartingPosition: TRIM_HORIZON,
    BatchSize: 3, FunctionResponseTypes: [ReportBatchItemFailures], FilterCriteria: {Filters: [
    {Pattern: '{"eventName":["INSERT"],"dynamodb":{"NewImage":{"outbox":{"S":["event"]}}}}'}]}}}"#;

impl World {
    async fn insert(&self, key: &str) {
        let put = json!({"TableName": "t-t", "Item": {"pk": {"S": key}, "outbox": {"S": "event"}},
            "ConditionExpression": "attribute_not_exists(pk)"});
        self.aws.request(Service::DynamoDb, "PutItem", &put).await.unwrap();
    }

    /// The seconds and the keys of each batch that the function got.
    fn inserted(&self) -> Vec<(u64, String)> {
        let events = self.events.lock().unwrap();
        events.iter().map(|(at, event)| (*at, keys(event).concat())).collect()
    }
}

fn keys(event: &Value) -> Vec<&str> {
    let records = event["Records"].as_array().unwrap();
    records.iter().map(|record| record["dynamodb"]["Keys"]["pk"]["S"].as_str().unwrap()).collect()
}

fn number(event: &Value, key: &str) -> Value {
    let index = keys(event).iter().position(|there| *there == key).unwrap();
    event["Records"][index]["dynamodb"]["SequenceNumber"].clone()
}

fn batches(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
    expected.iter().map(|(at, keys)| (*at, (*keys).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn records_are_handed_on_at_once_in_order_and_in_batches() {
    let world = World::start(EVENT, |_, _| Ok(Value::Null)).await;
    sleep(Duration::from_secs(10)).await;
    let start = Instant::now();
    world.insert("a").await;
    while world.inserted().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(start.elapsed() <= Duration::from_millis(2), "{:?}", start.elapsed());
    for key in ["b", "c", "d", "e", "f"] {
        world.insert(key).await;
    }
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.inserted(), batches(&[(10, "a"), (13, "bcd"), (16, "ef")]));
    assert_eq!(world.aws.stream_records(10).await, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn what_is_there_before_the_trigger_is_handed_on() {
    let world = World::start(EVENT, |_, _| Ok(Value::Null)).await;
    world.stop.send(true).unwrap();
    world.running.await.unwrap();
    let put = json!({"TableName": "t-t", "Item": {"pk": {"S": "a"}, "outbox": {"S": "event"}},
        "ConditionExpression": "attribute_not_exists(pk)"});
    world.aws.request(Service::DynamoDb, "PutItem", &put).await.unwrap();
    // As after a restart, nobody remembers that a record came.
    world.aws.stream_changed().await;
    let function = recorder(&world.events, |_, _| Ok(Value::Null));
    let again = World::start_on(world.aws, EVENT, world.events, function).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(again.inserted().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn everything_before_the_first_named_failure_is_done() {
    let fail = |count: usize, event: &Value| {
        let failed = if count == 1 { vec!["d", "c"] } else { vec![] };
        let failed: Vec<_> = failed.iter().map(|key| json!({"itemIdentifier": number(event, key)})).collect();
        Ok(json!({"batchItemFailures": failed}))
    };
    let world = World::start(EVENT, fail).await;
    for key in ["a", "b", "c", "d"] {
        world.insert(key).await;
    }
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.inserted(), batches(&[(0, "a"), (3, "bcd"), (6, "cd")]));
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_is_tried_again_until_it_succeeds() {
    type Answer = Box<dyn Fn(usize, &Value) -> Result<Value, FunctionError> + Send + Sync>;
    let error = || FunctionError { error_type: "E".to_owned(), message: "m".to_owned() };
    let bad = |answer: Value| move |count: usize, _: &Value| Ok(if count < 9 { answer.clone() } else { Value::Null });
    let answers: [Answer; 4] = [
        Box::new(move |count, _| if count < 9 { Err(error()) } else { Ok(Value::Null) }),
        Box::new(bad(json!({"batchItemFailures": [{"itemIdentifier": "?"}]}))),
        Box::new(bad(json!({"batchItemFailures": [{"itemIdentifier": ""}]}))),
        Box::new(bad(json!({"batchItemFailures": [{}]}))),
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        let world = World::start(EVENT, answer).await;
        world.insert("a").await;
        sleep(Duration::from_secs(20)).await;
        world.insert("b").await;
        sleep(Duration::from_mins(5)).await;
        let seen: Vec<_> = world.inserted().into_iter().map(|(_, keys)| keys).collect();
        assert_eq!(seen[0], "a", "case {index}");
        assert_eq!(seen[9], "ab", "case {index}: the same record comes first again");
        let pauses: Vec<_> = world.inserted().windows(2).map(|pair| pair[1].0 - pair[0].0 - WORK.as_secs()).collect();
        assert!(pauses.is_sorted() && pauses.last() == Some(&5), "case {index}: {pauses:?}");
        assert_eq!(seen.len(), 10, "case {index}");
        assert_eq!(world.aws.stream_records(10).await, Ok(Vec::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_loses_nothing() {
    let events: Arc<Mutex<Vec<(u64, Value)>>> = Arc::default();
    let seen = Arc::clone(&events);
    let panics = function(move |event, _| {
        let count = {
            let mut events = seen.lock().unwrap();
            events.push((0, event));
            events.len()
        };
        async move { if count == 1 { panic!("on purpose") } else { Ok(Value::Null) } }
    });
    let world = World::start_with(EVENT, events, panics).await;
    world.insert("a").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.inserted(), batches(&[(0, "a"), (0, "a")]));
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_a_batch_end_and_interrupts_a_wait() {
    let error = || FunctionError { error_type: "E".to_owned(), message: "m".to_owned() };
    for fails in [false, true] {
        let world = World::start(EVENT, move |_, _| if fails { Err(error()) } else { Ok(Value::Null) }).await;
        world.insert("a").await;
        sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        world.stop.send(true).unwrap();
        world.running.await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        assert_eq!(world.aws.stream_records(10).await.unwrap().len(), usize::from(fails));
    }
}
