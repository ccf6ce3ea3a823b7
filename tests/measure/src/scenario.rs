//! What each function is invoked with: events as the gateway, the queues and the schedules hand them over, of which each is another
//! one, over a hub with a demo tenant and one that nobody subscribed to.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use local::aws::{Record, Service, Tap};
use local::bundle::{Surroundings, functions};
use local::options::Options;
use local::{Clock, Server, demo};
use serde_json::{Map, Value, json};
use shared::integration::Integration;
use tokio::net::TcpListener;

/// What can go wrong while measuring ends it.
pub type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A tenant without subscriptions, as most are.
const TENANT: &str = "tenant_measured";

/// Fewer than an address may make in a minute.
const CALLS_OF_AN_ADDRESS: usize = 500;
/// As many as a batch of the queue of deliveries has.
pub const DELIVERIES: usize = 10;
/// As many as one `BatchWriteItem` may have.
const PUTS: usize = 25;

/// A system, its function, its sample, and what makes an event of it another one.
struct Source {
    function: &'static str,
    system: &'static str,
    sample: &'static str,
    ids: &'static [&'static str],
}

const SOURCES: [Source; 6] = [
    Source { function: "webhook-sarah-ai", system: "sarah_ai", sample: "call_ended", ids: &["/event_id", "/call/id"] },
    Source {
        function: "webhook-payment-processor",
        system: "payment_processor",
        sample: "payment_succeeded",
        ids: &["/id", "/data/object/id"],
    },
    Source {
        function: "webhook-stripe",
        system: "stripe",
        sample: "payment_intent_succeeded",
        ids: &["/id", "/data/object/id"],
    },
    Source { function: "webhook-github", system: "github", sample: "issues_opened", ids: &["/issue/node_id"] },
    Source {
        function: "webhook-external-crm",
        system: "external_crm",
        sample: "contact_created",
        ids: &["/event_id", "/data/contact/id"],
    },
    Source { function: "webhook-custom", system: "helpdesk", sample: "ticket_created", ids: &["/id", "/ticket/id"] },
];

/// What webhooks of a source are made of.
struct Template {
    event: Value,
    headers: Map<String, Value>,
    body: Value,
    integration: Integration,
}

/// Capacity units of the table and its index.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    pub written: f64,
    pub read: f64,
}

/// The hub whose tenants the functions serve, in this process.
pub struct Hub {
    server: Server,
    /// Sees what the functions ask of AWS.
    tap: Arc<Tap>,
    tapped_port: u16,
    client: reqwest::Client,
    key: String,
    subscription: String,
    webhooks: HashMap<&'static str, Template>,
    /// Events of other functions, as they are in `events/lambda`.
    others: RefCell<HashMap<String, Value>>,
}

impl Hub {
    /// Starts it, with the demo of `cargo local` and a tenant that nobody subscribed to.
    pub async fn start() -> Fallible<Self> {
        let options = Options { port: 0, aws_port: 0, data_dir: None, demo: true, outage: None };
        let clock: Clock = Arc::new(system_time);
        let time = Arc::clone(&clock);
        let server = Server::start(&options, clock, 1, |aws, template, url| {
            let random = Arc::new(shared::hub::system_random);
            let emit = Arc::new(|_: &str| {});
            let surroundings =
                Surroundings { clock: time, random, emit, send: None, public_url: url.to_owned(), interactive: true };
            Ok(functions(aws, template, &surroundings)?)
        });
        let server = server.await?;
        let told = demo::run(server.url(), &server.aws().endpoint_url(), now).await?;
        let key = told.split("Bearer ").nth(1).and_then(|rest| rest.split('\'').next()).ok_or("no key in the demo")?;
        let tap = Tap::recording();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let tapped_port = listener.local_addr()?.port();
        tokio::spawn(server.aws().tapped(&tap).serve(listener, std::future::pending()));
        let webhooks = SOURCES.iter().map(|source| Ok((source.function, Template::read(source)?)));
        let mut hub = Self {
            server,
            tap,
            tapped_port,
            client: client(),
            key: key.to_owned(),
            subscription: String::new(),
            webhooks: webhooks.collect::<Fallible<_>>()?,
            others: RefCell::default(),
        };
        let subscriptions: Value = hub.get("/v1/subscriptions").await?;
        hub.subscription = text_at(&subscriptions, "/data/0/id").to_owned();
        hub.provision().await?;
        Ok(hub)
    }

