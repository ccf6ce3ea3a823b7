//! The floor of an invocation: a function that makes the AWS calls that another one made, and does nothing else. `FLOOR_CALLS` names
//! a file with them: `[{"target": …, "body": …}]`, as AWS' JSON protocols have them.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::{
    get_item::builders::GetItemFluentBuilder as GetItem, put_item::builders::PutItemFluentBuilder as PutItem,
    query::builders::QueryFluentBuilder as Query,
    transact_write_items::builders::TransactWriteItemsFluentBuilder as TransactWriteItems,
    update_item::builders::UpdateItemFluentBuilder as UpdateItem,
};
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use aws_sdk_dynamodb::{Client, primitives::Blob};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json, value::RawValue};

/// A call that is ready to be sent.
#[derive(Clone)]
enum Call {
    GetItem(Box<GetItem>),
    PutItem(Box<PutItem>),
    Query(Box<Query>),
    TransactWriteItems(Box<TransactWriteItems>),
    UpdateItem(Box<UpdateItem>),
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "a floor has no settings")]
async fn main() -> Result<(), Error> {
    let aws = shared::aws::config(|name| std::env::var(name).ok())?;
    let client = Client::new(&aws);
    let file: Value = serde_json::from_str(&std::fs::read_to_string(std::env::var("FLOOR_CALLS")?)?)?;
    let calls = file.as_array().into_iter().flatten().map(|call| read(&client, call));
    let calls: Vec<Call> = calls.collect::<Result<_, Error>>()?;
    let answer = async |_: LambdaEvent<Box<RawValue>>| {
        for call in calls.clone() {
            send(call).await?;
        }
        Ok::<Value, Error>(json!({"statusCode": 200, "body": "done"}))
    };
    lambda_runtime::run(service_fn(answer)).await
}

async fn send(call: Call) -> Result<(), Error> {
    match call {
        Call::GetItem(call) => drop(call.send().await?),
        Call::PutItem(call) => drop(call.send().await?),
        Call::Query(call) => drop(call.send().await?),
        Call::TransactWriteItems(call) => drop(call.send().await?),
        Call::UpdateItem(call) => drop(call.send().await?),
    }
    Ok(())
}

fn read(client: &Client, call: &Value) -> Result<Call, Error> {
    let text = |name: &str| call.get(name).and_then(Value::as_str).unwrap_or_default();
    let body: Value = serde_json::from_str(text("body"))?;
    let at = |name: &str| body.get(name);
    match text("target").rsplit('.').next().unwrap_or_default() {
        "GetItem" => {
            let call = client.get_item().set_table_name(string(at("TableName"))).set_key(attributes(at("Key"))?);
            let call = call.set_consistent_read(at("ConsistentRead").and_then(Value::as_bool));
            Ok(Call::GetItem(Box::new(call)))
        }
        "PutItem" => {
            let call = client.put_item().set_table_name(string(at("TableName"))).set_item(attributes(at("Item"))?);
            let call = call.set_condition_expression(string(at("ConditionExpression")));
            let call = call.set_expression_attribute_values(attributes(at("ExpressionAttributeValues"))?);
            Ok(Call::PutItem(Box::new(call)))
        }
        "Query" => {
            let call = client.query().set_table_name(string(at("TableName"))).set_index_name(string(at("IndexName")));
            let call = call.set_key_condition_expression(string(at("KeyConditionExpression")));
            let call = call.set_expression_attribute_values(attributes(at("ExpressionAttributeValues"))?);
            Ok(Call::Query(Box::new(call)))
        }
        "TransactWriteItems" => {
            let items = at("TransactItems").and_then(Value::as_array).into_iter().flatten().map(write);
            let items = items.collect::<Result<_, Error>>()?;
            let call = client.transact_write_items().set_transact_items(Some(items));
            let call = call.set_client_request_token(string(at("ClientRequestToken")));
            Ok(Call::TransactWriteItems(Box::new(call)))
        }
        "UpdateItem" => {
            let call = client.update_item().set_table_name(string(at("TableName"))).set_key(attributes(at("Key"))?);
            let call = call.set_update_expression(string(at("UpdateExpression")));
            let call = call.set_condition_expression(string(at("ConditionExpression")));
            let call = call.set_expression_attribute_values(attributes(at("ExpressionAttributeValues"))?);
            let call = call.set_expression_attribute_names(names(at("ExpressionAttributeNames")));
            let call = call.set_return_values(string(at("ReturnValues")).map(|v| ReturnValue::from(v.as_str())));
            let call =
                call.set_return_values_on_condition_check_failure(old(at("ReturnValuesOnConditionCheckFailure")));
            Ok(Call::UpdateItem(Box::new(call)))
        }
        other => Err(format!("the floor can't make the call {other}").into()),
    }
}

fn write(item: &Value) -> Result<TransactWriteItem, Error> {
    let write = TransactWriteItem::builder();
    if let Some(put) = item.get("Put") {
        let put = Put::builder()
            .set_table_name(string(put.get("TableName")))
            .set_item(attributes(put.get("Item"))?)
            .set_condition_expression(string(put.get("ConditionExpression")))
            .set_expression_attribute_values(attributes(put.get("ExpressionAttributeValues"))?)
            .set_expression_attribute_names(names(put.get("ExpressionAttributeNames")))
            .set_return_values_on_condition_check_failure(old(put.get("ReturnValuesOnConditionCheckFailure")));
        return Ok(write.put(put.build()?).build());
    }
    let update = item.get("Update").ok_or("the floor only puts and updates")?;
    let update = Update::builder()
        .set_table_name(string(update.get("TableName")))
        .set_key(attributes(update.get("Key"))?)
        .set_update_expression(string(update.get("UpdateExpression")))
        .set_condition_expression(string(update.get("ConditionExpression")))
        .set_expression_attribute_values(attributes(update.get("ExpressionAttributeValues"))?)
        .set_expression_attribute_names(names(update.get("ExpressionAttributeNames")))
        .set_return_values_on_condition_check_failure(old(update.get("ReturnValuesOnConditionCheckFailure")));
    Ok(write.update(update.build()?).build())
}

fn string(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

fn old(value: Option<&Value>) -> Option<ReturnValuesOnConditionCheckFailure> {
    string(value).map(|value| value.as_str().into())
}

fn names(value: Option<&Value>) -> Option<HashMap<String, String>> {
    let names = value?.as_object()?.iter();
    Some(names.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect())
}

fn attributes(value: Option<&Value>) -> Result<Option<HashMap<String, AttributeValue>>, Error> {
    let Some(Value::Object(fields)) = value else { return Ok(None) };
    fields.iter().map(|(name, value)| Ok((name.clone(), attribute(value)?))).collect::<Result<_, Error>>().map(Some)
}

fn attribute(value: &Value) -> Result<AttributeValue, Error> {
    let tagged = value.as_object().and_then(|fields| fields.iter().next());
    match tagged.map(|(tag, value)| (tag.as_str(), value.as_str().unwrap_or_default())) {
        Some(("S", text)) => Ok(AttributeValue::S(text.to_owned())),
        Some(("N", text)) => Ok(AttributeValue::N(text.to_owned())),
        Some(("B", text)) => Ok(AttributeValue::B(Blob::new(BASE64.decode(text)?))),
        _ => Err(format!("the floor can't send {value}").into()),
    }
}
