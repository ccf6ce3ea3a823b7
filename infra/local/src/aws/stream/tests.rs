//! Tests of a table's stream.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::aws::Tap;
use crate::testing::{Directory, clock_at, provisioned};

const TEMPLATE: &str = r#"
Resources:
  F:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: f}}
    Properties:
      Events:
        Outbox:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Things.StreamArn
            StartingPosition: TRIM_HORIZON
            FilterCriteria:
              Filters:
                - Pattern: '{"eventName":["INSERT"],"dynamodb":{"NewImage":{"outbox":{"S":["event"]}}}}'
                - Pattern: '{"eventName":["INSERT"],"dynamodb":{"NewImage":{"kind":{"S":["a","b"]},"to":{"S":["c"]}}}}'
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: things
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}, {AttributeName: sk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}, {AttributeName: sk, KeyType: RANGE}]
      GlobalSecondaryIndexes:
        - {IndexName: by_sk, KeySchema: [{AttributeName: sk, KeyType: HASH}], Projection: {ProjectionType: ALL}}
      StreamSpecification: {StreamViewType: NEW_IMAGE}
"#;

async fn in_memory() -> Aws {
    provisioned(Aws::in_memory(9001).unwrap(), TEMPLATE).await
}

async fn on_disk(directory: &Path, seconds: u64) -> Aws {
    provisioned(Aws::open(directory, 9001, clock_at(seconds)).await.unwrap(), TEMPLATE).await
}

