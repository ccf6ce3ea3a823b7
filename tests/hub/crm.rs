//! What comes in from an external CRM (contract §5): contacts, companies, interactions; the latest word wins, field by field.

use serde_json::{Value, json};

use crate::world::{Tenant, World, sample_body};

fn contact(event: &str, kind: &str, at: &str, mut contact: Value) -> Value {
    contact["id"] = "77".into();
    contact["updated_at"] = at.into();
    json!({"event_id": event, "event_type": kind, "contact": contact})
}

async fn view(world: &World, tenant: &Tenant, id: &str) -> (u16, Value) {
    let answer = world.get(tenant, &format!("/v1/contacts/{id}")).await;
    let mut body = answer.body;
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|name, _| !["created_at"].contains(&name.as_str()));
    }
    (answer.status.as_u16(), body)
}

#[tokio::test]
async fn changes_of_a_contact_in_any_order_give_the_latest_of_each_field() {
    let events = [
        contact(
            "1",
            "contact.created",
            "2026-01-01T00:00:00Z",
            json!({"first_name": "Ada", "last_name": "Lovelace", "phone": "(415) 555-0132"}),
        ),
        contact(
            "2",
            "contact.updated",
            "2026-01-02T00:00:00Z",
            json!({"email": "ada@example.com", "last_name": "King"}),
        ),
        contact("3", "contact.updated", "2026-01-03T00:00:00Z", json!({"email": "countess@example.com"})),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let (world, tenant) = World::with_tenant().await;
        let mut id = String::new();
        for index in order {
            let answer = world.send(&tenant, "external_crm", &events[index]).await;
            assert_eq!(answer.text("/status"), "processed", "{:?}", answer.body);
            answer.text("/data/contact_id").clone_into(&mut id);
            assert_eq!(world.send(&tenant, "external_crm", &events[index]).await.text("/status"), "duplicate");
        }
        let (status, contact) = view(&world, &tenant, &id).await;
        assert_eq!(status, 200);
        let of = |name: &str| contact[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (of("first_name"), of("last_name"), of("email")),
            ("Ada".into(), "King".into(), "countess@example.com".into()),
            "{order:?}"
        );
        assert_eq!((of("phone_number"), of("updated_at")), ("+14155550132".into(), "2026-01-03T00:00:00Z".into()));
        assert_eq!(
            world.get(&tenant, "/v1/phone-numbers/+14155550132").await.status,
            200,
            "its number is known to the CRM"
        );
    }
}

#[tokio::test]
async fn a_deleted_contact_stays_deleted_for_older_changes_and_comes_back_with_a_newer_one() {
    let (world, tenant) = World::with_tenant().await;
    let send = async |event: Value| world.send(&tenant, "external_crm", &event).await;
    let deleted = send(contact("1", "contact.deleted", "2026-01-05T00:00:00Z", json!({}))).await;
    let id = deleted.text("/data/contact_id").to_owned();
    send(contact("2", "contact.updated", "2026-01-04T00:00:00Z", json!({"first_name": "Ada"}))).await;
    assert_eq!(view(&world, &tenant, &id).await.0, 404);
    send(contact("3", "contact.created", "2026-01-06T00:00:00Z", json!({"last_name": "King"}))).await;
    let (status, contact) = view(&world, &tenant, &id).await;
    assert_eq!((status, &contact["last_name"]), (200, &json!("King")));
}

#[tokio::test]
async fn companies_and_interactions_are_kept_and_a_deleted_interaction_no_longer_counts() {
    let (world, tenant) = World::with_tenant().await;
    let company = world.send(&tenant, "external_crm", &sample_body("external_crm", "company_created")).await;
    assert_eq!(world.get(&tenant, &format!("/v1/companies/{}", company.text("/data/company_id"))).await.status, 200);
    let interaction = |event: &str, kind: &str, at: &str| {
        json!({"event_id": event, "event_type": kind, "interaction": {"id": "9", "type": "meeting",
        "phone_number": "+14155550132", "outcome": "interested", "updated_at": at}})
    };
    let made =
        world.send(&tenant, "external_crm", &interaction("1", "interaction.created", "2026-01-05T00:00:00Z")).await;
    let id = made.text("/data/interaction_id").to_owned();
    assert_eq!(world.phone(&tenant, "+14155550132").await["statistics"]["outcomes"], json!({"interested": 1}));
    world.send(&tenant, "external_crm", &interaction("2", "interaction.deleted", "2026-01-06T00:00:00Z")).await;
    let statistics = world.phone(&tenant, "+14155550132").await["statistics"].clone();
    assert_eq!((&statistics["outcomes"], &statistics["total_interactions"]), (&json!({}), &json!(0)));
    assert_eq!(world.get(&tenant, &format!("/v1/interactions/{id}")).await.status, 404);
    assert!(world.interactions(&tenant, "+14155550132").await.is_empty());
}

#[tokio::test]
async fn the_latest_word_on_a_merchant_wins() {
    let merchant = |event: &str, at: &str, status: &str| {
        json!({"id": event, "type": "merchant.updated",
        "data": {"object": {"id": "m-1", "name": "Shop", "status": status, "updated_at": at}}})
    };
    let (world, tenant) = World::with_tenant().await;
    let newest = world.send(&tenant, "payment_processor", &merchant("1", "2026-01-05T00:00:00Z", "active")).await;
    let older = world.send(&tenant, "payment_processor", &merchant("2", "2026-01-04T00:00:00Z", "pending")).await;
    assert_eq!(older.body["data"], newest.body["data"]);
    for path in [newest.text("/data/merchant_id"), "m-1"] {
        let view = world.get(&tenant, &format!("/v1/merchants/{path}")).await.body;
        assert_eq!(
            (&view["status"], &view["name"], &view["updated_at"]),
            (&json!("active"), &json!("Shop"), &json!("2026-01-05T00:00:00Z"))
        );
        assert_eq!(view["external_id"], "m-1");
    }
}
