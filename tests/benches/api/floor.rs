//! The least that could answer: the event read, one call to AWS, what it gives as JSON.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, KeysAndAttributes},
};
use http::Response;
use lambda_http::{Body, Request, request::LambdaRequest};
use serde_json::{Value, json};

use super::{
    RECORDS,
    function::sdk_at,
    subject::{TENANT, event},
};

const TABLE: &str = "smrt-local-HubTable";

pub struct Floor {
    dynamodb: Client,
    event: String,
}

type Attributes = HashMap<String, AttributeValue>;

impl Floor {
    pub fn new(aws_url: &str) -> Self {
        let event = event("GET", "/v1/contacts/con_1", TENANT, "key_bench", &Value::Null);
        Self { dynamodb: Client::new(&sdk_at(aws_url)), event }
    }

    pub async fn get(&self, pk: &str, sk: &str) -> Response<Body> {
        self.read();
        let call = self.dynamodb.get_item().table_name(TABLE).consistent_read(true).set_key(Some(key(pk, sk)));
        answer(&[call.send().await.unwrap().item.unwrap()])
    }

    pub async fn query(&self, pk: &str) -> Response<Body> {
        self.read();
        let call = self.dynamodb.query().table_name(TABLE).consistent_read(true).key_condition_expression("pk = :pk");
        let call = call.expression_attribute_values(":pk", text(pk)).limit(i32::try_from(RECORDS).unwrap());
        let items = call.send().await.unwrap().items.unwrap();
        assert_eq!(items.len(), RECORDS);
        answer(&items)
    }

    pub async fn batch(&self, keys: [(&str, &str); 2]) -> Response<Body> {
        self.read();
        let wanted =
            keys.iter().fold(KeysAndAttributes::builder().consistent_read(true), |b, (pk, sk)| b.keys(key(pk, sk)));
        let call = self.dynamodb.batch_get_item().request_items(TABLE, wanted.build().unwrap());
        let items = call.send().await.unwrap().responses.unwrap().remove(TABLE).unwrap();
        assert_eq!(items.len(), 2);
        answer(&items)
    }

    fn read(&self) {
        let request: LambdaRequest = serde_json::from_str(&self.event).unwrap();
        assert_eq!(Request::from(request).uri().path(), "/v1/contacts/con_1");
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn key(pk: &str, sk: &str) -> Attributes {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn answer(items: &[Attributes]) -> Response<Body> {
    let shown = |item: &Attributes| {
        let texts =
            item.iter().filter_map(|(name, value)| Some((name.clone(), Value::from(value.as_s().ok()?.as_str()))));
        Value::Object(texts.collect())
    };
    let body = json!({"data": items.iter().map(shown).collect::<Vec<_>>()});
    Response::builder().header("content-type", "application/json").body(Body::Text(body.to_string())).unwrap()
}
