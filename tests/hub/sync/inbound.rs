//! What the CRM tells of records that we keep in step with it (contract §5).

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{NUMBER, ask, contact, contacts, kept, put, run, state, sync, synced};
use crate::world::{
    Tenant, World, call_ended,
    crm::{Crm, Fate},
};

/// A notification, of a contact as it is over there.
fn told(event: &str, kind: &str, record: &Value) -> Value {
    json!({"event_id": event, "event_type": format!("contact.{kind}"), "contact": record})
}

async fn notify(world: &World, tenant: &Tenant, event: &str, kind: &str, record: &Value) -> String {
    let answer = world.send(tenant, "external_crm", &told(event, kind, record)).await;
    assert!(["processed", "duplicate"].contains(&answer.text("/status")), "{answer:?}");
    answer.text("/data/contact_id").to_owned()
}

fn ada() -> Value {
    json!({"first_name": "Ada", "last_name": "Lovelace", "phone_number": NUMBER, "email": "ada@example.com"})
}

/// Ada, here and there, as `con_ada` and `crm_1`.
async fn linked() -> (World, Tenant, Arc<Crm>) {
    let (world, tenant, crm) = synced().await;
    put(&world, &tenant, "ada", ada()).await;
    sync(&world, &tenant, "contact").await;
    assert_eq!(crm.calls(), ["POST /contacts"]);
    world.advance(60);
    (world, tenant, crm)
}

