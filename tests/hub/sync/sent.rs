//! What is sent: each record once, and of later changes what changed.

use serde_json::{Value, json};

use super::{NUMBER, put, sync, synced, synced_with};
use crate::world::call_ended;

fn ada() -> Value {
    json!({"first_name": "Ada", "last_name": "Lovelace", "phone_number": NUMBER, "email": "ada@example.com",
        "company_name": "Engines", "custom_fields": {"tier": "gold"}})
}

#[tokio::test(start_paused = true)]
async fn a_contact_is_made_once_and_later_gets_what_changed() {
    let (world, tenant, crm) = synced().await;
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    put(&world, &tenant, "ada", ada()).await;
    sync(&world, &tenant, "contact").await;
    let asked = crm.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].what, "POST /contacts");
    // The original description's body.
    let expected = json!({"first_name": "Ada", "last_name": "Lovelace", "phone": NUMBER, "email": "ada@example.com",
        "company": "Engines", "custom_fields": {"tier": "gold", "smrt_crm_id": "con_ada",
            "last_call_date": "2026-01-15T10:30:00Z", "call_success_rate": 1.0}});
    assert_eq!(asked[0].body, expected);
    assert!(!asked[0].key.is_empty());
    let mut changed = ada();
    changed["last_name"] = "King".into();
    let mut emptied = changed.clone();
    emptied.as_object_mut().unwrap().remove("email");
    emptied["custom_fields"] = json!({});
    let table = [
        (ada(), None),
        (changed.clone(), Some(json!({"last_name": "King"}))),
        (changed, None),
        (emptied, Some(json!({"email": null, "custom_fields": {"tier": null}}))),
    ];
    for (fields, expected) in table {
        world.advance(1);
        put(&world, &tenant, "ada", fields).await;
        sync(&world, &tenant, "contact").await;
        let asked = crm.asked();
        assert!(asked.iter().all(|asked| asked.what == "PATCH /contacts/crm_1"), "{asked:?}");
        assert_eq!(asked.into_iter().map(|asked| asked.body).collect::<Vec<_>>(), Vec::from_iter(expected));
    }
    // Another call changes what we compute; that alone is no reason to send.
    world.send(&tenant, "sarah_ai", &call_ended("e2", "c2", NUMBER)).await;
    sync(&world, &tenant, "contact").await;
    assert!(crm.asked().is_empty());
    let record = crm.only("contacts");
    assert_eq!((&record["last_name"], record.get("email")), (&json!("King"), None));
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_here_is_deleted_there() {
    let (world, tenant, crm) = synced().await;
    put(&world, &tenant, "ada", ada()).await;
    sync(&world, &tenant, "contact").await;
    world.advance(1);
    assert_eq!(world.delete(&tenant, "/v1/contacts/con_ada").await.status, 204);
    sync(&world, &tenant, "contact").await;
    assert_eq!(crm.calls(), ["POST /contacts", "DELETE /contacts/crm_1"]);
    assert!(crm.records("contacts").is_empty());
    // Made again here, it is made again there.
    world.advance(1);
    put(&world, &tenant, "ada", ada()).await;
    sync(&world, &tenant, "contact").await;
    let asked = crm.asked();
    assert_eq!((asked.len(), &asked[0].what[..]), (1, "POST /contacts"));
    assert_eq!(crm.only("contacts")["id"], "crm_2", "under another key than the first time");
    // What comes and goes between two runs isn't sent at all.
    put(&world, &tenant, "bob", ada()).await;
    world.advance(1);
    world.delete(&tenant, "/v1/contacts/con_bob").await;
    sync(&world, &tenant, "contact").await;
    assert!(crm.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn companies_and_calls_are_sent_too() {
    let (world, tenant, crm) = synced().await;
    let engines = json!({"name": "Engines", "domain": "engines.example", "phone_number": "(415) 555-0199"});
    assert_eq!(world.put(&tenant, "/v1/companies/com_1", &engines).await.status, 201);
    let started = json!({"event_id": "e1", "event_type": "call.started", "timestamp": "2026-01-15T10:27:00Z",
        "call": {"id": "c1", "destination_number": NUMBER}});
    let call = world.send(&tenant, "sarah_ai", &started).await.text("/data/interaction_id").to_owned();
    for entity in ["company", "interaction"] {
        sync(&world, &tenant, entity).await;
    }
    let asked = crm.asked();
    assert_eq!(
        asked.iter().map(|asked| &asked.what[..]).collect::<Vec<_>>(),
        ["POST /companies", "POST /interactions"]
    );
    assert_eq!(
        asked[0].body,
        json!({"name": "Engines", "domain": "engines.example", "phone": "+14155550199", "custom_fields": {"smrt_crm_id": "com_1"}})
    );
    assert_eq!(
        (&asked[1].body["phone"], &asked[1].body["type"], &asked[1].body["custom_fields"]["smrt_crm_id"]),
        (&json!(NUMBER), &json!("outbound_call"), &json!(call))
    );
    // The rest of the call changes the same record.
    world.send(&tenant, "sarah_ai", &call_ended("e2", "c1", NUMBER)).await;
    sync(&world, &tenant, "interaction").await;
    let asked = crm.asked();
    assert_eq!((asked.len(), &asked[0].what[..]), (1, "PATCH /interactions/crm_2"));
    assert_eq!((&asked[0].body["outcome"], &asked[0].body["duration_seconds"]), (&json!("interested"), &json!(180)));
    assert_eq!((asked[0].body.get("phone"), asked[0].body.get("type")), (None, None), "{:?}", asked[0].body);
    world.send(&tenant, "sarah_ai", &call_ended("e2", "c1", NUMBER)).await;
    sync(&world, &tenant, "interaction").await;
    assert!(crm.asked().is_empty(), "a repeat");
    assert_eq!(world.delete(&tenant, "/v1/companies/com_1").await.status, 204);
    sync(&world, &tenant, "company").await;
    assert_eq!(crm.calls(), ["DELETE /companies/crm_1"]);
}

#[tokio::test(start_paused = true)]
async fn deletes_and_whole_entities_can_be_switched_off() {
    let (world, tenant, crm) =
        synced_with(json!({}), json!({"entities": {"contact": {"delete": null}, "company": false}})).await;
    put(&world, &tenant, "ada", ada()).await;
    sync(&world, &tenant, "contact").await;
    world.advance(1);
    world.delete(&tenant, "/v1/contacts/con_ada").await;
    world.put(&tenant, "/v1/companies/com_1", &json!({"name": "Engines"})).await;
    sync(&world, &tenant, "contact").await;
    assert_eq!(crm.calls(), ["POST /contacts"]);
    let refused = world.post(&tenant, "/v1/sync/external_crm/company").await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.body.to_string().contains("switched off"), "{refused:?}");
    let states = world.get(&tenant, "/v1/sync/external_crm").await.body["data"].clone();
    let entities: Vec<&str> = states.as_array().unwrap().iter().map(|s| s["entity_type"].as_str().unwrap()).collect();
    assert_eq!(entities, ["contact", "interaction"]);
    assert!(states.as_array().unwrap().iter().all(|state| state["waiting"] == 0), "{states}");
}
