//! Tests of an outage, through the ports of everything together.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::bundle::{Surroundings, functions};
use crate::options::Options;
use crate::{Clock, Server, demo};

/// When it is, since 1970: in the year 2100, because the embedded DynamoDB deletes what has expired by the machine's own
/// clock.
const START: Duration = Duration::from_hours(130 * 366 * 24);

/// The bundle, served, with the demo's tenant.
struct Hub {
    server: Server,
    port: u16,
    client: reqwest::Client,
    key: String,
}

impl Hub {
    async fn start() -> Self {
        let options = Options { port: 0, aws_port: 0, data_dir: None, ..Options::default() };
        let start = tokio::time::Instant::now();
        let clock: Clock = Arc::new(move || UNIX_EPOCH + START + start.elapsed());
        let time = Arc::clone(&clock);
        let build = |aws: &Aws, template: &_, url: &str| {
            let (random, emit) = (Arc::new(|| 4), Arc::new(|_: &str| {}));
            let surroundings =
                Surroundings { clock: time, random, emit, send: None, public_url: url.to_owned(), interactive: true };
            Ok(functions(aws, template, &surroundings)?)
        };
        let server = Server::start(&options, clock, 1, build).await.unwrap();
        let port = server.aws().endpoint_url().rsplit(':').next().unwrap().parse().unwrap();
        let client = crate::client();
        let tenant = json!({"tenant_id": demo::TENANT, "name": "Demo", "default_region": "US",
            "integrations": [{"system_id": "sarah_ai", "webhook_secret": demo::secret("sarah_ai")}]});
        let invoke = format!("{}/2015-03-31/functions/provision-tenant/invocations", server.url());
        let answer: Value = client.post(invoke).json(&tenant).send().await.unwrap().json().await.unwrap();
        Self { server, port, client, key: answer["api_key"].as_str().unwrap().to_owned() }
    }

    /// Sends a webhook.
    async fn send(&self, event: &str) -> (u16, Value) {
        let body = json!({"event_id": event, "event_type": "call.ended", "timestamp": "2026-01-15T10:30:00Z",
            "call": {"id": event, "destination_number": "+14155550132", "duration_seconds": 65, "disposition": "SALE"}});
        let (body, now) = (body.to_string(), Timestamp::UNIX_EPOCH); // which this scheme doesn't sign
        let url = self.server.url();
        let mut request = self.client.post(format!("{url}/webhooks/{}/sarah_ai", demo::TENANT)).body(body.clone());
        for (name, value) in demo::signed(&demo::compiled("sarah_ai").unwrap(), url, &body, "", now).unwrap() {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The statuses of all events.
    async fn statuses(&self) -> Vec<String> {
        let request = self.client.get(format!("{}/v1/inbound-events", self.server.url())).bearer_auth(&self.key);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let events = answer["data"].as_array().unwrap();
        events.iter().map(|event| event["status"].as_str().unwrap().to_owned()).collect()
    }

    async fn aws(&self, method: Method, path: &str, target: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let request = self.client.request(method, url).header("x-amz-target", target).body("{}");
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn webhooks_of_an_outage_are_applied_when_it_ends() {
    let hub = Hub::start().await;
    assert_eq!(hub.send("before").await.1["status"], "processed");
    let state = tell(hub.port, Switch::On(Service::DynamoDb)).await.unwrap();
    assert_eq!(state, "Outage of dynamodb: every call is refused.\n");
    let (status, answer) = hub.send("during").await;
    assert_eq!((status, &answer["status"]), (202, &json!("queued")));
    tokio::time::sleep(Duration::from_hours(1)).await; // virtual, as all time here
    assert_eq!(tell(hub.port, Switch::Off).await.unwrap(), "No outage: all services answer.\n");
    tokio::time::sleep(Duration::from_mins(20)).await;
    assert_eq!(hub.statuses().await, ["processed", "processed"]);
}

#[tokio::test(start_paused = true)]
async fn with_the_queue_failing_too_the_sender_keeps_the_webhook() {
    let hub = Hub::start().await;
    hub.send("before").await;
    tell(hub.port, Switch::On(Service::DynamoDb)).await.unwrap();
    let state = tell(hub.port, Switch::On(Service::Sqs)).await.unwrap();
    assert_eq!(state, "Outage of dynamodb, sqs: every call is refused.\n");
    assert_eq!(hub.send("during").await.0, 503);
    tell(hub.port, Switch::Off).await.unwrap();
    assert_eq!(hub.send("during").await.1["status"], "processed");
}

#[tokio::test]
async fn the_port_takes_the_switch_and_refuses_its_own_callers_too() {
    let hub = Hub::start().await;
    let (list, queues) = ("DynamoDB_20120810.ListTables", "AmazonSQS.ListQueues");
    assert_eq!(hub.aws(Method::GET, PATH, "").await, (200, "No outage: all services answer.\n".to_owned()));
    assert_eq!(hub.aws(Method::POST, "/", list).await.0, 200);
    for _ in 0..2 {
        let on = hub.aws(Method::PUT, PATH, "").await;
        assert_eq!(on, (200, "Outage of dynamodb: every call is refused.\n".to_owned()));
    }
    let (status, body) = hub.aws(Method::POST, "/", list).await;
    assert_eq!((status, super::super::error_code(body.as_bytes())), (503, "ServiceUnavailable".to_owned()));
    assert_eq!(hub.aws(Method::POST, "/", queues).await.0, 200);
    let unknown = hub.aws(Method::PUT, "/_local/outage/s3", "").await;
    assert_eq!(unknown, (404, "There is no service s3.\n".to_owned()));
    assert_eq!(hub.aws(Method::DELETE, PATH, "").await.0, 200);
    assert_eq!(hub.aws(Method::POST, "/", list).await.0, 200);
}

#[tokio::test]
async fn where_no_hub_is_served_it_says_so() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    tokio::spawn(async move { while other.accept().await.is_ok() {} });
    let error = tell(port, Switch::Show).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("No `cargo local` answers on port {port} (")), "{error}");
    assert!(error.ends_with("Start one, or give its port with --aws-port."), "{error}");
}
