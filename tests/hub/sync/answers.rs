//! Answers that say nothing that can be used: each is told clearly, and nothing is lost.

use std::time::Duration;

use serde_json::json;

use super::{NUMBER, ask, kept, put, run, state, sync, synced};
use crate::world::{Behaviour, crm::Fate};

#[tokio::test(start_paused = true)]
async fn an_answer_that_cant_be_used_is_told_and_the_record_is_sent_once() {
    let table = [
        ("html", Behaviour::text(200, "<!DOCTYPE html><title>Log in</title>"), "web page"),
        ("empty", Behaviour::text(201, ""), "empty"),
        ("error inside", Behaviour::json(200, &json!({"error": "quota of the plan"})), "quota of the plan"),
        ("no success", Behaviour::json(200, &json!({"success": false, "id": "x", "message": "no"})), "error inside"),
        ("no id", Behaviour::json(201, &json!({"name": "Ada"})), "no usable id"),
        ("another type", Behaviour::json(201, &json!({"id": {"a": 1}})), "no usable id"),
        ("a list", Behaviour::json(201, &json!([1, 2])), "no usable id"),
        ("text", Behaviour::text(200, "OK"), "isn't JSON"),
        ("half", Behaviour::text(200, "{\"id\": \"crm_"), "isn't JSON"),
        ("10 MB", Behaviour::json(201, &json!({"id": "x", "blob": "x".repeat(10_000_000)})), "more than 1048576 bytes"),
        ("redirect", Behaviour::status(302), "302"),
        ("nonsense", Behaviour::status(299), "isn't JSON"),
    ];
    for (name, behaviour, told) in table {
        for is_done in [false, true] {
            let (world, tenant, crm) = synced().await;
            crm.ignore_keys();
            for id in ["ada", "bob", "eve"] {
                put(&world, &tenant, id, json!({"first_name": id, "phone_number": NUMBER})).await;
            }
            let bad = behaviour.clone();
            crm.script(move |_, _| if is_done { Fate::Lost(bad.clone()) } else { Fate::Instead(bad.clone()) });
            sync(&world, &tenant, "contact").await;
            let broken = state(&world, &tenant, "contact").await;
            let error = broken["last_error"].as_str().unwrap_or_default();
            assert!(error.contains(told), "{name}: {broken}");
            assert_eq!((&broken["sent"], &broken["waiting"]), (&json!(0), &json!(3)), "{name}: {broken}");
            crm.well();
            run(&world, Duration::from_mins(10)).await;
            let records = crm.records("contacts");
            let well = state(&world, &tenant, "contact").await;
            // A redirect says that nothing was done; should that be a lie, the record is there twice.
            if name != "redirect" || !is_done {
                assert_eq!(records.len(), 3, "{name}, done: {is_done}: {records:?}");
            }
            assert_eq!(
                (&well["sent"], &well["waiting"], well.get("last_error")),
                (&json!(3), &json!(0), None),
                "{name}"
            );
            assert!(kept(&world, &tenant).await.is_empty(), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_over_there_is_made_again() {
    let (world, tenant, crm) = synced().await;
    put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
    sync(&world, &tenant, "contact").await;
    crm.remove("contacts", "crm_1");
    world.advance(1);
    put(&world, &tenant, "ada", json!({"first_name": "Countess", "email": "ada@example.com"})).await;
    sync(&world, &tenant, "contact").await;
    assert_eq!(crm.calls(), ["POST /contacts", "PATCH /contacts/crm_1", "POST /contacts"]);
    let record = crm.only("contacts");
    assert_eq!(
        (&record["id"], &record["first_name"], &record["email"]),
        (&json!("crm_2"), &json!("Countess"), &json!("ada@example.com"))
    );
    let state = state(&world, &tenant, "contact").await;
    assert_eq!((&state["waiting"], &state["failed"]), (&json!(0), &json!(0)), "{state}");
    // What is to be deleted and isn't there is deleted.
    crm.remove("contacts", "crm_2");
    world.advance(1);
    world.delete(&tenant, "/v1/contacts/con_ada").await;
    sync(&world, &tenant, "contact").await;
    run(&world, Duration::from_mins(10)).await;
    assert_eq!(crm.calls(), ["DELETE /contacts/crm_2"]);
    assert!(kept(&world, &tenant).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_update_answered_with_another_record_is_a_failure() {
    let (world, tenant, crm) = synced().await;
    put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
    sync(&world, &tenant, "contact").await;
    crm.script(|_, _| Fate::Lost(Behaviour::json(200, &json!({"id": "crm_99"}))));
    world.advance(1);
    put(&world, &tenant, "ada", json!({"first_name": "Countess"})).await;
    ask(&world, &tenant, "contact", json!({})).await;
    run(&world, Duration::from_mins(10)).await;
    let failures = kept(&world, &tenant).await;
    assert_eq!(
        (failures.len(), &failures[0]["code"], &failures[0]["attempts"]),
        (1, &json!("another_record"), &json!(1))
    );
    assert_eq!(failures[0]["payload"], json!({"first_name": "Countess"}));
    assert!(failures[0]["error"].as_str().unwrap().contains("merged"), "{}", failures[0]);
    crm.well();
    let id = failures[0]["id"].as_str().unwrap();
    assert_eq!(world.post(&tenant, &format!("/v1/failures/{id}/retry")).await.status, 202);
    run(&world, Duration::from_mins(1)).await;
    assert!(kept(&world, &tenant).await.is_empty());
    assert_eq!(crm.only("contacts")["first_name"], "Countess");
}
