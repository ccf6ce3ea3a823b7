//! The connector against a CRM that answers anything.

mod answers;
mod auth;
mod batches;
mod hubspot;
mod tokens;
mod writes;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_config::{BehaviorVersion, SdkConfig};
use futures_util::future::BoxFuture;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{
    hub::{Clock, Edge, Settings},
    ids::TenantId,
    integration::Limits,
    limits::outbound::{Counter, QuotaError},
    outgoing::{Reply, Request, SendError},
    store::{Reserved, StoreError},
};

const START: &str = "2026-01-15T12:00:00Z";

/// A request that arrived at the CRM.
#[derive(Clone)]
struct Arrival {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: String,
}

impl Arrival {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// `POST /contacts`, after the base URL.
    fn call(&self) -> String {
        format!("{} {}", self.method, self.url.strip_prefix("https://crm.example/api").unwrap_or(&self.url))
    }
}

type Answered = Result<Reply, SendError>;

/// Counts nothing, and always says the same.
struct Always(Reserved);

impl Counter for Always {
    fn reserve(&self, _: u32) -> BoxFuture<'_, Result<Reserved, StoreError>> {
        Box::pin(async { Ok(self.0) })
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// A CRM, and the hub that calls it. The clock is tokio's.
struct Crm {
    hub: Hub,
    context: TenantContext,
    system: SystemId,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

impl Crm {
    /// Every request is answered by `answer`, which is told how many came before it.
    fn new(answer: impl Fn(usize, &Arrival) -> Answered + Send + Sync + 'static) -> Self {
        let arrivals: Arc<Mutex<Vec<Arrival>>> = Arc::default();
        let (log, answer) = (Arc::clone(&arrivals), Arc::new(answer));
        let send = Arc::new(move |request: Request| {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            Box::pin(async move {
                let Request { method, endpoint, headers, body, .. } = request;
                let body = String::from_utf8(body.to_vec()).unwrap();
                let arrival = Arrival { method, url: endpoint.as_str().to_owned(), headers, body };
                let before = log.lock().unwrap().len();
                log.lock().unwrap().push(arrival.clone());
                // Others may send meanwhile.
                tokio::time::sleep(Duration::from_millis(10)).await;
                answer(before, &arrival)
            }) as BoxFuture<'static, Answered>
        });
        let var = |name: &str| matches!(name, "TABLE_NAME" | "SECRETS_PREFIX").then(|| "test".to_owned());
        let aws = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build();
        let (start, since): (Timestamp, _) = (START.parse().unwrap(), tokio::time::Instant::now());
        let clock: Clock = Arc::new(move || start + since.elapsed());
        let edge = Edge::new(Settings::from_env(var).unwrap(), &aws, (clock, Arc::new(|| 7)), Arc::new(|_| {}), send);
        let context = TenantContext::authenticated(TenantId::parse("acme").unwrap());
        let hub = edge.acting_for(&context);
        Self { hub, context, system: SystemId::parse("crm").unwrap(), arrivals }
    }

    /// Every request is answered alike.
    fn answering(answer: Answered) -> Self {
        Self::new(move |_, _| answer.clone())
    }

    fn connector<'a>(
        &'a self,
        outbound: &'a Outbound,
        credentials: Option<&'a Credentials>,
        quota: &'a Quota<'a>,
    ) -> Connector<'a> {
        Connector::new(&self.hub, &self.context, &self.system, outbound, credentials, quota)
    }

    /// What arrived since the last time this was asked.
    fn arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrivals.lock().unwrap())
    }

    fn calls(&self) -> Vec<String> {
        self.arrivals().iter().map(Arrival::call).collect()
    }

    /// What comes of changes of contacts, without authentication.
    async fn sync(&self, outbound: &Outbound, outgoing: &[Outgoing]) -> Vec<Result<Written, CallError>> {
        self.connector(outbound, None, &unlimited()).sync_outbound(Entity::Contact, outgoing).await
    }
}

/// Without limits.
fn unlimited() -> Quota<'static> {
    Quota::counted_by(Always(Reserved::Calls { calls: 1, until: Timestamp::MAX }))
}

#[expect(clippy::unnecessary_wraps, reason = "one of the things that may come of a request")]
fn reply(status: u16, body: impl Into<Vec<u8>>) -> Answered {
    Ok(Reply { status: StatusCode::from_u16(status).unwrap(), retry_after: None, body: body.into() })
}

fn answer(status: u16, body: &Value) -> Answered {
    reply(status, body.to_string())
}

/// The generic preset with more of its fields.
fn generic(more: &Value) -> Outbound {
    let mut json = json!({"base_url": "https://crm.example/api"});
    json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Outbound::compile(&json).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// Takes the secret out, as provisioning does.
fn with_auth(mut auth: Value) -> (Outbound, Option<Credentials>) {
    let mut json = json!({"base_url": "https://crm.example/api", "auth": auth.take()});
    let credentials = take_credentials(&mut json).unwrap();
    (Outbound::compile(&json).unwrap_or_else(|errors| panic!("{errors:?}")), credentials)
}

fn create(id: &str, body: Value) -> Outgoing {
    Outgoing { id: id.to_owned(), action: Action::Create { key: format!("key_{id}"), body } }
}

fn update(id: &str, external_id: &str, body: Value) -> Outgoing {
    Outgoing { id: id.to_owned(), action: Action::Update { external_id: external_id.to_owned(), body } }
}

fn delete(id: &str, external_id: &str) -> Outgoing {
    Outgoing { id: id.to_owned(), action: Action::Delete { external_id: external_id.to_owned() } }
}

fn written(external_id: &str, updated_at: Option<&str>) -> Written {
    Written { external_id: external_id.to_owned(), updated_at: updated_at.map(|at| at.parse().unwrap()) }
}