fn later(world: &World, seconds: i64) -> Timestamp {
    world.now() + SignedDuration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_change_over_there_changes_ours_and_isnt_sent_back() {
    let (world, tenant, crm) = linked().await;
    let record = crm.edit("contacts", "crm_1", &json!({"last_name": "King"}), world.now());
    assert_eq!(notify(&world, &tenant, "n1", "updated", &record).await, "con_ada");
    let ours = contact(&world, &tenant, "con_ada").await;
    assert_eq!((&ours["first_name"], &ours["last_name"]), (&json!("Ada"), &json!("King")));
    assert_eq!(contacts(&world, &tenant).await.len(), 1);
    sync(&world, &tenant, "contact").await;
    run(&world, Duration::from_mins(11)).await;
    assert!(crm.asked().is_empty());
    // Repeated and older word changes nothing.
    let old = json!({"id": "crm_1", "last_name": "Byron", "updated_at": later(&world, -3600)});
    for (event, record) in [("n1", &record), ("n2", &record), ("n0", &old)] {
        notify(&world, &tenant, event, "updated", record).await;
    }
    sync(&world, &tenant, "contact").await;
    assert_eq!(contact(&world, &tenant, "con_ada").await["last_name"], "King");
}

#[tokio::test(start_paused = true)]
async fn what_is_emptied_over_there_is_emptied_here() {
    let (world, tenant, crm) = linked().await;
    let record = json!({"id": "crm_1", "first_name": "Ada", "email": null, "phone": " ", "updated_at": world.now()});
    assert_eq!(notify(&world, &tenant, "n1", "updated", &record).await, "con_ada");
    let ours = contact(&world, &tenant, "con_ada").await;
    assert_eq!((&ours["email"], &ours["phone_number"]), (&Value::Null, &Value::Null), "{ours}");
    assert_eq!(
        (&ours["first_name"], &ours["last_name"]),
        (&json!("Ada"), &json!("Lovelace")),
        "what isn't named stays"
    );
    crm.edit("contacts", "crm_1", &json!({"email": null, "phone": null}), world.now());
    sync(&world, &tenant, "contact").await;
    assert!(crm.asked().is_empty(), "nothing of it is sent back");
    // An older word doesn't bring it back, whichever comes first.
    let eve = |email: Value, at: i64| json!({"id": "x2", "email": email, "updated_at": later(&world, at)});
    let id = notify(&world, &tenant, "n2", "updated", &eve(Value::Null, 20)).await;
    notify(&world, &tenant, "n3", "created", &eve("eve@example.com".into(), 10)).await;
    assert_eq!(contact(&world, &tenant, &id).await["email"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn the_echo_of_what_we_sent_changes_nothing() {
    let (world, tenant, crm) = linked().await;
    let created = crm.only("contacts");
    let subscription = json!({"url": "https://example.com/hooks", "event_types": ["*"]});
    world.subscribe(&tenant, &subscription).await;
    let fields = |mut contact: Value| {
        // Where it is from and what it is called there is news.
        contact
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !["external_id", "system_id", "updated_at"].contains(&&name[..]));
        contact
    };
    let before = fields(contact(&world, &tenant, "con_ada").await);
    assert_eq!(notify(&world, &tenant, "n1", "created", &created).await, "con_ada");
    assert_eq!(fields(contact(&world, &tenant, "con_ada").await), before);
    run(&world, Duration::from_secs(5)).await;
    let told: Vec<String> = world.internet.take().iter().map(|a| a.header("x-webhook-event").to_owned()).collect();
    assert!(told.is_empty(), "{told:?}");
    let mut changed = ada();
    changed["last_name"] = "King".into();
    put(&world, &tenant, "ada", changed).await;
    sync(&world, &tenant, "contact").await;
    assert_eq!(crm.calls(), ["PATCH /contacts/crm_1"]);
    let updated = crm.only("contacts");
    // The second first, then the first again.
    for (event, record) in [("n2", &updated), ("n3", &created), ("n4", &updated)] {
        notify(&world, &tenant, event, "updated", record).await;
        sync(&world, &tenant, "contact").await;
        assert_eq!(contact(&world, &tenant, "con_ada").await["last_name"], "King", "{event}");
    }
    assert!(crm.asked().is_empty());
    assert_eq!(contacts(&world, &tenant).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_echo_of_a_call_changes_nothing() {
    let (world, tenant, crm) = synced().await;
    let call = world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    let id = call.text("/data/interaction_id").to_owned();
    sync(&world, &tenant, "interaction").await;
    let before = (world.phone(&tenant, NUMBER).await, world.interactions(&tenant, NUMBER).await.len());
    for (event, kind) in [("n1", "created"), ("n2", "updated")] {
        let told = json!({"event_id": event, "event_type": format!("interaction.{kind}"), "interaction": crm.only("interactions")});
        let answer = world.send(&tenant, "external_crm", &told).await;
        assert_eq!(answer.text("/data/interaction_id"), id, "{answer:?}");
    }
    sync(&world, &tenant, "interaction").await;
    assert_eq!((world.phone(&tenant, NUMBER).await, world.interactions(&tenant, NUMBER).await.len()), before);
    assert_eq!(crm.calls(), ["POST /interactions"]);
}

#[tokio::test(start_paused = true)]
async fn both_sides_changes_meet_field_by_field_and_the_later_wins() {
    // Over there the e-mail address changes at -30 s, and the name at `theirs`; here the name at 0.
    for (theirs, name) in [(-20, "Ours"), (20, "Theirs")] {
        for is_told_first in [true, false] {
            let (world, tenant, crm) = linked().await;
            world.advance(100);
            let edited = json!({"email": "new@example.com"});
            crm.edit("contacts", "crm_1", &edited, later(&world, -30));
            let first = crm.only("contacts");
            let second = crm.edit("contacts", "crm_1", &json!({"last_name": "Theirs"}), later(&world, theirs));
            let mut ours = ada();
            ours["last_name"] = "Ours".into();
            ours["company_name"] = "Engines".into();
            if is_told_first {
                notify(&world, &tenant, "n1", "updated", &first).await;
                // What is put here replaces the whole record.
                ours["email"] = "new@example.com".into();
                put(&world, &tenant, "ada", ours).await;
                notify(&world, &tenant, "n2", "updated", &second).await;
            } else {
                put(&world, &tenant, "ada", ours).await;
                notify(&world, &tenant, "n2", "updated", &second).await;
                notify(&world, &tenant, "n1", "updated", &first).await;
            }
            sync(&world, &tenant, "contact").await;
            let (ours, there) = (contact(&world, &tenant, "con_ada").await, crm.only("contacts"));
            let case = format!("{theirs} {is_told_first}: {ours} {there}");
            assert_eq!((&ours["last_name"], &there["last_name"]), (&json!(name), &json!(name)), "{case}");
            assert_eq!((&ours["company_name"], &there["company"]), (&json!("Engines"), &json!("Engines")), "{case}");
            assert_eq!(ours["email"], there["email"], "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn different_fields_changed_on_both_sides_are_both_kept() {
    let (world, tenant, crm) = linked().await;
    world.put(&tenant, "/v1/companies/com_1", &json!({"name": "Engines"})).await;
    let mut ours = ada();
    ours["company_name"] = "Engines".into();
    put(&world, &tenant, "ada", ours).await;
    world.advance(1);
    let record = crm.edit("contacts", "crm_1", &json!({"email": "new@example.com"}), world.now());
    notify(&world, &tenant, "n1", "updated", &record).await;
    sync(&world, &tenant, "contact").await;
    let (ours, there) = (contact(&world, &tenant, "con_ada").await, crm.only("contacts"));
    for record in [&ours, &there] {
        assert_eq!(record["email"], "new@example.com", "{record}");
    }
    assert_eq!((&ours["company_name"], &there["company"]), (&json!("Engines"), &json!("Engines")));
    let asked = crm.asked();
    assert_eq!((asked.len(), &asked[0].body), (1, &json!({"company": "Engines"})));
}

#[tokio::test(start_paused = true)]
async fn a_notification_before_the_answer_is_known_makes_no_second_record() {
    // The CRM tells of the record while the answer to its creation is under way; with our id in it, or without.
    for names_ours in [true, false] {
        let (world, tenant, crm) = synced().await;
        crm.script(|n, _| if n == 0 { Fate::Slow(Duration::from_secs(5)) } else { Fate::Served });
        put(&world, &tenant, "ada", ada()).await;
        let triggers = world.run_triggers();
        ask(&world, &tenant, "contact", json!({})).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut record = crm.only("contacts");
        if !names_ours {
            record.as_object_mut().unwrap().remove("custom_fields");
        }
        let id = notify(&world, &tenant, "n1", "created", &record).await;
        assert_eq!(id == "con_ada", names_ours);
        tokio::time::sleep(Duration::from_mins(6)).await;
        triggers.stop().await;
        let (ours, there) = (contacts(&world, &tenant).await, crm.only("contacts"));
        assert_eq!((ours.len(), &ours[0]["id"]), (1, &json!("con_ada")), "{names_ours}: {ours:?}");
        assert_eq!((&ours[0]["last_name"], &there["last_name"]), (&json!("Lovelace"), &json!("Lovelace")));
        let state = state(&world, &tenant, "contact").await;
        assert_eq!((&state["waiting"], &state["failed"]), (&json!(0), &json!(0)), "{state}");
        // Later word reaches the one that is left.
        let record = crm.edit("contacts", "crm_1", &json!({"last_name": "King"}), world.now());
        assert_eq!(notify(&world, &tenant, "n2", "updated", &record).await, "con_ada", "{names_ours}");
        assert_eq!(contact(&world, &tenant, "con_ada").await["last_name"], "King");
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_over_there_while_the_answer_is_under_way_is_kept() {
    for names_ours in [true, false] {
        let (world, tenant, crm) = synced().await;
        crm.script(|n, _| if n == 0 { Fate::Slow(Duration::from_secs(5)) } else { Fate::Served });
        put(&world, &tenant, "ada", ada()).await;
        let triggers = world.run_triggers();
        ask(&world, &tenant, "contact", json!({})).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut record = crm.edit("contacts", "crm_1", &json!({"last_name": "King"}), world.now());
        if !names_ours {
            record.as_object_mut().unwrap().remove("custom_fields");
        }
        notify(&world, &tenant, "n1", "updated", &record).await;
        tokio::time::sleep(Duration::from_mins(6)).await;
        triggers.stop().await;
        let (ours, there) = (contacts(&world, &tenant).await, crm.only("contacts"));
        assert_eq!((ours.len(), &ours[0]["id"]), (1, &json!("con_ada")), "{names_ours}: {ours:?}");
        assert_eq!((&ours[0]["last_name"], &there["last_name"]), (&json!("King"), &json!("King")), "{names_ours}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_began_over_there_is_linked_and_changed_from_here() {
    let (world, tenant, crm) = synced().await;
    let record = crm.edit("contacts", "x1", &json!({"first_name": "Eve", "phone": NUMBER}), world.now());
    let id = notify(&world, &tenant, "n1", "created", &record).await;
    run(&world, Duration::from_mins(6)).await;
    assert!(crm.asked().is_empty(), "it isn't sent back");
    let mut ours = contact(&world, &tenant, &id).await;
    ours["first_name"] = "Eva".into();
    world.advance(1);
    assert_eq!(world.put(&tenant, &format!("/v1/contacts/{id}"), &ours).await.status, 200);
    sync(&world, &tenant, "contact").await;
    let asked = crm.asked();
    assert_eq!(asked.iter().map(|asked| &asked.what[..]).collect::<Vec<_>>(), ["PATCH /contacts/x1"]);
    assert_eq!(asked[0].body["first_name"], "Eva");
    assert_eq!(crm.only("contacts")["phone"], NUMBER);
}

#[tokio::test(start_paused = true)]
async fn deletions_over_there_delete_here_unless_ours_is_newer() {
    let (world, tenant, crm) = linked().await;
    crm.remove("contacts", "crm_1");
    let gone = json!({"id": "crm_1", "updated_at": world.now()});
    notify(&world, &tenant, "n1", "deleted", &gone).await;
    assert_eq!(contact(&world, &tenant, "con_ada").await, Value::Null);
    sync(&world, &tenant, "contact").await;
    assert!(crm.asked().is_empty());
    // An older deletion than our last change: the record lives, and is made again there.
    let (world, tenant, crm) = linked().await;
    let then = world.now();
    crm.remove("contacts", "crm_1");
    world.advance(60);
    let mut changed = ada();
    changed["last_name"] = "King".into();
    put(&world, &tenant, "ada", changed).await;
    notify(&world, &tenant, "n1", "deleted", &json!({"id": "crm_1", "updated_at": then})).await;
    assert_eq!(contact(&world, &tenant, "con_ada").await["last_name"], "King");
    sync(&world, &tenant, "contact").await;
    let record = crm.only("contacts");
    assert_eq!((&record["id"], &record["last_name"]), (&json!("crm_2"), &json!("King")), "{:?}", crm.asked());
    // Late word about the first one is about nobody.
    let late = json!({"id": "crm_1", "last_name": "Late", "updated_at": later(&world, 60)});
    world.send(&tenant, "external_crm", &told("n9", "updated", &late)).await;
    notify(&world, &tenant, "n10", "deleted", &json!({"id": "crm_1", "updated_at": later(&world, 70)})).await;
    run(&world, Duration::from_mins(6)).await;
    assert_eq!(contact(&world, &tenant, "con_ada").await["last_name"], "King");
    assert_eq!(crm.only("contacts")["last_name"], "King");
    assert_eq!(contacts(&world, &tenant).await.len(), 1);
    assert!(kept(&world, &tenant).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_here_stays_deleted_whatever_older_word_comes() {
    let (world, tenant, crm) = linked().await;
    let record = crm.edit("contacts", "crm_1", &json!({"last_name": "King"}), world.now());
    world.advance(60);
    world.delete(&tenant, "/v1/contacts/con_ada").await;
    notify(&world, &tenant, "n1", "updated", &record).await;
    assert_eq!(contact(&world, &tenant, "con_ada").await, Value::Null);
    sync(&world, &tenant, "contact").await;
    assert_eq!(crm.calls(), ["DELETE /contacts/crm_1"]);
    notify(&world, &tenant, "n2", "deleted", &json!({"id": "crm_1", "updated_at": world.now()})).await;
    run(&world, Duration::from_mins(6)).await;
    assert!(crm.asked().is_empty() && contacts(&world, &tenant).await.is_empty());
}
