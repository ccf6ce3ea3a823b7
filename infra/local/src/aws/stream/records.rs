//! The table beside, where a stream's records wait.

use std::collections::{BTreeSet, HashMap};

use dynoxide::actions::query::QueryRequest;
use dynoxide::actions::transact_write_items::{
    TransactDelete, TransactPut, TransactWriteItem, TransactWriteItemsRequest,
};
use dynoxide::types::item_size;
use dynoxide::{AttributeValue, Database, DynoxideError, Item};
use serde_json::{Value, json};

use super::super::REGION;
use super::{Spec, WRITES_MAX};

/// The table's name, which `ListTables` doesn't give.
pub(in crate::aws) const SIDE_TABLE: &str = "smrt-local-stream";

/// The attributes of a record: one partition for all, sorted by number, and in it the item's key and image.
const PARTITION: &str = "stream";
const NUMBER: &str = "number";
const KEYS: &str = "keys";
const IMAGE: &str = "image";

/// Makes the table, if it isn't there.
pub(super) fn create_table(database: &Database) -> Result<(), DynoxideError> {
    let definition = json!({
        "TableName": SIDE_TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": PARTITION, "AttributeType": "S"},
            {"AttributeName": NUMBER, "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": PARTITION, "KeyType": "HASH"},
            {"AttributeName": NUMBER, "KeyType": "RANGE"},
        ],
    });
    let request = serde_json::from_value(definition);
    let request = request.map_err(|error| DynoxideError::InternalServerError(error.to_string()))?;
    match database.create_table(request) {
        Ok(_) | Err(DynoxideError::ResourceInUseException(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The write of one record.
pub(super) fn put(number: u64, keys: Item, image: Item) -> TransactWriteItem {
    let mut item = key(sequence_number(number));
    item.extend([(KEYS.to_owned(), AttributeValue::M(keys)), (IMAGE.to_owned(), AttributeValue::M(image))]);
    let put = TransactPut { table_name: SIDE_TABLE.to_owned(), item, ..TransactPut::default() };
    TransactWriteItem { put: Some(put), ..TransactWriteItem::default() }
}

/// The oldest records, in the form of Lambda's events.
pub(super) fn read(database: &Database, spec: &Spec, limit: usize) -> Result<Vec<Value>, DynoxideError> {
    Ok(query(database, true, limit)?.iter().map(|record| event(record, spec)).collect())
}

/// The highest number there; 0 where there is none.
pub(super) fn last_number(database: &Database) -> Result<u64, DynoxideError> {
    let newest = query(database, false, 1)?;
    Ok(newest.first().map_or(0, |record| number_of(sequence_number_of(record))))
}

/// Deletes the records of these sequence numbers.
pub(super) fn delete(database: &Database, sequence_numbers: &[String]) -> Result<(), String> {
    let distinct: Vec<_> = sequence_numbers.iter().collect::<BTreeSet<_>>().into_iter().collect();
    for numbers in distinct.chunks(WRITES_MAX) {
        let delete = |number: &&String| TransactWriteItem {
            delete: Some(TransactDelete {
                table_name: SIDE_TABLE.to_owned(),
                key: key((*number).clone()),
                ..TransactDelete::default()
            }),
            ..TransactWriteItem::default()
        };
        let transact_items = numbers.iter().map(delete).collect();
        let request = TransactWriteItemsRequest { transact_items, ..TransactWriteItemsRequest::default() };
        database.transact_write_items(request).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// A transaction's error, as if it had had only its own writes, which come first.
pub(super) fn hide(error: DynoxideError, own: usize) -> DynoxideError {
    let DynoxideError::TransactionCanceledException(message, mut reasons) = error else { return error };
    reasons.truncate(own);
    let codes: Vec<_> = reasons.iter().map(|reason| reason.code.as_str()).collect();
    let text = message.split('[').next().unwrap_or_default();
    DynoxideError::TransactionCanceledException(format!("{text}[{}]", codes.join(", ")), reasons)
}

fn query(database: &Database, oldest_first: bool, limit: usize) -> Result<Vec<Item>, DynoxideError> {
    let response = database.query(QueryRequest {
        table_name: SIDE_TABLE.to_owned(),
        key_condition_expression: Some("#partition = :partition".to_owned()),
        expression_attribute_names: Some(HashMap::from([("#partition".to_owned(), PARTITION.to_owned())])),
        expression_attribute_values: Some(Item::from([(
            ":partition".to_owned(),
            AttributeValue::S(PARTITION.to_owned()),
        )])),
        scan_index_forward: oldest_first,
        limit: Some(limit.max(1)),
        ..QueryRequest::default()
    })?;
    Ok(response.items.unwrap_or_default())
}

/// A record as AWS gives it
/// (<https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>).
fn event(record: &Item, spec: &Spec) -> Value {
    let map = |name: &str| match record.get(name) {
        Some(AttributeValue::M(map)) => map.clone(),
        _ => Item::new(),
    };
    let (keys, image) = (map(KEYS), map(IMAGE));
    let sequence_number = sequence_number_of(record);
    let number = number_of(sequence_number);
    json!({
        "eventID": format!("{number:032x}"),
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": {
            // The numbers count microseconds, where there is a clock.
            "ApproximateCreationDateTime": number / 1_000_000,
            "Keys": keys,
            "NewImage": image,
            "SequenceNumber": sequence_number,
            "SizeBytes": item_size(&keys) + item_size(&image),
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": spec.arn,
    })
}

fn key(sequence_number: String) -> Item {
    Item::from([
        (PARTITION.to_owned(), AttributeValue::S(PARTITION.to_owned())),
        (NUMBER.to_owned(), AttributeValue::S(sequence_number)),
    ])
}

/// A number as DynamoDB's streams write them: in 21 digits or more, of which the first isn't 0. As a text it sorts as
/// the number does.
fn sequence_number(number: u64) -> String {
    format!("1{number:020}")
}

fn number_of(sequence_number: &str) -> u64 {
    sequence_number.get(1..).and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

fn sequence_number_of(record: &Item) -> &str {
    match record.get(NUMBER) {
        Some(AttributeValue::S(number)) => number,
        _ => "",
    }
}
