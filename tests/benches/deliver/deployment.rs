//! The whole bundle as `cargo local` runs it, in threads of its own, with a tenant.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use local::{
    Clock, Server,
    aws::{Aws, Tap},
    bundle::{Surroundings, functions},
    demo,
    options::Options,
};
use serde_json::{Value, json};
use shared::{
    event::{Event, EventType, event_partition, events_of},
    hub::Edge,
    ids::TenantId,
    outgoing,
    store::Range,
};
use tokio::{net::TcpListener, runtime::Handle, sync::oneshot};

use super::{
    function::{hub_at, system_time},
    sample,
};

/// The function that is measured.
pub const FUNCTION: &str = "deliver-webhooks";

/// A deployment, until this is dropped.
pub struct Deployment {
    pub url: String,
    aws: Aws,
    /// Of the deployment's own threads.
    runtime: Handle,
    client: reqwest::Client,
    key: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Deployment {
    /// Keeps its data in `data_dir`, or in memory; has a tenant without subscriptions. Not to be called within a runtime.
    pub fn start(data_dir: Option<PathBuf>) -> Self {
        let (ready, wait) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = serve(data_dir).await;
                ready.send((server.url().to_owned(), server.aws().clone(), Handle::current())).unwrap();
                drop(stopped.await);
                server.stop().await;
            });
        });
        let (url, aws, runtime) = wait.recv().unwrap();
        outgoing::install_tls();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut new = Self { url, aws, runtime, client, key: String::new(), stop: Some(stop), thread: Some(thread) };
        new.key = new.runtime.block_on(new.make_tenant());
        new
    }

    async fn make_tenant(&self) -> String {
        let system = json!({"system_id": sample::SYSTEM, "webhook_secret": demo::secret(sample::SYSTEM),
            "limits": {"per_minute": 100_000, "per_day": 100_000}});
        let tenant =
            json!({"tenant_id": demo::TENANT, "name": "Demo", "default_region": "US", "integrations": [system]});
        let url = format!("{}/2015-03-31/functions/provision-tenant/invocations", self.url);
        let answer: Value = self.client.post(url).json(&tenant).send().await.unwrap().json().await.unwrap();
        answer["api_key"].as_str().unwrap().to_owned()
    }

    /// Subscribes an endpoint, and gives the subscription's id and secret.
    pub fn subscribe(&self, endpoint: &str, event_type: &str) -> (String, String) {
        let request = self.client.post(format!("{}/v1/subscriptions", self.url)).bearer_auth(&self.key);
        let request = request.json(&json!({"url": endpoint, "event_types": [event_type]}));
        let answer: Value = self.runtime.block_on(async { request.send().await.unwrap().json().await.unwrap() });
        let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        (text("id"), text("secret"))
    }

    /// Sends the webhook of one more call.
    pub async fn call_ended(&self, client: &reqwest::Client, n: usize) {
        let (body, headers) = sample::webhook(&self.url, n);
        let url = format!("{}/webhooks/{}/{}", self.url, demo::TENANT, sample::SYSTEM);
        let request =
            headers.into_iter().fold(client.post(url).body(body), |request, (name, value)| request.header(name, value));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// The event that the CRM makes of a call.
    pub fn interaction(&self) -> Event {
        // Events are kept only for who has a subscription.
        self.subscribe("http://127.0.0.1:4000/nobody", "company.deleted");
        self.runtime.block_on(async {
            self.call_ended(&self.client, 0).await;
            let partition = event_partition(&TenantId::parse(demo::TENANT).unwrap());
            let page = self.hub(None).store.range(&partition, &Range::prefixed("evt_"), &[], (None, 10, true)).await;
            let events = page.unwrap().items.iter().flat_map(|item| events_of(item).unwrap()).collect::<Vec<_>>();
            let is_interaction = |event: &Event| event.event_type == EventType::InteractionCreated;
            events.into_iter().map(|(_, event)| event).find(is_interaction).unwrap()
        })
    }

    /// Where the services are that a tap listens to.
    pub fn tapped(&self, tap: &Arc<Tap>) -> String {
        self.runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(self.aws.tapped(tap).serve(listener, std::future::pending()));
            url
        })
    }

    /// Where the services are.
    pub fn aws_url(&self) -> String {
        self.aws.endpoint_url()
    }

    /// A new copy of `deliver-webhooks`, that reaches the services by HTTP.
    pub fn hub(&self, aws_url: Option<&str>) -> Edge {
        hub_at(FUNCTION, aws_url.unwrap_or(&self.aws_url()))
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The connections of the client would be waited for.
            self.client = reqwest::Client::new();
            thread.join().unwrap();
        }
    }
}

async fn serve(data_dir: Option<PathBuf>) -> Server {
    let options = Options { port: 0, aws_port: 0, data_dir, demo: false, outage: None };
    let clock: Clock = Arc::new(system_time);
    let time = Arc::clone(&clock);
    let server = Server::start(&options, clock, 1, |aws, template, url| {
        let random = Arc::new(shared::hub::system_random);
        let (emit, public_url) = (Arc::new(|_: &str| {}), url.to_owned());
        let surroundings = Surroundings { clock: time, random, emit, send: None, public_url, interactive: true };
        Ok(functions(aws, template, &surroundings)?)
    });
    server.await.unwrap()
}
