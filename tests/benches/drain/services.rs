//! AWS in a thread of its own, with a full queue.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, UNIX_EPOCH},
};

use aws_config::SdkConfig;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use aws_smithy_http_client::Builder as HttpClient;
use jiff::Timestamp;
use local::{
    aws::{Aws, Fault, Tap},
    bundle::sdk_config,
    template::Template,
};
use serde_json::{Value, json};
use shared::{
    hub::{Edge, Random, Settings},
    metrics::Emit,
    operation::{Operation, Reason, Waiting},
};
use tokio::{net::TcpListener, sync::oneshot};

use super::{measure::wall_clock, tenant::provision};

const TENANT: &str = "tenant_demo";
const FUNCTION: &str = "process-retries";
const NOW: &str = "2026-01-15T12:00:00Z";

/// The events that wait.
pub struct Load {
    pub name: &'static str,
    /// On how many phone numbers they are.
    pub numbers: usize,
    /// How long a transaction holds its number against others, if at all. The embedded DynamoDB carries out one
    /// transaction after the other; the real one refuses those that meet.
    pub held: Duration,
}

/// The services, until this is dropped.
pub struct Services {
    /// For clients that reach them by HTTP.
    pub sdk: SdkConfig,
    pub settings: Settings,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Records all calls, and refuses transactions that meet.
    pub fn tap(&self) -> Arc<Tap> {
        let (held, until) = (self.held, Mutex::new(HashMap::new()));
        Tap::new(move |call| {
            if call.operation != "TransactWriteItems" || held.is_zero() {
                return Fault::None;
            }
            let request: Value = serde_json::from_slice(call.body).unwrap();
            let number = request["TransactItems"].as_array().unwrap().iter().find_map(|write| {
                let key = &write["Update"]["Key"];
                key["pk"]["S"].as_str().unwrap_or_default().ends_with("#phone").then(|| key["sk"]["S"].to_string())
            });
            let Some(number) = number else { return Fault::None };
            let now = wall_clock();
            let mut until = until.lock().unwrap();
            let until = until.entry(number).or_insert(now);
            if now < *until {
                return Fault::Refuse { status: 400, code: "TransactionConflictException" };
            }
            *until = now + held;
            Fault::None
        })
    }

    fn message(&self, n: usize) -> String {
        let sample = include_str!("../../../events/sarah_ai/call_ended.json");
        let mut body = serde_json::from_str::<Value>(sample).unwrap()["body"].take();
        body["event_id"] = json!(format!("evt_{n}"));
        body["call"]["id"] = json!(format!("call_{n}"));
        body["call"]["destination_number"] = json!(format!("+1415{:07}", 2_000_000 + n % self.numbers));
        let event = json!({"tenant_id": TENANT, "system_id": "sarah_ai", "received_at": NOW, "body": body.to_string()});
        let event = serde_json::from_value(event).unwrap();
        Operation::Inbound(Waiting { event, attempt: 0, reason: Reason::Unavailable, due: now() }).to_message().body
    }
}

impl Services {
    /// Serves the template's tables and queues, empty but for a tenant and `events` that wait.
    pub fn start(load: &Load, events: usize, tap: Option<Arc<Tap>>) -> Self {
        // Contention needs the tap, whether anybody reads its records or not.
        let tap = tap.or_else(|| (!load.held.is_zero()).then(|| load.tap()));
        let messages: Vec<_> = (0..events).map(|n| load.message(n)).collect();
        let (stop, stopped) = oneshot::channel();
        let (ready, wait) = mpsc::channel();
        let serve = async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let aws = Aws::in_memory(listener.local_addr().unwrap().port()).unwrap();
            let template = Template::bundled(&aws.endpoint_url()).unwrap();
            aws.provision(&template).await.unwrap();
            make_tenant(&aws, &template).await;
            let environment = template.function(FUNCTION).unwrap().environment.clone();
            let settings = Settings::from_env(|name| environment.get(name).cloned()).unwrap();
            fill(&aws, &settings.retry_queue_url, messages).await;
            ready.send((sdk_config(&aws), settings)).unwrap();
            let aws = tap.map_or(aws.clone(), |tap| aws.tapped(&tap));
            let stopped = async { drop(stopped.await) };
            aws.serve(listener, stopped).await.unwrap();
        };
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve);
        });
        let (sdk, settings) = wait.recv().unwrap();
        let sdk = sdk.into_builder().http_client(HttpClient::new().build_http()).build();
        Self { sdk, settings, stop: Some(stop), thread: Some(thread) }
    }

    /// A new copy of the function.
    pub fn hub(&self) -> Edge {
        let nobody = Arc::new(|_| panic!("nothing is sent out here"));
        Edge::new(self.settings.clone(), &self.sdk, (Arc::new(now), random()), emit(), nobody)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread waits for idle connections too, but not for long: they close with the clients.
        self.sdk = SdkConfig::builder().build();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn make_tenant(aws: &Aws, template: &Template) {
    let clock: local::Clock = Arc::new(|| UNIX_EPOCH + Duration::from_millis(now().as_millisecond().cast_unsigned()));
    let tenant = json!({"tenant_id": TENANT, "name": "Demo", "default_region": "US", "integrations": [{"system_id": "sarah_ai"}]});
    provision(aws, template, tenant, (clock, random())).await;
}

async fn fill(aws: &Aws, queue_url: &str, messages: Vec<String>) {
    let sqs = aws_sdk_sqs::Client::new(&sdk_config(aws));
    for batch in messages.chunks(10) {
        let entry = |(n, body): (usize, &String)| {
            SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body).build().unwrap()
        };
        let entries = batch.iter().enumerate().map(entry).collect();
        let sent = sqs.send_message_batch().queue_url(queue_url).set_entries(Some(entries)).send().await.unwrap();
        assert!(sent.failed.is_empty());
    }
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Metrics go nowhere.
fn emit() -> Emit {
    Arc::new(|_: &str| {})
}

/// Distinct numbers, the same in every run.
fn random() -> Random {
    let count = AtomicU64::new(1);
    Arc::new(move || {
        u128::from(count.fetch_add(1, Ordering::Relaxed)).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    })
}
