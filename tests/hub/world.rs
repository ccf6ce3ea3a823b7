//! A hub of its own for each test.

pub mod crm;
mod described;
mod internet;
mod sessions;
mod tenant;

use std::{
    net::IpAddr,
    sync::{
        Arc, LazyLock, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_sqs::config::{StalledStreamProtectionConfig, timeout::TimeoutConfig};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header::HOST};
use jiff::Timestamp;
use local::{
    Clock,
    aws::{Aws, Call, Fate, Fault, Record, Service, Tap},
    bundle::{Surroundings, functions},
    functions::{Function, Functions},
    gateway::Gateway,
    lambda::Lambda,
    template::Template,
};
use serde_json::{Value, json};
use shared::{
    hub::Settings,
    store::{Item, Store},
};
use tokio::time::Instant;

pub use self::internet::{Arrival, Behaviour, Internet};
pub use self::sessions::{BY_OWN_ROLE, Guard, ROLE_ARN, opens};
pub use self::tenant::{Signer, Tenant, call_ended, payment, sample, sample_body, sign, waiting};

pub const TENANT: &str = "tenant_demo";
pub const PUBLIC_URL: &str = "https://hub.example";

/// What becomes of a call. Its number counts from [`World::fail`].
type Weather = Box<dyn Fn(usize, &Call) -> Fate + Send + Sync>;

/// Puts something around a function.
pub type Wrap = Arc<dyn Fn(&str, Function) -> Function + Send + Sync>;

/// One deployment: services, functions, gateway.
pub struct World {
    pub aws: Aws,
    template: Template,
    surroundings: Surroundings,
    gateway: Mutex<Arc<Gateway>>,
    lambda: Mutex<Arc<Lambda>>,
    now: Arc<Mutex<Timestamp>>,
    flows_since: Arc<OnceLock<Instant>>,
    metrics: Arc<Mutex<Vec<Value>>>,
    tap: Arc<Tap>,
    /// Where tenants have sessions: what watches over them.
    guard: Option<Arc<Guard>>,
    weather: Arc<Mutex<(usize, Weather)>>,
    wrap: Wrap,
    pub source: IpAddr,
    pub internet: Arc<Internet>,
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

impl World {
    /// Without tenants, at noon of a day in January.
    pub async fn new() -> Self {
        Self::wrapped(Arc::new(|_, function| function), 0).await
    }

    /// With a session for each tenant (docs/isolation.md).
    pub async fn with_sessions() -> Self {
        Self::made(Arc::new(|_, function| function), 0, true).await
    }

    /// With something put around each function, and random numbers from `seed`.
    pub async fn wrapped(wrap: Wrap, seed: u64) -> Self {
        Self::made(wrap, seed, sessions::are_asked_for()).await
    }

    async fn made(wrap: Wrap, seed: u64, sessions: bool) -> Self {
        let now = Arc::new(Mutex::new("2026-01-15T12:00:00Z".parse().unwrap()));
        let flows_since: Arc<OnceLock<Instant>> = Arc::default();
        let (time, flows) = (Arc::clone(&now), Arc::clone(&flows_since));
        let clock: Clock = Arc::new(move || SystemTime::from(flowing(&time, &flows)));
        let count = AtomicU64::new((seed << 32) + 1);
        // Distinct numbers, the same in every run: a multiplicative sequence over all bits.
        let random = Arc::new(move || {
            let n = u128::from(count.fetch_add(1, Ordering::Relaxed));
            n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
        });
        let metrics: Arc<Mutex<Vec<Value>>> = Arc::default();
        let lines = Arc::clone(&metrics);
        let emit = Arc::new(move |line: &str| lines.lock().unwrap().push(serde_json::from_str(line).unwrap()));
        let internet = Internet::new(&clock);
        let sender = Some(internet.sender());
        let surroundings =
            Surroundings { clock, random, emit, send: sender, public_url: PUBLIC_URL.into(), interactive: false };
        let weather: Arc<Mutex<(usize, Weather)>> = Arc::new(Mutex::new((0, Box::new(|_, _| Fault::None.into()))));
        let aws = Aws::in_memory(9001).unwrap();
        let guard = sessions.then(|| Arc::new(Guard::new(&aws)));
        let (decide, watch) = (Arc::clone(&weather), guard.clone());
        let tap = Tap::new(move |call| {
            if let Some(fate) = watch.as_ref().and_then(|guard| guard.judge(call)) {
                return fate;
            }
            let mut weather = decide.lock().unwrap();
            weather.0 += 1;
            (weather.1)(weather.0 - 1, call)
        });
        let mut template = Template::bundled(&aws.endpoint_url()).unwrap();
        for function in template.functions.iter_mut().filter(|_| sessions) {
            function.environment.insert("TENANT_ROLE_ARN".to_owned(), sessions::ROLE_ARN.to_owned());
        }
        aws.provision(&template).await.unwrap();
        let aws = aws.tapped(&tap);
        let (gateway, lambda) = start(&aws, &template, &surroundings, &wrap);
        let source = "203.0.113.7".parse().unwrap();
        Self {
            aws,
            template,
            surroundings,
            gateway: Mutex::new(gateway),
            lambda: Mutex::new(lambda),
            now,
            flows_since,
            metrics,
            tap,
            guard,
            weather,
            wrap,
            source,
            internet,
        }
    }

    /// With [`TENANT`] and every built-in system.
    pub async fn with_tenant() -> (Self, Tenant) {
        let world = Self::new().await;
        let tenant = world
            .provision(
                TENANT,
                &[
                    json!({"system_id": "sarah_ai"}),
                    json!({"system_id": "payment_processor"}),
                    json!({"system_id": "stripe"}),
                    json!({"system_id": "github"}),
                    json!({"system_id": "external_crm", "signature": {"scheme": "custom"}}),
                ],
            )
            .await;
        (world, tenant)
    }

    /// New copies of all functions, that remember nothing.
    pub fn restart(&self) {
        let (gateway, lambda) = start(&self.aws, &self.template, &self.surroundings, &self.wrap);
        *self.gateway.lock().unwrap() = gateway;
        *self.lambda.lock().unwrap() = lambda;
    }

    pub fn now(&self) -> Timestamp {
        flowing(&self.now, &self.flows_since)
    }

    /// The metrics that were counted since the last time this was asked.
    pub fn metrics(&self) -> Vec<Value> {
        std::mem::take(&mut *self.metrics.lock().unwrap())
    }

    pub fn advance(&self, seconds: u64) {
        *self.now.lock().unwrap() += Duration::from_secs(seconds);
    }

    /// Sets the clocks back.
    pub fn rewind(&self, seconds: u64) {
        *self.now.lock().unwrap() -= Duration::from_secs(seconds);
    }

    /// Deletes an inbound event's record, as its time to live does.
    pub async fn forget(&self, tenant: &Tenant, system: &str, event_id: &str) {
        let text = |t: String| aws_sdk_dynamodb::types::AttributeValue::S(t);
        let id = shared::ids::derived("inb", &[&tenant.id, system, event_id]);
        let table = self.template.tables[0].name.clone();
        let request = self.dynamodb().delete_item().table_name(table);
        let request = request.key("pk", text(format!("{}#in", tenant.id))).key("sk", text(id));
        let old = request.return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld).send().await.unwrap();
        assert!(old.attributes.is_some(), "there is no record of {event_id}");
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&local::bundle::sdk_config(&self.aws))
    }

    /// A copy's own way to the table.
    pub fn store(&self) -> Store {
        let table = &self.template.tables[0].name;
        let var = |name: &str| matches!(name, "TABLE_NAME" | "SECRETS_PREFIX").then(|| table.clone());
        let sdk = local::bundle::sdk_config(&self.aws);
        let sqs = LazyLock::new(Box::new(move || aws_sdk_sqs::Client::new(&sdk)) as Box<dyn FnOnce() -> _ + Send>);
        Store::new(self.dynamodb(), sqs, &Settings::from_env(var).unwrap(), None)
    }

    /// Everything in the table.
    pub async fn items(&self) -> Vec<Item> {
        let scan = self.dynamodb().scan().table_name(&self.template.tables[0].name);
        let pages = scan.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        pages.unwrap().into_iter().map(Item).collect()
    }

    /// The keys of the messages that wait in the table, with their times.
    pub async fn waits(&self) -> Vec<Item> {
        self.due("due#").await
    }

    /// The marks of the records that are to be sent to CRMs.
    pub async fn marks(&self) -> Vec<Item> {
        self.due("sync#").await
    }

    async fn due(&self, prefix: &str) -> Vec<Item> {
        let scan = self.dynamodb().scan().table_name(&self.template.tables[0].name).index_name("due");
        let items = scan.send().await.unwrap().items.unwrap_or_default().into_iter().map(Item);
        items.filter(|item| item.get_text("due_pk").is_some_and(|pk| pk.starts_with(prefix))).collect()
    }

    /// From now on, the AWS calls meet these faults.
    pub fn fail(&self, faults: impl Fn(usize) -> Fault + Send + Sync + 'static) {
        self.weather(move |n, _| faults(n).into());
    }

    /// From now on, the AWS calls fare so.
    pub fn weather(&self, fate: impl Fn(usize, &Call) -> Fate + Send + Sync + 'static) {
        *self.weather.lock().unwrap() = (0, Box::new(fate));
    }

    /// From now on, DynamoDB answers that it is overloaded.
    pub fn fail_tables(&self) {
        self.throttle(|call| call.service == Service::DynamoDb);
    }

    /// From now on, DynamoDB refuses transactions of so many writes.
    pub fn fail_transactions_of(&self, writes: usize) {
        self.throttle(move |call| {
            let request = || serde_json::from_slice::<Value>(call.body).unwrap();
            call.operation == "TransactWriteItems"
                && request()["TransactItems"].as_array().is_some_and(|items| items.len() == writes)
        });
    }

    fn throttle(&self, which: impl Fn(&Call) -> bool + Send + Sync + 'static) {
        let refusal = Fault::Refuse { status: 400, code: "ThrottlingException" };
        self.weather(move |_, call| if which(call) { refusal } else { Fault::None }.into());
    }

    /// The bodies of the messages in the retry queue, delayed ones included once their time has come.
    pub async fn queued(&self) -> Vec<String> {
        self.messages("RetryQueue").await
    }

    /// The bodies of the messages that nothing could be done with.
    pub async fn dead_letters(&self) -> Vec<String> {
        self.messages("RetryDeadLetters").await
    }

    /// The bodies of the messages in the delivery queue.
    pub async fn queued_deliveries(&self) -> Vec<String> {
        self.messages("DeliveryQueue").await
    }

    /// The same of deliveries.
    pub async fn delivery_dead_letters(&self) -> Vec<String> {
        self.messages("DeliveryDeadLetters").await
    }

    /// What is called without being asked.
    pub fn schedules(&self) -> Vec<local::template::Schedule> {
        self.template.schedules.clone()
    }

    /// A client of the queues, and the retry queue's URL.
    pub async fn retry_queue(&self) -> (aws_sdk_sqs::Client, String) {
        self.queue("RetryQueue").await
    }

    /// A client of the queues, and the URL of one.
    pub async fn queue(&self, name: &str) -> (aws_sdk_sqs::Client, String) {
        let config = aws_sdk_sqs::config::Builder::from(&local::bundle::sdk_config(&self.aws));
        // A receiver waits longer than the functions wait for AWS.
        let config = config.timeout_config(TimeoutConfig::disabled());
        let config = config.stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let sqs = aws_sdk_sqs::Client::from_conf(config.build());
        let urls = sqs.list_queues().send().await.unwrap().queue_urls.unwrap_or_default();
        (sqs, urls.into_iter().find(|url| url.ends_with(name)).unwrap())
    }

    /// Puts a message into the retry queue.
    pub async fn enqueue(&self, message: &str) {
        let (sqs, url) = self.retry_queue().await;
        sqs.send_message().queue_url(url).message_body(message).send().await.unwrap();
    }

    /// Puts the dead letters back, as `aws sqs start-message-move-task` does (docs/operations.md).
    pub async fn redrive(&self) {
        let (sqs, _) = self.retry_queue().await;
        for name in ["RetryDeadLetters", "DeliveryDeadLetters", "SyncDeadLetters"] {
            let arn = format!("arn:aws:sqs:us-east-1:000000000000:smrt-local-{name}");
            sqs.start_message_move_task().source_arn(arn).send().await.unwrap();
        }
    }

    async fn messages(&self, queue: &str) -> Vec<String> {
        let (sqs, url) = self.queue(queue).await;
        tokio::time::sleep(Duration::from_mins(15)).await; // virtual: the longest delay that SQS knows
        let mut bodies = Vec::new();
        loop {
            let received = sqs.receive_message().queue_url(&url).max_number_of_messages(10).send().await.unwrap();
            let messages = received.messages.unwrap_or_default();
            if messages.is_empty() {
                return bodies;
            }
            bodies.extend(messages.into_iter().filter_map(|m| m.body));
        }
    }

    /// From now on the clocks go with tokio's time.
    pub fn let_time_flow(&self) {
        self.flows_since.get_or_init(Instant::now);
    }

    /// Lets queues and schedules call functions, until [`Triggers::stop`], and time flow.
    pub fn run_triggers(&self) -> Triggers {
        self.let_time_flow();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let (template, aws, clock) = (self.template.clone(), self.aws.clone(), Arc::clone(&self.surroundings.clock));
        let lambda = Arc::clone(&self.lambda.lock().unwrap());
        let task = tokio::spawn(async move { local::triggers::run(&template, &aws, &lambda, &clock, &stopped).await });
        Triggers { stop, task }
    }

    /// Makes `secret` the system's newest, the old ones ending at `end`.
    pub async fn rotate(&self, tenant: &Tenant, system: &str, secret: &str, end: Timestamp) {
        let (client, name) = self.secrets(tenant);
        let mut document = self.secrets_document(tenant).await;
        let secrets = document["systems"][system]["webhook"].as_array_mut().unwrap();
        for old in secrets.iter_mut() {
            old["expires_at"] = json!(end);
        }
        secrets.insert(0, json!({"secret": secret}));
        client.put_secret_value().secret_id(&name).secret_string(document.to_string()).send().await.unwrap();
    }

    /// The tenant's document of secrets.
    pub async fn secrets_document(&self, tenant: &Tenant) -> Value {
        let (client, name) = self.secrets(tenant);
        let document = client.get_secret_value().secret_id(&name).send().await.unwrap();
        serde_json::from_str(document.secret_string().unwrap()).unwrap()
    }

    fn secrets(&self, tenant: &Tenant) -> (aws_sdk_secretsmanager::Client, String) {
        let client = aws_sdk_secretsmanager::Client::new(&local::bundle::sdk_config(&self.aws));
        (client, format!("smrt/local/tenant/{}", tenant.id))
    }

    /// What watches over the tenants' sessions.
    pub fn guard(&self) -> &Guard {
        self.guard.as_ref().expect("this world has sessions")
    }

    /// The AWS calls since the last time this was asked, but for those that begin sessions.
    pub fn calls(&self) -> Vec<Record> {
        self.tap.take().into_iter().filter(|call| call.service != Service::Sts).collect()
    }

    pub async fn invoke(&self, function: &str, event: Value) -> Result<Value, String> {
        let lambda = Arc::clone(&self.lambda.lock().unwrap());
        lambda.invoke(function, event).await.map_err(|e| e.to_string())
    }

    pub async fn provision(&self, tenant: &str, integrations: &[Value]) -> Tenant {
        let answer = self.invoke(
            "provision-tenant",
            json!({"tenant_id": tenant, "name": "Demo", "default_region": "US", "integrations": integrations}),
        );
        let answer = answer.await.unwrap();
        let configs = integrations.iter().map(|i| (i["system_id"].as_str().unwrap().to_owned(), i.clone())).collect();
        Tenant { id: tenant.to_owned(), answer, configs }
    }

    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let host = PUBLIC_URL.trim_start_matches("https://");
        let mut request = Request::builder().method(method.clone()).uri(path).header(HOST, host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let gateway = Arc::clone(&self.gateway.lock().unwrap());
        let response = gateway.handle(request, self.source).await;
        let (parts, body) = response.into_parts();
        let parsed = serde_json::from_slice(&body);
        let is_read = parsed.is_ok() || body.is_empty();
        let answer = Answer { status: parts.status, headers: parts.headers, body: parsed.unwrap_or(Value::Null) };
        // A body that is nested deeper than is read here isn't.
        if is_read {
            described::check(&method, path, &answer);
        }
        answer
    }

    /// Signs and sends a JSON webhook.
    pub async fn send(&self, tenant: &Tenant, system: &str, body: &Value) -> Answer {
        self.send_with(tenant, system, &[], &body.to_string()).await
    }

    /// Signs and sends a webhook with more headers.
    pub async fn send_with(&self, tenant: &Tenant, system: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let signed = tenant.sign(system, body, self.now());
        let mut all: Vec<(&str, &str)> = vec![("content-type", "application/json")];
        all.extend(headers);
        all.extend(signed.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.request(Method::POST, &format!("/webhooks/{}/{system}", tenant.id), &all, body.to_owned()).await
    }

    pub async fn get(&self, tenant: &Tenant, path: &str) -> Answer {
        self.call(Method::GET, tenant, path, "").await
    }

    pub async fn post(&self, tenant: &Tenant, path: &str) -> Answer {
        self.post_json(tenant, path, "").await
    }

    pub async fn post_json(&self, tenant: &Tenant, path: &str, body: &str) -> Answer {
        self.call(Method::POST, tenant, path, body).await
    }

    async fn call(&self, method: Method, tenant: &Tenant, path: &str, body: &str) -> Answer {
        self.as_key(method, tenant.key(), path, body).await
    }

    /// Calls the API with a key.
    pub async fn as_key(&self, method: Method, key: &str, path: &str, body: &str) -> Answer {
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        self.request(method, path, &headers, body.to_owned()).await
    }

    pub async fn patch(&self, tenant: &Tenant, path: &str, body: &Value) -> Answer {
        self.call(Method::PATCH, tenant, path, &body.to_string()).await
    }

    pub async fn put(&self, tenant: &Tenant, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, tenant, path, &body.to_string()).await
    }

    pub async fn delete(&self, tenant: &Tenant, path: &str) -> Answer {
        self.call(Method::DELETE, tenant, path, "").await
    }

    /// Makes a subscription, lets the copies' caches grow old, and forgets its test.
    pub async fn subscribe(&self, tenant: &Tenant, body: &Value) -> Value {
        let answer = self.post_json(tenant, "/v1/subscriptions", &body.to_string()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        self.advance(10);
        self.internet.take();
        answer.body
    }

    /// The deliveries of a subscription, the newest first.
    pub async fn deliveries(&self, tenant: &Tenant, subscription: &Value) -> Vec<Value> {
        let id = subscription["id"].as_str().unwrap();
        let answer = self.get(tenant, &format!("/v1/subscriptions/{id}/deliveries?limit=100")).await;
        answer.body["data"].as_array().cloned().unwrap_or_else(|| panic!("no list: {answer:?}"))
    }

    pub async fn phone(&self, tenant: &Tenant, number: &str) -> Value {
        self.get(tenant, &format!("/v1/phone-numbers/{number}")).await.body
    }

    pub async fn interactions(&self, tenant: &Tenant, number: &str) -> Vec<Value> {
        let answer = self.get(tenant, &format!("/v1/phone-numbers/{number}/interactions")).await;
        answer.body["data"].as_array().cloned().unwrap_or_else(|| panic!("no list: {:?}", answer.body))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.as_ref().filter(|_| !std::thread::panicking()) {
            assert_eq!(guard.refused(), Vec::<String>::new(), "every call carries the session of its own tenant");
        }
    }
}

/// Event sources at work.
pub struct Triggers {
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Triggers {
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

/// What the clocks show: what was set, and the time that has passed since it flows.
fn flowing(set: &Mutex<Timestamp>, since: &OnceLock<Instant>) -> Timestamp {
    *set.lock().unwrap() + since.get().map(Instant::elapsed).unwrap_or_default()
}

fn start(aws: &Aws, template: &Template, surroundings: &Surroundings, wrap: &Wrap) -> (Arc<Gateway>, Arc<Lambda>) {
    let plain = functions(aws, template, surroundings).unwrap();
    let functions = plain.names().fold(Functions::default(), |wrapped, name| {
        wrapped.with(name, wrap(name, Arc::clone(plain.get(name).unwrap())))
    });
    let lambda = Arc::new(Lambda::new(template, functions, Arc::clone(&surroundings.clock), 1).unwrap());
    (Arc::new(Gateway::new(template, Arc::clone(&lambda), Arc::clone(&surroundings.clock))), lambda)
}
