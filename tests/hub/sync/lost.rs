//! What was done over there and whose answer was lost is done once.

use std::time::Duration;

use local::aws::Fault;
use serde_json::json;
use shared::outgoing::SendError;

use super::{ask, batch, kept, put, run, state, sync, synced, synced_with};
use crate::world::{Behaviour, crm::Fate};

#[tokio::test(start_paused = true)]
async fn a_create_whose_answer_is_lost_makes_one_record() {
    let losses = [
        ("closed", Behaviour::error(SendError::ConnectionClosed)),
        ("500", Behaviour::status(500)),
        ("502", Behaviour::text(502, "<html>Bad gateway</html>")),
        ("late", Behaviour::status(201).after(Duration::from_mins(1))),
        ("html", Behaviour::text(200, "<!doctype html>")),
    ];
    for (name, loss) in losses {
        for (honours_keys, finds) in [(true, true), (false, true), (true, false)] {
            let entities = if finds { json!({}) } else { json!({"entities": {"contact": {"find": null}}}) };
            let (world, tenant, crm) = synced_with(json!({}), entities).await;
            if !honours_keys {
                crm.ignore_keys();
            }
            let loss = loss.clone();
            crm.script(move |n, _| if n == 0 { Fate::Lost(loss.clone()) } else { Fate::Served });
            put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
            ask(&world, &tenant, "contact", json!({})).await;
            run(&world, Duration::from_mins(2)).await;
            let asked = crm.asked();
            let calls: Vec<&str> = asked.iter().map(|asked| &asked.what[..]).collect();
            let case = format!("{name}, keys: {honours_keys}, look-up: {finds}: {calls:?}");
            let expected: &[&str] = if finds {
                &["POST /contacts", "GET /contacts", "PATCH /contacts/crm_1"]
            } else {
                &["POST /contacts", "POST /contacts"]
            };
            assert_eq!(calls, expected, "{case}");
            if !finds {
                assert_eq!(asked[0].key, asked[1].key);
            }
            assert_eq!(crm.only("contacts")["first_name"], "Ada", "{case}");
            let state = state(&world, &tenant, "contact").await;
            assert_eq!((&state["sent"], &state["waiting"]), (&json!(1), &json!(0)), "{case}: {state}");
            assert!(kept(&world, &tenant).await.is_empty(), "{case}");
            // It is the one that later changes go to.
            world.advance(1);
            put(&world, &tenant, "ada", json!({"first_name": "Countess"})).await;
            sync(&world, &tenant, "contact").await;
            assert_eq!(crm.calls(), ["PATCH /contacts/crm_1"], "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_didnt_happen_is_made_after_a_look() {
    let (world, tenant, crm) = synced().await;
    crm.script(|n, _| if n == 0 { Fate::Instead(Behaviour::status(500)) } else { Fate::Served });
    put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
    ask(&world, &tenant, "contact", json!({})).await;
    run(&world, Duration::from_mins(2)).await;
    assert_eq!(crm.calls(), ["POST /contacts", "GET /contacts", "POST /contacts"]);
    crm.only("contacts");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_right_after_the_create_leaves_one_record() {
    // What comes of the creates is written or not: the run dies before it hears of that, or AWS fails it.
    let refusal = Fault::Refuse { status: 500, code: "InternalServerError" };
    let faults =
        [(Fault::Hang, 1), (Fault::HangAfter, 1), (Fault::TimeOut, 200), (Fault::LoseAnswer, 200), (refusal, 200)];
    for (fault, seconds) in faults {
        for changes in [false, true] {
            let (world, tenant, crm) = synced().await;
            crm.ignore_keys();
            for name in ["ada", "bob"] {
                put(&world, &tenant, name, json!({"first_name": name})).await;
            }
            world.weather(move |_, call| {
                if call.operation == "TransactWriteItems" { fault } else { Fault::None }.into()
            });
            let run_of = world.invoke("sync-contacts", batch(&tenant));
            let ended = tokio::time::timeout(Duration::from_secs(seconds), run_of).await;
            assert_eq!(ended.is_err(), seconds == 1, "{fault:?}");
            world.fail(|_| Fault::None);
            world.restart();
            assert_eq!(crm.asked().len(), 2, "{fault:?}");
            world.advance(1);
            if changes {
                put(&world, &tenant, "ada", json!({"first_name": "Countess"})).await;
            }
            run(&world, Duration::from_mins(20)).await;
            let (records, asked) = (crm.records("contacts"), crm.asked());
            assert_eq!(records.len(), 2, "{fault:?}, changes: {changes}: {asked:?}");
            let first = if changes { "Countess" } else { "ada" };
            let ada = records.iter().find(|record| record["custom_fields"]["smrt_crm_id"] == "con_ada").unwrap();
            assert_eq!(ada["first_name"], first);
            assert_eq!(state(&world, &tenant, "contact").await["waiting"], 0, "{fault:?}, changes: {changes}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_doubt_of_a_dead_run_outlives_whatever_comes_first() {
    // The next run may not call, is told to come later, finds the CRM closed, or is an import.
    for case in ["limit", "later", "closed", "import"] {
        let limits = json!({"limits": {"per_minute": if case == "limit" { 1 } else { 100 }, "per_day": 1000}});
        let (world, tenant, crm) = synced_with(limits, json!({})).await;
        crm.ignore_keys();
        put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
        world.weather(|_, call| if call.operation == "TransactWriteItems" { Fault::Hang } else { Fault::None }.into());
        let run_of = world.invoke("sync-contacts", batch(&tenant));
        assert!(tokio::time::timeout(Duration::from_secs(1), run_of).await.is_err());
        world.fail(|_| Fault::None);
        world.advance(if case == "limit" { 0 } else { 200 });
        let behaviour = match case {
            "later" => Some(Behaviour::status(429)),
            "closed" => Some(Behaviour::error(SendError::ConnectionFailed)),
            _ => None,
        };
        crm.script(move |n, _| match &behaviour {
            Some(behaviour) if n < 2 => Fate::Instead(behaviour.clone()),
            _ => Fate::Served,
        });
        if case == "import" {
            ask(&world, &tenant, "contact", json!({"direction": "inbound", "full": true})).await;
        }
        run(&world, Duration::from_mins(20)).await;
        crm.only("contacts");
        assert_eq!(state(&world, &tenant, "contact").await["waiting"], 0, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_while_the_record_is_in_flight_is_sent_too() {
    let (world, tenant, crm) = synced().await;
    crm.script(|n, _| if n == 0 { Fate::Slow(Duration::from_secs(5)) } else { Fate::Served });
    put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
    let triggers = world.run_triggers();
    ask(&world, &tenant, "contact", json!({})).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    put(&world, &tenant, "ada", json!({"first_name": "Countess"})).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    triggers.stop().await;
    assert_eq!(crm.calls(), ["POST /contacts", "PATCH /contacts/crm_1"]);
    assert_eq!(crm.only("contacts")["first_name"], "Countess");
    assert_eq!(state(&world, &tenant, "contact").await["waiting"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_while_the_record_is_in_flight_leaves_nothing_there() {
    let (world, tenant, crm) = synced().await;
    crm.script(|n, _| if n == 0 { Fate::Slow(Duration::from_secs(5)) } else { Fate::Served });
    put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
    let triggers = world.run_triggers();
    ask(&world, &tenant, "contact", json!({})).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.delete(&tenant, "/v1/contacts/con_ada").await.status, 204);
    tokio::time::sleep(Duration::from_secs(10)).await;
    triggers.stop().await;
    assert_eq!(crm.calls(), ["POST /contacts", "DELETE /contacts/crm_1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_after_a_lost_create_is_deleted_there_too() {
    for is_made in [true, false] {
        let (world, tenant, crm) = synced().await;
        let unanswered = Behaviour::status(500);
        crm.script(move |n, _| match (n, is_made) {
            (0, true) => Fate::Lost(unanswered.clone()),
            (0, false) => Fate::Instead(unanswered.clone()),
            _ => Fate::Served,
        });
        put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
        sync(&world, &tenant, "contact").await;
        world.advance(1);
        assert_eq!(world.delete(&tenant, "/v1/contacts/con_ada").await.status, 204);
        run(&world, Duration::from_mins(6)).await;
        assert!(crm.records("contacts").is_empty());
        let expected = if is_made { "DELETE /contacts/crm_1" } else { "GET /contacts" };
        assert_eq!(crm.calls().last().unwrap(), expected);
        assert_eq!(state(&world, &tenant, "contact").await["waiting"], 0);
    }
}

#[tokio::test(start_paused = true)]
async fn two_runs_at_once_send_nothing_twice() {
    let (world, tenant, crm) = synced().await;
    crm.ignore_keys();
    crm.script(|_, _| Fate::Slow(Duration::from_secs(2)));
    for n in 0..20 {
        put(&world, &tenant, &n.to_string(), json!({"first_name": "A"})).await;
    }
    let triggers = world.run_triggers();
    for _ in 0..3 {
        ask(&world, &tenant, "contact", json!({})).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_mins(6)).await;
    triggers.stop().await;
    assert_eq!((crm.records("contacts").len(), crm.asked().len()), (20, 20));
}
