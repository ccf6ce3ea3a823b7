//! The CRM over HTTP.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::{
    access::Credentials,
    crm::{Crm, Settings},
    webhook::{Receiver, client},
};

/// A CRM that serves, and its caller.
struct Served {
    crm: Arc<Crm>,
    client: reqwest::Client,
    url: String,
    now: Arc<Mutex<Timestamp>>,
}

fn settings() -> Settings {
    let credentials = Credentials {
        token: Some("secret".into()),
        client_id: "hub".into(),
        client_secret: "hub-secret".into(),
        token_seconds: 60,
    };
    Settings { credentials, failures: 0.0, seed: 1, hub: None, echo: true }
}

impl Served {
    async fn start(settings: Settings) -> Self {
        let now: Arc<Mutex<Timestamp>> = Arc::new(Mutex::new("2026-01-15T12:00:00Z".parse().unwrap()));
        let clock = Arc::clone(&now);
        let crm = Crm::new(settings, Arc::new(move || *clock.lock().unwrap()));
        let (listener, url) = listen().await;
        crm.serve(listener);
        Self { crm, client: client(), url, now }
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).bearer_auth("secret").json(body)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(format!("{}{path}", self.url)).bearer_auth("secret")).await
    }

    async fn own(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.client.post(format!("{}/_crm/{path}", self.url)).json(body)).await
    }

    async fn status_with(&self, token: &str) -> u16 {
        answer(self.client.get(format!("{}/contacts", self.url)).bearer_auth(token)).await.0
    }

    fn token(&self, form: &str) -> RequestBuilder {
        let request = self.client.post(format!("{}/oauth/token", self.url));
        request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned())
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

fn with_smrt_id(id: &str) -> Value {
    json!({"first_name": "Ada", "custom_fields": {"smrt_crm_id": id, "score": 1}})
}

#[tokio::test]
async fn a_record_is_created_changed_and_deleted() {
    let served = Served::start(settings()).await;
    let (status, made) = answer(served.post("/contacts", &with_smrt_id("con_1"))).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let expected = json!({"first_name": "Ada", "custom_fields": {"smrt_crm_id": "con_1", "score": 1}, "id": id,
        "updated_at": "2026-01-15T12:00:00Z"});
    assert_eq!((status, made), (201, expected));
    let url = format!("{}/contacts/{id}", served.url);
    let patch = json!({"first_name": null, "custom_fields": {"score": 2}});
    let (status, patched) = answer(served.client.patch(&url).bearer_auth("secret").json(&patch)).await;
    let expected = json!({"custom_fields": {"smrt_crm_id": "con_1", "score": 2}, "id": id,
        "updated_at": "2026-01-15T12:00:00.001Z"});
    assert_eq!((status, &patched), (200, &expected));
    assert_eq!(served.get(&format!("/contacts/{id}")).await, (200, patched));
    for expected in [204, 404] {
        assert_eq!(answer(served.client.delete(&url).bearer_auth("secret")).await.0, expected);
    }
    assert_eq!(answer(served.client.patch(&url).bearer_auth("secret").json(&patch)).await.0, 404);
    assert_eq!(served.get(&format!("/contacts/{id}")).await.0, 404);
    assert_eq!(served.get("/deals").await.0, 404);
}

#[tokio::test]
async fn the_same_key_gives_the_first_answer_again() {
    let served = Served::start(settings()).await;
    let create =
        async |path: &str, id: &str| answer(served.post(path, &with_smrt_id(id)).header("Idempotency-Key", "k")).await;
    let first = create("/contacts", "con_1").await;
    assert_eq!(create("/contacts", "con_1").await, first);
    assert_eq!(create("/contacts", "con_2").await.0, 422);
    assert_ne!(create("/companies", "con_1").await.1["id"], first.1["id"]);
    assert_eq!(json!(served.crm.report().records), json!({"contact": 1, "company": 1, "interaction": 0}));
}