    /// The port of its AWS services, for functions.
    pub fn aws_port(&self) -> u16 {
        self.tapped_port
    }

    /// The units that functions took since the last look.
    pub fn units(&self) -> Units {
        let reads = ["GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"];
        let mut units = Units::default();
        for call in self.tap.take().iter().filter(|call| call.service == Service::DynamoDb) {
            let is_read = reads.contains(&call.operation.as_str());
            *(if is_read { &mut units.read } else { &mut units.written }) += Record::capacity_units(call);
        }
        units
    }

    async fn get(&self, path: &str) -> Fallible<Value> {
        let request = self.client.get(format!("{}{path}", self.server.url())).bearer_auth(&self.key);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    async fn invoke(&self, function: &str, event: &Value) -> Fallible<Value> {
        let url = format!("{}/2015-03-31/functions/{function}/invocations", self.server.url());
        Ok(self.client.post(url).json(event).send().await?.error_for_status()?.json().await?)
    }

    async fn dynamodb(&self, operation: &str, request: &Value) -> Fallible<Value> {
        let target = format!("DynamoDB_20120810.{operation}");
        let post = self.client.post(self.server.aws().endpoint_url()).header("x-amz-target", target).json(request);
        Ok(post.send().await?.error_for_status()?.json().await?)
    }

    /// Makes the tenant, whose CRM knows the samples' number.
    async fn provision(&self) -> Fallible<()> {
        let mut integrations = Vec::new();
        for source in &SOURCES {
            let own = folder().join(source.system).join("integration.json");
            let own = if own.exists() { read(&own)? } else { json!({}) };
            let mut integration = own.as_object().cloned().unwrap_or_default();
            integration.insert("system_id".into(), source.system.into());
            integration.insert("webhook_secret".into(), demo::secret(source.system).into());
            // More a minute than are sent here.
            integration.insert("limits".into(), json!({"per_minute": 1_000_000, "per_day": 100_000_000}));
            integrations.push(integration);
        }
        let tenant =
            json!({"tenant_id": TENANT, "name": "Measured", "default_region": "US", "integrations": integrations});
        self.invoke("provision-tenant", &tenant).await?;
        let answer = self.invoke("webhook-sarah-ai", &self.event("webhook-sarah-ai", 0)?).await?;
        if answer["statusCode"] != 200 {
            return Err(format!("the hub refused a webhook: {answer}").into());
        }
        Ok(())
    }

    /// Stores copies of the tenant's first interaction, each with an id and a time of its own, on the same number.
    pub async fn store_interactions(&self, numbers: std::ops::Range<usize>) -> Fallible<()> {
        let template = local::template::Template::bundled("")?;
        let table = template.tables.first().ok_or("no table in the template")?.name.clone();
        let key = json!({":pk": {"S": format!("{TENANT}#int")}});
        let query = json!({"TableName": table, "KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": key});
        let interaction = self.dynamodb("Query", &query).await?["Items"][0].take();
        let numbers: Vec<usize> = numbers.collect();
        for numbers in numbers.chunks(PUTS) {
            let puts: Vec<Value> =
                numbers.iter().map(|n| json!({"PutRequest": {"Item": copy(&interaction, *n)}})).collect();
            let mut requests = Map::new();
            requests.insert(table.clone(), puts.into());
            self.dynamodb("BatchWriteItem", &json!({"RequestItems": requests})).await?;
        }
        Ok(())
    }

    /// The `n`th event for a function.
    pub fn event(&self, function: &str, n: usize) -> Fallible<Value> {
        if let Some((source, template)) =
            SOURCES.iter().find(|source| source.function == function).zip(self.webhooks.get(function))
        {
            return self.webhook(source, template, n);
        }
        let mut others = self.others.borrow_mut();
        if !others.contains_key(function) {
            let event = read(&folder().join("lambda").join(format!("{function}.json")))?;
            others.insert(function.to_owned(), event);
        }
        let mut event = others.get(function).cloned().unwrap_or_default();
        match function {
            "authorize-api-key" => {
                for place in ["/headers/authorization", "/identitySource/0"] {
                    if let Some(place) = event.pointer_mut(place) {
                        *place = format!("Bearer {}", self.key).into();
                    }
                }
            }
            "deliver-webhooks" => {
                let record = event["Records"][0].take();
                let records = (0..DELIVERIES).map(|of_batch| self.delivery(&record, n * DELIVERIES + of_batch));
                event["Records"] = records.collect::<Fallible<Vec<Value>>>()?.into();
            }
            _ => {}
        }
        Ok(event)
    }

    /// The `n`th message of the queue of deliveries.
    fn delivery(&self, record: &Value, n: usize) -> Fallible<Value> {
        let mut record = record.clone();
        let mut message: Value = serde_json::from_str(text_at(&record, "/body"))?;
        message["subscription_id"] = self.subscription.clone().into();
        message["event_id"] = format!("evt_01kf1d0x8{n:017}").into();
        record["body"] = message.to_string().into();
        record["messageId"] = format!("19dd0b57-b21e-4ac1-bd88-{n:012}").into();
        Ok(record)
    }

    fn webhook(&self, source: &Source, template: &Template, n: usize) -> Fallible<Value> {
        let (mut event, mut body) = (template.event.clone(), template.body.clone());
        for place in source.ids {
            if let Some(id) = body.pointer_mut(place) {
                *id = format!("{}_{n}", id.as_str().unwrap_or_default()).into();
            }
        }
        // Of the source whose events make numbers known. The first is that of all samples.
        if source.system == "sarah_ai" && n > 0 {
            body["call"]["destination_number"] = format!("+1415{:07}", 2_000_000 + n).into();
        }
        let body = body.to_string().replace(demo::TENANT, TENANT);
        let mut headers = template.headers.clone();
        let id = format!("{n:08x}-f1fe-11f0-8a51-0242ac120003");
        if headers.contains_key("x-github-delivery") {
            headers.insert("x-github-delivery".into(), id.clone().into());
        }
        for (name, value) in demo::signed(&template.integration, self.server.url(), &body, &id, now())? {
            headers.insert(name, value.into());
        }
        event["headers"] = headers.into();
        event["body"] = body.into();
        // No address calls more often than it may.
        let address = n / CALLS_OF_AN_ADDRESS;
        event["requestContext"]["http"]["sourceIp"] = format!("198.18.{}.{}", address / 256, address % 256).into();
        Ok(event)
    }
}

impl Template {
    fn read(source: &Source) -> Fallible<Self> {
        let mut event = read(&folder().join("lambda").join(format!("{}.json", source.function)))?;
        let mut sample = read(&folder().join(source.system).join(format!("{}.json", source.sample)))?;
        let mut headers: Map<String, Value> = event["headers"].as_object().cloned().unwrap_or_default();
        headers.retain(|name, _| {
            ["content-type", "host", "x-forwarded-for", "x-forwarded-proto"].contains(&name.as_str())
        });
        headers.extend(sample["headers"].as_object().cloned().unwrap_or_default());
        let path = format!("/webhooks/{TENANT}/{}", source.system);
        event["rawPath"] = path.clone().into();
        event["requestContext"]["http"]["path"] = path.into();
        event["pathParameters"] = json!({"tenant_id": TENANT});
        if source.function == "webhook-custom" {
            event["pathParameters"]["system_id"] = source.system.into();
        }
        Ok(Self { event, headers, body: sample["body"].take(), integration: demo::compiled(source.system)? })
    }
}

/// An interaction as the `n`th one, a second after the one before.
fn copy(interaction: &Value, n: usize) -> Value {
    let mut item = interaction.clone();
    item["sk"]["S"] = format!("int_{n:026}").into();
    item["g1sk"]["S"] = format!("{n:013}#int_{n:026}").into();
    item
}

fn client() -> reqwest::Client {
    shared::outgoing::install_tls();
    reqwest::Client::new()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events")
}

fn read(path: &Path) -> Fallible<Value> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "the hub has the system's clock, as deployed")]
fn system_time() -> SystemTime {
    SystemTime::now()
}

#[expect(clippy::disallowed_methods, reason = "the hub has the system's clock, as deployed")]
fn now() -> Timestamp {
    Timestamp::now()
}
