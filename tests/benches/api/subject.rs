//! The functions, as Lambda invokes them.

use std::cell::Cell;

use aws_lambda_events::event::apigw::ApiGatewayV2CustomAuthorizerV2Request;
use lambda_http::{Body, Request, request::LambdaRequest};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use shared::{api, authorize, hub::Edge, ids::sha256_hex};
use tokio::runtime::Runtime;

use super::{RECORDS, function::hub_at, services::Services};

pub const TENANT: &str = "tenant_demo";
const OTHER: &str = "tenant_other";

pub struct Subject {
    api: Edge,
    authorizer: Edge,
    key: String,
    calls: Cell<usize>,
}

impl Subject {
    /// With a tenant that has contacts, and another one with one more.
    pub fn new(services: &Services, runtime: &Runtime) -> Self {
        let make = |tenant: &str| services.make(json!({"tenant_id": tenant}))["api_key"].as_str().unwrap().to_owned();
        let (key, _) = (make(TENANT), make(OTHER));
        let url = services.url();
        let new = Self {
            api: hub_at("management-api", &url),
            authorizer: hub_at("authorize-api-key", &url),
            key,
            calls: Cell::new(0),
        };
        runtime.block_on(async {
            let contact = json!({"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com",
                "phone_number": "+14155550132", "company_name": "Analytical Engines", "custom_fields": {"tier": "gold"}});
            for n in 0..RECORDS {
                new.call("PUT", &format!("/v1/contacts/con_{n}"), TENANT, &contact, 201).await;
            }
            new.call("PUT", "/v1/contacts/con_other", OTHER, &contact, 201).await;
        });
        new
    }

    pub async fn get(&self, path: &str) -> Value {
        self.call("GET", path, TENANT, &Value::Null, 200).await
    }

    /// Something that isn't there.
    pub async fn missing(&self, path: &str) -> Value {
        self.call("GET", path, TENANT, &Value::Null, 404).await
    }

    async fn call(&self, method: &str, path: &str, tenant: &str, body: &Value, status: u16) -> Value {
        // A thousand calls by each key, so that none is over its limit.
        let n = self.calls.replace(self.calls.get() + 1) / 1_000;
        self.answer(&event(method, path, tenant, &format!("key_{n}"), body), status).await
    }

    async fn answer(&self, event: &str, status: u16) -> Value {
        let request: LambdaRequest = serde_json::from_str(event).unwrap();
        let response = api::handle(&self.api, Request::from(request)).await.unwrap();
        assert_eq!(response.status(), status);
        match response.into_body() {
            Body::Text(text) => text.into(),
            _ => Value::Null,
        }
    }

    /// The check of its key.
    pub async fn authorize(&self) {
        let event = json!({"version": "2.0", "type": "REQUEST", "routeArn": "arn", "identitySource": [], "routeKey": "r",
            "rawPath": "/v1/contacts", "rawQueryString": "", "cookies": [], "stageVariables": {},
            "headers": {"authorization": format!("Bearer {}", self.key)}, "queryStringParameters": {}, "pathParameters": {},
            "requestContext": {"http": {"method": "GET", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                "userAgent": ""}, "timeEpoch": 0, "apiId": "", "accountId": "", "stage": "", "requestId": ""}});
        let event: ApiGatewayV2CustomAuthorizerV2Request = serde_json::from_value(event).unwrap();
        let answer = authorize::handle(&self.authorizer, LambdaEvent::new(event, Context::default())).await.unwrap();
        assert!(answer.is_authorized);
    }

    pub fn key_hash(&self) -> String {
        sha256_hex(self.key.as_bytes())
    }
}

/// What API Gateway hands over, with what the authorizer found.
pub fn event(method: &str, path: &str, tenant: &str, key_id: &str, body: &Value) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parameters: Value = query.split_once('=').map_or(json!({}), |(name, value)| json!({name: value}));
    json!({
        "version": "2.0", "routeKey": "ANY /v1/{proxy+}", "rawPath": path, "rawQueryString": query,
        "headers": {"content-type": "application/json", "host": "hub.example"}, "queryStringParameters": parameters,
        "requestContext": {
            "accountId": "1", "apiId": "a", "domainName": "hub.example", "domainPrefix": "hub", "requestId": "r",
            "routeKey": "ANY /v1/{proxy+}", "stage": "$default", "time": "15/Jan/2026:12:00:00 +0000", "timeEpoch": 1_768_478_400_000_u64,
            "authorizer": {"lambda": {"tenant_id": tenant, "key_id": key_id, "scopes": "read write"}},
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "bench"},
        },
        "body": if body.is_null() { Value::Null } else { body.to_string().into() }, "isBase64Encoded": false,
    })
    .to_string()
}