/// Asks by way of the tap, and gives the status with the answer.
async fn ask(aws: &Aws, operation: &str, request: &Value) -> (u16, Value) {
    let target = format!("DynamoDB_20120810.{operation}");
    let response = aws.call(&target, "test", request.to_string().into()).await.unwrap();
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

fn item(key: &str) -> Value {
    json!({"pk": {"S": key}, "sk": {"S": "s"}, "outbox": {"S": "event"}, "n": {"N": "7"}})
}

fn put(item: &Value) -> Value {
    json!({"Put": {"TableName": "things", "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}})
}

fn other(key: &str) -> Value {
    json!({"Put": {"TableName": "things", "Item": {"pk": {"S": key}, "sk": {"S": "s"}}}})
}

async fn transact(aws: &Aws, token: &str, writes: &[Value]) -> (u16, Value) {
    ask(aws, "TransactWriteItems", &json!({"TransactItems": writes, "ClientRequestToken": token})).await
}

async fn records(aws: &Aws) -> Vec<Value> {
    aws.stream_records(1000).await.unwrap()
}

async fn keys(aws: &Aws) -> Vec<String> {
    let key = |record: &Value| record["dynamodb"]["Keys"]["pk"]["S"].as_str().unwrap().to_owned();
    records(aws).await.iter().map(key).collect()
}

async fn count(aws: &Aws) -> Value {
    ask(aws, "Scan", &json!({"TableName": "things"})).await.1["Count"].clone()
}

#[tokio::test]
async fn a_committed_transaction_leaves_its_record_as_aws_gives_it() {
    let directory = Directory::new();
    let aws = on_disk(directory.path(), 1_700_000_000).await;
    assert_eq!(transact(&aws, "t", &[other("x"), put(&item("a"))]).await, (200, json!({})));
    let expected = json!({
        "eventID": format!("{:032x}", 1_700_000_000_000_000_u64),
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_700_000_000,
            "Keys": {"pk": {"S": "a"}, "sk": {"S": "s"}},
            "NewImage": item("a"),
            "SequenceNumber": "100001700000000000000",
            "SizeBytes": 26,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/things/stream/2026-01-01T00:00:00.000",
    });
    assert_eq!(records(&aws).await, [expected]);
    let tables = ask(&aws, "ListTables", &json!({})).await;
    assert_eq!(tables, (200, json!({"TableNames": ["things"]})));
}

#[tokio::test]
async fn a_refused_transaction_leaves_no_record_and_tells_only_of_its_own_writes() {
    let aws = in_memory().await;
    transact(&aws, "1", &[put(&item("a"))]).await;
    let (status, answer) = transact(&aws, "2", &[put(&item("b")), put(&item("a")), other("x")]).await;
    let message = "Transaction cancelled, please refer cancellation reasons for specific reasons \
                   [None, ConditionalCheckFailed, None]";
    assert_eq!((status, &answer["Message"]), (400, &json!(message)));
    let codes: Vec<_> =
        answer["CancellationReasons"].as_array().unwrap().iter().map(|reason| &reason["Code"]).collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed", "None"]);
    assert_eq!(keys(&aws).await, ["a"]);
    // A refused one isn't known by its token.
    transact(&aws, "3", &[put(&item("c"))]).await;
    assert_eq!(transact(&aws, "2", &[put(&item("d"))]).await.0, 200);
    assert_eq!(keys(&aws).await, ["a", "c", "d"]);
}

#[tokio::test]
async fn a_repeated_request_is_applied_once() {
    let aws = in_memory().await;
    let writes = [put(&item("a")), put(&item("b")), other("x")];
    for _ in 0..2 {
        assert_eq!(transact(&aws, "t", &writes).await, (200, json!({})));
        transact(&aws, "u", &[put(&item("c"))]).await;
    }
    assert_eq!((keys(&aws).await, count(&aws).await), (vec!["a".into(), "b".into(), "c".into()], json!(4)));
    aws.stream_done(&[]).await.unwrap();
    for writes in [vec![put(&item("d"))], vec![put(&item("a")), put(&item("d")), other("x")]] {
        let (status, answer) = transact(&aws, "t", &writes).await;
        assert!(status == 400 && answer.to_string().contains("IdempotentParameterMismatch"), "{answer}");
    }
    assert_eq!(transact(&aws, "t", &writes).await, (200, json!({})));
    assert_eq!(keys(&aws).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_single_put_is_answered_as_such() {
    let aws = in_memory().await;
    let tap = Tap::recording();
    let tapped = aws.tapped(&tap);
    let request = json!({"TableName": "things", "Item": item("a"), "ConditionExpression": "attribute_not_exists( #k )",
        "ExpressionAttributeNames": {"#k": "sk"}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"});
    let (status, answer) = ask(&tapped, "PutItem", &request).await;
    let capacity = json!({"TableName": "things", "CapacityUnits": 2.0, "Table": {"CapacityUnits": 1.0},
        "GlobalSecondaryIndexes": {"by_sk": {"CapacityUnits": 1.0}}});
    assert_eq!((status, answer), (200, json!({"ConsumedCapacity": capacity})));
    let (status, answer) = ask(&aws, "PutItem", &request).await;
    let message = "The conditional request failed";
    let code = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    assert_eq!((status, answer), (400, json!({"__type": code, "message": message, "Item": item("a")})));
    assert_eq!(keys(&aws).await, ["a"]);
    let mut total = request.clone();
    total["Item"] = item("b");
    total["ReturnConsumedCapacity"] = "TOTAL".into();
    let (_, answer) = ask(&aws, "PutItem", &total).await;
    assert_eq!(answer, json!({"ConsumedCapacity": {"TableName": "things", "CapacityUnits": 2.0}}));
    total["Item"] = json!({"pk": {"S": "c"}, "outbox": {"S": "event"}});
    let (status, answer) = ask(&aws, "PutItem", &total).await;
    assert!(status == 400 && answer.to_string().contains("ValidationException"), "{answer}");
    assert_eq!(keys(&aws).await, ["a", "b"]);
}

#[tokio::test]
async fn a_tap_sees_nothing_of_the_records() {
    let aws = in_memory().await;
    let tap = Tap::recording();
    transact(&aws.tapped(&tap), "t", &[put(&item("a"))]).await;
    transact(&aws.tapped(&tap), "t", &[put(&item("a"))]).await;
    // Two units for the table and one for the index; the repeat is read.
    let units: Vec<_> = tap.take().iter().map(super::super::tap::Record::capacity_units).collect();
    assert_eq!(units, [3.0, 2.0]);
}

#[tokio::test]
async fn what_does_not_match_is_left_alone() {
    let aws = in_memory().await;
    let key = json!({"pk": {"S": "a"}, "sk": {"S": "s"}});
    let item = json!({"pk": {"S": "a"}, "sk": {"S": "s"}, "outbox": {"S": "done"}, "kind": {"S": "a"}});
    let update = |condition: &str, value: &str| {
        let mut request = json!({"TableName": "things", "Key": key, "UpdateExpression": "SET #o = :v, outbox_at = :v",
            "ExpressionAttributeNames": {"#o": "outbox"}, "ExpressionAttributeValues": {":v": {"S": value}}});
        if !condition.is_empty() {
            request["ConditionExpression"] = condition.into();
        }
        request
    };
    let batch = json!({"RequestItems": {"things": [{"PutRequest": {"Item": item}}]}});
    for (operation, request) in [
        ("PutItem", json!({"TableName": "things", "Item": item})),
        ("BatchWriteItem", batch),
        ("UpdateItem", update("", "other")),
        ("UpdateItem", update("attribute_exists(pk)", "event")),
        ("TransactWriteItems", json!({"TransactItems": [{"Update": update("attribute_exists(sk)", "event")}]})),
        ("ExecuteStatement", json!({"Statement": "SELECT * FROM things"})),
    ] {
        let (status, answer) = ask(&aws, operation, &request).await;
        assert_eq!(status, 200, "{operation}: {answer}");
    }
    assert!(records(&aws).await.is_empty());
}

#[tokio::test]
async fn what_would_be_lost_is_refused() {
    let aws = in_memory().await;
    let wanted = item("a");
    let second = json!({"pk": {"S": "a"}, "sk": {"S": "s"}, "kind": {"S": "b"}, "to": {"S": "c"}});
    let key = json!({"pk": {"S": "a"}, "sk": {"S": "s"}});
    let update = json!({"TableName": "things", "Key": key, "UpdateExpression": "SET #n=:v",
        "ExpressionAttributeNames": {"#n": "outbox"}, "ExpressionAttributeValues": {":v": {"S": "event"}}});
    let legacy = json!({"TableName": "things", "Key": key, "AttributeUpdates": {"outbox": {"Value": {"S": "event"}}}});
    let put =
        |condition: &str| json!({"Put": {"TableName": "things", "Item": wanted, "ConditionExpression": condition}});
    let transaction = |write: Value| json!({"TransactItems": [other("x"), write]});
    for (operation, request, what) in [
        ("PutItem", json!({"TableName": "things", "Item": wanted}), "a put that may replace"),
        ("PutItem", json!({"TableName": "things", "Item": second}), "a put that may replace"),
        ("TransactWriteItems", transaction(put("attribute_exists(pk)")), "a put that may replace"),
        ("TransactWriteItems", transaction(put("attribute_not_exists(n)")), "a put that may replace"),
        ("TransactWriteItems", transaction(put("attribute_not_exists(pk) OR n = n")), "a put that may replace"),
        ("TransactWriteItems", transaction(json!({"Update": update})), "an update that may insert"),
        ("UpdateItem", update.clone(), "an update that may insert"),
        ("UpdateItem", legacy, "AttributeUpdates"),
        ("BatchWriteItem", json!({"RequestItems": {"things": [{"PutRequest": {"Item": second}}]}}), "BatchWriteItem"),
        ("ExecuteStatement", json!({"Statement": "insert INTO things VALUE {'pk': 'a'}"}), "an INSERT of PartiQL"),
    ] {
        let (status, answer) = ask(&aws, operation, &request).await;
        let message = answer["message"].as_str().unwrap();
        let expected = format!("cargo local can't write an item and its stream record at once by {what}");
        assert!(status == 400 && message.starts_with(&expected), "{operation}: {answer}");
    }
    assert_eq!((records(&aws).await.len(), count(&aws).await), (0, json!(0)));
}

#[tokio::test]
async fn a_transaction_has_room_for_a_hundred_writes_and_records() {
    let aws = in_memory().await;
    let writes = |count: usize| (0..count).map(|number| put(&item(&number.to_string()))).collect::<Vec<_>>();
    let (status, answer) = transact(&aws, "1", &writes(51)).await;
    assert!(status == 400 && answer.to_string().contains("more than 100"), "{answer}");
    assert_eq!(transact(&aws, "2", &writes(50)).await.0, 200);
    assert_eq!(records(&aws).await.len(), 50);
}

#[tokio::test]
async fn records_are_read_in_order_and_until_they_are_done() {
    let aws = in_memory().await;
    for number in 0..120 {
        transact(&aws, &number.to_string(), &[put(&item(&format!("{number:03}")))]).await;
    }
    let all = keys(&aws).await;
    assert!(all.len() == 120 && all.is_sorted());
    let first = aws.stream_records(2).await.unwrap();
    let numbers: Vec<_> = first.iter().map(|record| record["dynamodb"]["SequenceNumber"].as_str().unwrap()).collect();
    assert_eq!(numbers, ["100000000000000000001", "100000000000000000002"]);
    aws.stream_done(&[numbers[1], numbers[0], numbers[1]]).await.unwrap();
    assert_eq!(keys(&aws).await, all[2..]);
    let rest = records(&aws).await;
    let rest: Vec<_> = rest.iter().map(|record| record["dynamodb"]["SequenceNumber"].as_str().unwrap()).collect();
    aws.stream_done(&rest).await.unwrap();
    assert!(records(&aws).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_record_is_signalled() {
    let aws = in_memory().await;
    let waiting = || tokio::time::timeout(std::time::Duration::from_secs(1), aws.stream_changed());
    transact(&aws, "1", &[other("x")]).await;
    assert!(waiting().await.is_err(), "nothing belongs into the stream");
    transact(&aws, "2", &[put(&item("a"))]).await;
    assert!(waiting().await.is_ok(), "it is remembered");
    let writes = [put(&item("b"))];
    let (signalled, _) = tokio::join!(waiting(), transact(&aws, "3", &writes));
    assert!(signalled.is_ok(), "it wakes whoever waits");
    transact(&aws, "4", &[put(&item("a"))]).await;
    assert!(waiting().await.is_err(), "a refused one leaves no record");
}

#[tokio::test]
async fn records_outlive_the_process_and_their_numbers_go_on() {
    let directory = Directory::new();
    let aws = on_disk(directory.path(), 1_000).await;
    transact(&aws, "1", &[put(&item("a"))]).await;
    drop(aws);
    // The clock goes back, and then on.
    for (seconds, key) in [(10, "b"), (2_000, "c")] {
        let aws = on_disk(directory.path(), seconds).await;
        transact(&aws, "1", &[put(&item(key))]).await;
    }
    let aws = on_disk(directory.path(), 10).await;
    assert_eq!(keys(&aws).await, ["a", "b", "c"]);
    let times = records(&aws).await;
    let times: Vec<_> = times.iter().map(|record| &record["dynamodb"]["ApproximateCreationDateTime"]).collect();
    assert_eq!(times, [1_000, 1_000, 2_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_on_a_disk_leave_one_record_each() {
    let directory = Directory::new();
    let aws = on_disk(directory.path(), 1_000).await;
    let writers = (0..40).map(|number| {
        let aws = aws.clone();
        // Each request comes twice at the same time.
        let key = format!("{:02}", number / 2);
        tokio::spawn(async move { transact(&aws, &key, &[put(&item(&key))]).await.0 })
    });
    for status in futures_util::future::join_all(writers).await {
        assert_eq!(status.unwrap(), 200);
    }
    let mut keys = keys(&aws).await;
    keys.sort();
    assert_eq!(keys, (0..20).map(|number| format!("{number:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_a_template_there_is_no_stream() {
    let aws = Aws::in_memory(9001).unwrap();
    assert!(records(&aws).await.is_empty());
}
