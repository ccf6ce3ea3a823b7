//! What the CRM has already is paged in (`"direction": "inbound", "full": true`).

use std::time::Duration;

use local::aws::{Fault, Service};
use serde_json::{Value, json};

use super::{ask, contact, contacts, kept, put, run, state, sync, synced};
use crate::world::{
    Behaviour, Tenant, World,
    crm::{Crm, Fate},
};

fn fill(world: &World, crm: &Crm, count: usize) {
    for n in 0..count {
        let fields = json!({"first_name": format!("N{n}"), "email": format!("n{n}@example.com")});
        crm.edit("contacts", &format!("x{n:03}"), &fields, world.now());
    }
}

async fn import(world: &World, tenant: &Tenant) {
    ask(world, tenant, "contact", json!({"direction": "inbound", "full": true})).await;
}

async fn progress(world: &World, tenant: &Tenant) -> Value {
    state(world, tenant, "contact").await["import"].clone()
}

#[tokio::test(start_paused = true)]
async fn all_pages_are_taken_in_once_and_nothing_is_sent_back() {
    let (world, tenant, crm) = synced().await;
    fill(&world, &crm, 45);
    crm.page(20);
    import(&world, &tenant).await;
    run(&world, Duration::from_mins(1)).await;
    assert_eq!(crm.calls(), ["GET /contacts"; 3]);
    let done = progress(&world, &tenant).await;
    assert_eq!(
        (&done["status"], &done["imported"], &done["matched"], &done["failed"]),
        (&json!("done"), &json!(45), &json!(0), &json!(0)),
        "{done}"
    );
    assert!(done["started_at"].is_string() && done["finished_at"].is_string(), "{done}");
    assert_eq!(contacts(&world, &tenant).await.len(), 45);
    // A second time changes nothing, and nothing goes out.
    world.advance(60);
    import(&world, &tenant).await;
    run(&world, Duration::from_mins(11)).await;
    assert_eq!(crm.calls(), ["GET /contacts"; 3]);
    assert_eq!(contacts(&world, &tenant).await.len(), 45);
    assert_eq!(state(&world, &tenant, "contact").await["waiting"], 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_here_too_is_matched_by_id_then_email_then_phone() {
    let (world, tenant, crm) = synced().await;
    // Linked already; the same address; the same number; the same address as one and number as another; nobody.
    put(&world, &tenant, "linked", json!({"first_name": "Linked", "email": "l@example.com"})).await;
    sync(&world, &tenant, "contact").await;
    put(&world, &tenant, "mail", json!({"first_name": "Mail", "email": "Mail@example.com"})).await;
    put(&world, &tenant, "phone", json!({"first_name": "Phone", "phone_number": "+14155550133"})).await;
    put(&world, &tenant, "both", json!({"first_name": "Both", "email": "both@example.com"})).await;
    world.advance(60);
    let there = [
        ("x1", json!({"last_name": "A", "email": "mail@example.com"})),
        ("x2", json!({"last_name": "B", "phone": "(415) 555-0133", "first_name": null, "email": ""})),
        ("x3", json!({"last_name": "C", "email": "both@example.com", "phone": "+14155550134"})),
        ("x4", json!({"last_name": "D", "email": "new@example.com"})),
    ];
    for (id, fields) in &there {
        crm.edit("contacts", id, fields, world.now());
    }
    import(&world, &tenant).await;
    run(&world, Duration::from_secs(4)).await;
    let done = progress(&world, &tenant).await;
    assert_eq!((&done["imported"], &done["matched"]), (&json!(5), &json!(3)), "{done}");
    for (id, first, last) in [("mail", "Mail", "A"), ("phone", "Phone", "B"), ("both", "Both", "C")] {
        let ours = contact(&world, &tenant, &format!("con_{id}")).await;
        assert_eq!((&ours["first_name"], &ours["last_name"]), (&json!(first), &json!(last)), "{ours}");
    }
    assert_eq!(contacts(&world, &tenant).await.len(), 5);
    // What only we know goes there, to the same records.
    run(&world, Duration::from_mins(6)).await;
    let records = crm.records("contacts");
    assert_eq!(records.len(), 5, "{records:?}");
    let find = |id: &str| records.iter().find(|record| record["id"] == id).unwrap().clone();
    for (id, first) in [("crm_1", "Linked"), ("x1", "Mail"), ("x2", "Phone"), ("x3", "Both")] {
        assert_eq!(find(id)["first_name"], first, "{records:?}");
    }
    assert_eq!(state(&world, &tenant, "contact").await["waiting"], 0);
}

#[tokio::test(start_paused = true)]
async fn an_import_goes_on_where_its_run_died() {
    let (world, tenant, crm) = synced().await;
    fill(&world, &crm, 60);
    crm.page(20);
    import(&world, &tenant).await;
    // The run dies within the second page.
    crm.script(|n, _| if n == 1 { Fate::Slow(Duration::from_secs(9)) } else { Fate::Served });
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let half = progress(&world, &tenant).await;
    assert_eq!((&half["status"], &half["imported"]), (&json!("running"), &json!(20)), "{half}");
    world.weather(|_, call| if call.operation == "TransactWriteItems" { Fault::HangAfter } else { Fault::None }.into());
    tokio::time::sleep(Duration::from_mins(1)).await;
    world.fail(|_| Fault::None);
    tokio::time::sleep(Duration::from_mins(40)).await; // the job comes again after half an hour
    triggers.stop().await;
    let done = progress(&world, &tenant).await;
    assert_eq!((&done["status"], &done["imported"]), (&json!("done"), &json!(60)), "{done}");
    assert_eq!(contacts(&world, &tenant).await.len(), 60);
    let asked = crm.asked();
    assert!(asked.iter().skip(1).all(|asked| asked.query.contains("cursor=")), "never from the beginning: {asked:?}");
    assert!((4..=5).contains(&asked.len()), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn an_import_goes_on_soon_after_an_outage_of_aws() {
    for service in [Service::DynamoDb, Service::SecretsManager] {
        let (world, tenant, crm) = synced().await;
        fill(&world, &crm, 60);
        crm.page(20);
        import(&world, &tenant).await;
        world.restart();
        let refusal = Fault::Refuse { status: 500, code: "InternalServerError" };
        world.weather(move |_, call| if call.service == service { refusal } else { Fault::None }.into());
        run(&world, Duration::from_mins(20)).await;
        assert!(crm.asked().is_empty(), "{service:?}");
        world.fail(|_| Fault::None);
        run(&world, Duration::from_mins(2)).await;
        let done = progress(&world, &tenant).await;
        assert_eq!((&done["status"], &done["imported"]), (&json!("done"), &json!(60)), "{service:?}: {done}");
        assert_eq!(crm.calls().len(), 3, "{service:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_cant_be_read_are_tried_again_and_then_end_the_import() {
    for (failures, status) in [(2, "done"), (99, "failed")] {
        let (world, tenant, crm) = synced().await;
        fill(&world, &crm, 30);
        crm.page(20);
        crm.script(move |n, _| match n {
            1.. if n <= failures => Fate::Instead(Behaviour::json(503, &json!({"message": "not now"}))),
            _ => Fate::Served,
        });
        import(&world, &tenant).await;
        run(&world, Duration::from_mins(10)).await;
        let end = progress(&world, &tenant).await;
        assert_eq!(end["status"], status, "{end}");
        assert_eq!(end.get("error").is_some(), status == "failed", "{end}");
        assert_eq!(crm.asked().len(), 4, "one page, and three tries of the next");
        // It can be begun anew.
        crm.well();
        import(&world, &tenant).await;
        run(&world, Duration::from_mins(1)).await;
        assert_eq!(
            (&progress(&world, &tenant).await["status"], contacts(&world, &tenant).await.len()),
            (&json!("done"), 30)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_cant_be_taken_in_is_a_failure_that_can_be_retried() {
    let entities = json!({"entities": {"contact": {"fields": {
        "first_name": {"path": "first_name"},
        "email": {"path": "email", "validate": "email", "required": true},
        "smrt_crm_id": {"path": "custom_fields.smrt_crm_id"},
        "updated_at": {"path": "updated_at", "transform": "timestamp"}}}}});
    let (world, tenant, crm) = super::synced_with(json!({}), entities).await;
    fill(&world, &crm, 3);
    crm.edit("contacts", "x999", &json!({"first_name": "Nobody", "email": "none"}), world.now());
    import(&world, &tenant).await;
    run(&world, Duration::from_mins(1)).await;
    let done = progress(&world, &tenant).await;
    assert_eq!((&done["status"], &done["imported"], &done["failed"]), (&json!("done"), &json!(3), &json!(1)), "{done}");
    let failures = kept(&world, &tenant).await;
    assert_eq!(failures.len(), 1);
    assert_eq!((&failures[0]["operation"], &failures[0]["payload"]["id"]), (&json!("sync_record"), &json!("x999")));
    assert!(failures[0]["error"].as_str().unwrap().contains("email"), "{}", failures[0]);
    // As it is, it fails again: the same failure.
    world.advance(60);
    let retry = format!("/v1/failures/{}/retry", failures[0]["id"].as_str().unwrap());
    assert_eq!(world.post(&tenant, &retry).await.status, 202);
    run(&world, Duration::from_mins(1)).await;
    let again = kept(&world, &tenant).await;
    assert_eq!((again.len(), &again[0]["id"], &again[0]["attempts"]), (1, &failures[0]["id"], &json!(2)), "{again:?}");
    // Mended over there, the next import takes it in.
    crm.edit("contacts", "x999", &json!({"email": "somebody@example.com"}), world.now());
    import(&world, &tenant).await;
    run(&world, Duration::from_mins(1)).await;
    assert_eq!(contacts(&world, &tenant).await.len(), 4);
    assert_eq!(progress(&world, &tenant).await["failed"], 0);
}

#[tokio::test(start_paused = true)]
async fn asked_for_twice_it_is_one_import() {
    let (world, tenant, crm) = synced().await;
    fill(&world, &crm, 30);
    import(&world, &tenant).await;
    import(&world, &tenant).await;
    run(&world, Duration::from_mins(2)).await;
    assert_eq!(crm.calls(), ["GET /contacts"]);
    assert_eq!(progress(&world, &tenant).await["imported"], 30);
}