#[tokio::test]
async fn records_are_found_by_the_hub_s_id_and_listed_in_pages() {
    let served = Served::start(settings()).await;
    for id in ["con_1", "con_2", "con_3", "con_3", "con_4"] {
        answer(served.post("/contacts", &with_smrt_id(id))).await;
    }
    let found = served.get("/contacts?smrt_crm_id=con_3").await.1;
    assert_eq!(found["data"].as_array().unwrap().len(), 2);
    assert_eq!(served.get("/contacts?smrt_crm_id=con_9").await.1, json!({"data": []}));
    let (mut cursor, mut ids, mut sizes) = (String::new(), BTreeSet::new(), Vec::new());
    loop {
        let page = served.get(&format!("/contacts?limit=2{cursor}")).await.1;
        let data = page["data"].as_array().unwrap();
        sizes.push(data.len());
        ids.extend(data.iter().map(|record| record["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((sizes, ids.len()), (vec![2, 2, 1], 5));
    let (status, report) = answer(served.client.get(format!("{}/_crm/report", served.url))).await;
    assert_eq!((status, &report["records"]["contact"]), (200, &json!(5)));
    let twice = &report["duplicates"];
    assert_eq!((twice.as_array().unwrap().len(), &twice[0]["smrt_crm_id"]), (1, &json!("con_3")));
    assert_eq!(report["calls"], json!({"POST /contacts": 5, "GET /contacts": 5}));
}

#[tokio::test]
async fn only_a_token_opens_the_api_and_for_as_long_as_it_is_good() {
    let served = Served::start(settings()).await;
    assert_eq!((served.status_with("secret").await, served.status_with("other").await), (200, 401));
    let basic = format!("Basic {}", BASE64.encode("hub:hub-secret"));
    let in_form = "grant_type=client_credentials&client_id=hub&client_secret=hub-secret";
    for request in
        [served.token(in_form), served.token("grant_type=client_credentials&scope=all").header("Authorization", &basic)]
    {
        let (status, given) = answer(request).await;
        assert_eq!((status, &given["token_type"], &given["expires_in"]), (200, &json!("Bearer"), &json!(60)));
        let token = given["access_token"].as_str().unwrap();
        assert_eq!(served.status_with(token).await, 200);
        *served.now.lock().unwrap() += SignedDuration::from_secs(60);
        assert_eq!(served.status_with(token).await, 401);
    }
    let token = answer(served.token(in_form)).await.1["access_token"].as_str().unwrap().to_owned();
    assert_eq!(answer(served.client.delete(format!("{}/_crm/tokens", served.url))).await.0, 204);
    assert_eq!(served.status_with(&token).await, 401);
    for (form, status, error) in [
        ("grant_type=client_credentials&client_id=hub&client_secret=x", 401, "invalid_client"),
        ("grant_type=password&client_id=hub&client_secret=hub-secret", 400, "unsupported_grant_type"),
    ] {
        assert_eq!(answer(served.token(form)).await, (status, json!({"error": error})));
    }
}

#[tokio::test]
async fn calls_fail_in_every_way_and_a_key_makes_repeats_harmless() {
    let served = Served::start(Settings { failures: 0.5, ..settings() }).await;
    let (mut seen, mut lost) = (BTreeSet::new(), 0);
    for number in 0..100 {
        loop {
            let before = served.crm.report().records["contact"];
            let create = served.post("/contacts", &with_smrt_id(&format!("con_{number}")));
            match create.header("Idempotency-Key", number).send().await {
                Ok(answer) if answer.status() == StatusCode::CREATED => break,
                Ok(answer) => {
                    let wait = answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
                    seen.insert((answer.status().as_u16(), wait));
                }
                Err(error) => {
                    assert!(error.is_request(), "closed without an answer, not in the middle of one: {error:?}");
                    seen.insert((0, None));
                }
            }
            lost += served.crm.report().records["contact"] - before;
        }
    }
    let soon = Some("1".to_owned());
    assert_eq!(seen, BTreeSet::from([(0, None), (429, soon.clone()), (500, None), (503, soon)]));
    let report = served.crm.report();
    assert_eq!((report.records["contact"], report.duplicates.len()), (100, 0));
    assert!(lost > 10, "{lost} creates took effect and their answer was lost");
    assert!(report.failures.before > 25 && report.failures.after > 25, "{:?}", report.failures);
    let share = |share: f64| served.client.put(format!("{}/_crm/failures", served.url)).json(&json!({"share": share}));
    assert_eq!((answer(share(1.5)).await.0, answer(share(0.0)).await.0), (400, 204));
    for _ in 0..20 {
        assert_eq!(served.get("/contacts").await.0, 200);
    }
}

/// What a hub was sent, with its signature.
type Inbox = Arc<(AtomicUsize, Mutex<Vec<(String, Bytes)>>)>;

/// A hub that refuses the first webhook.
async fn hub() -> (Receiver, Inbox) {
    async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
        if inbox.0.fetch_add(1, Ordering::Relaxed) == 0 {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let signature = headers["x-webhook-signature"].to_str().unwrap().to_owned();
        inbox.1.lock().unwrap().push((signature, body));
        StatusCode::OK
    }
    let (listener, url) = listen().await;
    let inbox = Inbox::default();
    let router = Router::new().route("/", post(take)).with_state(Arc::clone(&inbox));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Receiver { url: format!("{url}/"), secret: "whsec_c2VjcmV0".into() }, inbox)
}

/// The event types that came, in order of the event ids, once all were taken.
async fn events(served: &Served, inbox: &Inbox) -> Vec<Value> {
    while served.crm.report().webhooks.waiting > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let taken = inbox.1.lock().unwrap().clone();
    let mut events: Vec<Value> = taken.iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect();
    events.sort_by_key(|event| event["event_id"].as_str().unwrap().to_owned());
    events
}

#[tokio::test]
async fn the_hub_is_told_of_every_change_by_signed_webhooks_until_it_takes_them() {
    let (receiver, inbox) = hub().await;
    let secret = receiver.secret.clone();
    let served = Served::start(Settings { hub: Some(receiver), ..settings() }).await;
    let made = answer(served.post("/companies", &json!({"name": "Acme"}))).await.1;
    let (status, contact) = served.own("add", &json!({"entity": "contact", "record": {"first_name": "Ada"}})).await;
    assert_eq!(status, 201);
    let id = contact["id"].as_str().unwrap();
    let edit = json!({"entity": "contact", "id": id, "set": {"last_name": "King"}});
    let edited = served.own("edit", &edit).await;
    assert_eq!((edited.0, &edited.1["last_name"]), (200, &json!("King")));
    for expected in [204, 404] {
        assert_eq!(served.own("remove", &json!({"entity": "contact", "id": id})).await.0, expected);
    }
    assert_eq!(served.own("edit", &edit).await.0, 404);
    let events = events(&served, &inbox).await;
    let told: Vec<_> = events.iter().map(|event| (event["event_type"].as_str().unwrap(), &event["data"])).collect();
    let gone = json!({"id": id, "deleted_at": "2026-01-15T12:00:00.002Z"});
    let expected = [
        ("company.created", &json!({"company": made})),
        ("contact.created", &json!({"contact": contact})),
        ("contact.updated", &json!({"contact": edited.1})),
        ("contact.deleted", &json!({"contact": gone})),
    ];
    assert_eq!(told, expected);
    assert_eq!(events[3]["timestamp"], gone["deleted_at"]);
    for (signature, body) in inbox.1.lock().unwrap().iter() {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body).finalize();
        assert_eq!(*signature, format!("sha256={:x}", Bytes::copy_from_slice(&mac.into_bytes())));
    }
    let webhooks = served.crm.report().webhooks;
    assert_eq!((webhooks.taken, webhooks.refusals, webhooks.last_refusal.as_deref()), (4, 1, Some("503 ")));
}

#[tokio::test]
async fn without_echo_the_hub_is_told_of_what_others_did_only() {
    let (receiver, inbox) = hub().await;
    let served = Served::start(Settings { hub: Some(receiver), echo: false, ..settings() }).await;
    let made = answer(served.post("/interactions", &json!({"outcome": "sale"}))).await.1;
    served.own("edit", &json!({"entity": "interaction", "id": made["id"], "set": {"outcome": "lost"}})).await;
    let events = events(&served, &inbox).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["event_type"], "interaction.updated");
}
