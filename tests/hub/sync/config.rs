//! What is wrong in a CRM's configuration is said at once; secrets stay where they belong; tenants stay apart.

use std::time::Duration;

use serde_json::{Value, json};

use super::{NUMBER, TOKEN, contact, contacts, integration, kept, put, run, state, sync, synced_with};
use crate::world::{
    Behaviour, TENANT, World,
    crm::{CRM_URL, Crm, Fate},
};

/// What `provision-tenant` says of a CRM that is configured so.
async fn refused(integration: Value) -> String {
    let world = World::new().await;
    let order = json!({"tenant_id": TENANT, "name": "Demo", "default_region": "US", "integrations": [integration]});
    match world.invoke("provision-tenant", order).await {
        Ok(answer) => panic!("{integration} was taken: {answer}"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn what_is_wrong_in_a_configuration_is_said() {
    let with = |outbound: Value| integration(CRM_URL, json!({}), outbound);
    let without = |path: &str, name: &str| {
        let mut all = with(json!({}));
        all.pointer_mut(path).unwrap().as_object_mut().unwrap().remove(name);
        all
    };
    let table = [
        (
            with(json!({"entities": {"deal": {}}})),
            ["outbound.entities.deal", "is none of contact, company and interaction"],
        ),
        (with(json!({"entities": {"contact": {"fields": {}}}})), ["outbound.entities.contact.fields", "must"]),
        (with(json!({"entities": {"contact": 5}})), ["outbound.entities.contact", "false to switch the entity off"]),
        (with(json!({"base_url": "https://10.0.0.1/crm"})), ["outbound.base_url", "public"]),
        (with(json!({"base_url": "https://169.254.169.254/"})), ["outbound.base_url", "public"]),
        (with(json!({"base_url": "http://crm.example"})), ["outbound.base_url", "https"]),
        (with(json!({"base_url": "https://crm.example/?x=1"})), ["outbound.base_url", "must not have a query"]),
        (without("/outbound", "base_url"), ["outbound.base_url", "is required"]),
        (without("/outbound/auth", "token"), ["outbound.auth.token", "is required"]),
        (with(json!({"auth": {"type": "kerberos"}})), ["outbound.auth.type", "api_key, bearer, basic, oauth2"]),
        (with(json!({"auth": {"type": "bearer", "token": "two\nlines"}})), ["outbound.auth.token", "visible ASCII"]),
        (with(json!({"preset": "salesforce"})), ["outbound.preset", "\\\"generic\\\" or \\\"hubspot\\\""]),
        (with(json!({"timeout_seconds": 500})), ["outbound.timeout_seconds", "from 1 to 30"]),
        (with(json!({"colour": "red"})), ["outbound.colour", ""]),
        (without("", "outbound"), ["outbound", "is required where data flows outward"]),
        (integration(CRM_URL, json!({"direction": "inbound"}), json!({})), ["outbound", "needs `direction`"]),
        (
            with(
                json!({"auth": {"type": "oauth2", "token_url": "https://127.0.0.1/", "client_id": "a", "client_secret": "b"}}),
            ),
            ["outbound.auth.token_url", "public"],
        ),
    ];
    for (integration, texts) in table {
        let error = refused(integration.clone()).await.replace('"', "\\\"").replace("\\\\\"", "\\\"");
        assert!(texts.iter().all(|text| error.contains(text)), "{texts:?}: {error}");
        assert!(!error.contains(TOKEN), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_are_sent_as_configured_and_are_never_in_the_table() {
    let secret = "s3cret-of-the-crm-77";
    let auths = [
        (json!({"type": "bearer", "token": secret}), "authorization", format!("Bearer {secret}")),
        (json!({"type": "api_key", "header": "x-api-key", "value": secret}), "x-api-key", secret.to_owned()),
        (
            json!({"type": "basic", "username": "hub", "password": secret}),
            "authorization",
            "Basic aHViOnMzY3JldC1vZi10aGUtY3JtLTc3".to_owned(),
        ),
    ];
    for (auth, header, value) in auths {
        let (world, tenant, crm) = synced_with(json!({}), json!({"auth": auth})).await;
        // A CRM that repeats it in its errors.
        crm.script(move |n, _| match n {
            0 => Fate::Instead(Behaviour::json(422, &json!({"message": format!("{secret} may not do this")}))),
            _ => Fate::Served,
        });
        put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
        sync(&world, &tenant, "contact").await;
        put(&world, &tenant, "bob", json!({"first_name": "Bob"})).await;
        sync(&world, &tenant, "contact").await;
        let arrivals = world.internet.take();
        assert!(arrivals.iter().all(|arrival| arrival.header(header) == value), "{arrivals:?}");
        assert!(arrivals.iter().all(|arrival| arrival.header("user-agent") == "SMRT-CRM-Sync/1.0"));
        assert_eq!(kept(&world, &tenant).await.len(), 1);
        assert_eq!(crm.records("contacts").len(), 1);
        for item in world.items().await {
            assert!(!format!("{item:?}").contains(secret), "{:?}", item.key());
        }
        for path in ["/v1/sync/external_crm", "/v1/failures"] {
            assert!(!world.get(&tenant, path).await.body.to_string().contains(secret), "{path}");
        }
        assert!(world.secrets_document(&tenant).await.to_string().contains(secret));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_can_be_tried() {
    let (world, tenant, crm) = synced_with(json!({}), json!({})).await;
    let table = [
        (Fate::Served, json!({"success": true, "tried": {"method": "GET", "path": "/contacts", "status": 200}})),
        (Fate::Instead(Behaviour::status(401)), json!({"success": false, "code": "unauthorized"})),
        (Fate::Instead(Behaviour::text(200, "<html>")), json!({"success": false, "code": "unusable_answer"})),
        (Fate::Instead(Behaviour::status(500)), json!({"success": false, "code": "server_error"})),
    ];
    for (fate, expected) in table {
        crm.script(move |_, _| fate.clone());
        let mut answer = world.post(&tenant, "/v1/integrations/external_crm/validate").await.body;
        let said = answer.as_object_mut().unwrap().remove("error");
        assert_eq!((said.is_some(), answer), (expected["success"] == false, expected));
    }
    assert_eq!(world.post(&tenant, "/v1/integrations/sarah_ai/validate").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn tenants_with_the_same_ids_on_both_sides_stay_apart() {
    let world = World::new().await;
    let sides = [(TENANT, CRM_URL, "Ada"), ("other", "https://other.example", "Eve")];
    let mut tenants = Vec::new();
    for (tenant, url, name) in sides {
        let crm = Crm::at(&world, url);
        let tenant = world.provision(tenant, &[integration(url, json!({}), json!({}))]).await;
        // The same id of ours, the same number and address, and so the same id over there.
        let fields = json!({"first_name": name, "email": "a@example.com", "phone_number": NUMBER});
        put(&world, &tenant, "1", fields).await;
        tenants.push((tenant, crm, name));
    }
    run(&world, Duration::from_mins(6)).await;
    for (tenant, crm, name) in &tenants {
        let record = crm.only("contacts");
        assert_eq!((&record["id"], &record["first_name"]), (&json!("crm_1"), &json!(name)));
        assert_eq!(state(&world, tenant, "contact").await["sent"], 1);
    }
    // A change over there reaches its own tenant only; also one that names our id and isn't linked.
    let (tenant, crm, _) = &tenants[0];
    world.advance(60);
    let record = crm.edit("contacts", "crm_1", &json!({"last_name": "King"}), world.now());
    let stranger = json!({"id": "x9", "first_name": "Stranger", "custom_fields": {"smrt_crm_id": "con_none"},
        "updated_at": world.now()});
    for (event, record) in [("n1", record), ("n2", stranger)] {
        let told = json!({"event_id": event, "event_type": "contact.updated", "contact": record});
        assert_eq!(world.send(tenant, "external_crm", &told).await.text("/status"), "processed");
    }
    run(&world, Duration::from_mins(6)).await;
    let (other, other_crm, _) = &tenants[1];
    assert_eq!(contact(&world, tenant, "con_1").await["last_name"], "King");
    assert_eq!(contact(&world, other, "con_1").await["last_name"], Value::Null);
    assert_eq!((contacts(&world, tenant).await.len(), contacts(&world, other).await.len()), (2, 1));
    assert_eq!(other_crm.only("contacts").get("last_name"), None);
    assert_eq!(other_crm.calls(), ["POST /contacts"]);
    // Neither sees or mends the other's failures.
    crm.down(Behaviour::status(422));
    put(&world, tenant, "1", json!({"first_name": "Changed"})).await;
    run(&world, Duration::from_mins(6)).await;
    let failures = kept(&world, tenant).await;
    assert_eq!((failures.len(), kept(&world, other).await.len()), (1, 0));
    let path = format!("/v1/failures/{}", failures[0]["id"].as_str().unwrap());
    assert_eq!(world.get(other, &path).await.status, 404);
    assert_eq!(world.post(other, &format!("{path}/retry")).await.status, 404);
}
