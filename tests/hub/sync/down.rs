//! A CRM that is down, that doesn't know us any more, and limits on what it is asked.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use shared::outgoing::SendError;

use super::{TOKEN, ask, integration, kept, put, run, state, sync, synced, synced_with};
use crate::world::{
    Behaviour, TENANT, Tenant, World,
    crm::{CRM_URL, Crm, Fate},
};

async fn put_many(world: &World, tenant: &Tenant, count: usize) {
    for n in 0..count {
        put(world, tenant, &n.to_string(), json!({"first_name": "A"})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crm_that_is_down_pauses_is_probed_and_catches_up() {
    let outages = [
        Behaviour::status(503),
        Behaviour::error(SendError::ConnectionFailed),
        Behaviour::text(200, "<html>We are down for maintenance</html>"),
        Behaviour::status(200).after(Duration::from_mins(1)),
    ];
    for outage in outages {
        let (world, tenant, crm) = synced().await;
        put_many(&world, &tenant, 40).await;
        crm.down(outage.clone());
        sync(&world, &tenant, "contact").await;
        run(&world, Duration::from_secs(50)).await;
        let paused = state(&world, &tenant, "contact").await;
        assert!(paused["paused_until"].is_string(), "{paused}");
        assert!(!paused["last_error"].as_str().unwrap().is_empty(), "{paused}");
        let first = crm.asked().len();
        assert!(first <= 26, "{first} requests before it counts as down");
        run(&world, Duration::from_hours(5)).await;
        let probes = crm.asked();
        assert!((8..=50).contains(&probes.len()), "{} probes in five hours", probes.len());
        let state_then = state(&world, &tenant, "contact").await;
        assert_eq!((&state_then["waiting"], &state_then["failed"]), (&json!(40), &json!(0)), "{state_then}");
        assert!(kept(&world, &tenant).await.is_empty());
        crm.well();
        run(&world, Duration::from_mins(36)).await;
        let well = state(&world, &tenant, "contact").await;
        assert_eq!((&well["waiting"], well.get("paused_until"), well.get("last_error")), (&json!(0), None, None));
        assert_eq!(crm.records("contacts").len(), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crm_that_refuses_our_credentials_is_paused_and_loses_nothing() {
    let (world, tenant, crm) = synced().await;
    put_many(&world, &tenant, 30).await;
    crm.down(Behaviour::json(401, &json!({"message": format!("bad token {TOKEN}")})));
    sync(&world, &tenant, "contact").await;
    assert!(crm.asked().len() <= 26);
    let paused = state(&world, &tenant, "contact").await;
    assert_eq!(
        (&paused["waiting"], &paused["failed"], paused["paused_until"].is_string()),
        (&json!(30), &json!(0), true)
    );
    let error = paused["last_error"].as_str().unwrap();
    assert!(error.contains("401") && error.contains("`outbound.auth`") && error.contains("bad token …"), "{error}");
    // On demand too it waits.
    sync(&world, &tenant, "contact").await;
    assert!(crm.asked().is_empty());
    crm.well();
    run(&world, Duration::from_mins(5)).await;
    assert_eq!(crm.records("contacts").len(), 30);
    assert!(kept(&world, &tenant).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn tokens_that_end_within_a_run_are_renewed() {
    let auth = json!({"auth": {"type": "oauth2", "token_url": "https://login.example/token", "client_id": "hub",
        "client_secret": "s3cret-of-hub"}});
    let (world, tenant, crm) = synced_with(json!({}), auth).await;
    let tokens = Arc::new(AtomicUsize::new(0));
    let issued = Arc::clone(&tokens);
    world.internet.answer_at("https://login.example/token", move |_| {
        let n = issued.fetch_add(1, Ordering::Relaxed) + 1;
        Behaviour::json(200, &json!({"access_token": format!("token-{n}"), "token_type": "Bearer", "expires_in": 3600}))
    });
    // Each token is good for ten requests.
    let served = AtomicUsize::new(0);
    crm.script(move |_, asked| {
        let good = format!("Bearer token-{}", served.load(Ordering::Relaxed) / 10 + 1);
        if asked.authorization != good {
            return Fate::Instead(Behaviour::status(401));
        }
        served.fetch_add(1, Ordering::Relaxed);
        Fate::Served
    });
    put_many(&world, &tenant, 40).await;
    sync(&world, &tenant, "contact").await;
    let state = state(&world, &tenant, "contact").await;
    assert_eq!(
        (&state["sent"], &state["waiting"], state.get("paused_until")),
        (&json!(40), &json!(0), None),
        "{state}"
    );
    assert_eq!((crm.records("contacts").len(), tokens.load(Ordering::Relaxed)), (40, 4));
}

#[tokio::test(start_paused = true)]
async fn anothers_broken_crm_slows_nobody() {
    let world = World::new().await;
    let (slow, fast) = (Crm::at(&world, CRM_URL), Crm::at(&world, "https://other.example"));
    let here = world.provision(TENANT, &[integration(CRM_URL, json!({}), json!({}))]).await;
    let other = world.provision("other", &[integration("https://other.example", json!({}), json!({}))]).await;
    slow.down(Behaviour::status(200).after(Duration::from_mins(5)));
    put_many(&world, &here, 60).await;
    put_many(&world, &other, 60).await;
    let triggers = world.run_triggers();
    ask(&world, &here, "contact", json!({})).await;
    ask(&world, &other, "contact", json!({})).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fast.records("contacts").len(), 60);
    assert!(slow.records("contacts").is_empty());
    assert_eq!(state(&world, &other, "contact").await.get("paused_until"), None);
    triggers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_minute_has_more_calls_than_the_limit() {
    let limits = json!({"limits": {"per_minute": 10, "per_day": 1000}});
    let (world, tenant, crm) = synced_with(limits, json!({})).await;
    put_many(&world, &tenant, 35).await;
    world.put(&tenant, "/v1/companies/com_1", &json!({"name": "Engines"})).await;
    run(&world, Duration::from_mins(15)).await;
    let mut minutes: BTreeMap<String, usize> = BTreeMap::new();
    let asked = crm.asked();
    for asked in &asked {
        *minutes.entry(asked.at.to_string()[..16].to_owned()).or_default() += 1;
    }
    assert!(minutes.values().all(|calls| *calls <= 10), "{minutes:?}");
    assert_eq!((crm.records("contacts").len(), crm.records("companies").len(), asked.len()), (35, 1, 36));
    assert!(minutes.len() <= 5, "it doesn't dawdle: {minutes:?}");
    assert_eq!(kept(&world, &tenant).await, Vec::<Value>::new());
    assert_eq!(state(&world, &tenant, "contact").await["waiting"], 0);
}

#[tokio::test(start_paused = true)]
async fn the_days_limit_holds_until_midnight() {
    let limits = json!({"limits": {"per_minute": 10, "per_day": 12}});
    let (world, tenant, crm) = synced_with(limits, json!({})).await;
    put_many(&world, &tenant, 20).await;
    run(&world, Duration::from_hours(11)).await;
    assert_eq!(crm.records("contacts").len(), 12);
    assert_eq!(state(&world, &tenant, "contact").await["waiting"], 8);
    run(&world, Duration::from_mins(70)).await;
    assert_eq!(crm.records("contacts").len(), 20);
}
