//! What is sent, and what is read of ordinary answers.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_write_is_one_request_and_its_answer_is_read() {
    let crm = Crm::new(|n, _| match n {
        0 => answer(201, &json!({"id": 7, "updated_at": "2026-01-15T12:00:05Z"})),
        1 => answer(200, &json!({"id": "7", "updated_at": 1_768_478_410})),
        2 => reply(204, ""),
        _ => reply(200, " "),
    });
    let outbound = generic(&json!({}));
    let outcomes = crm
        .sync(
            &outbound,
            &[
                create("con_1", json!({"first_name": "Ada"})),
                update("con_1", "7", json!({"first_name": null})),
                update("con_1", "7", json!({"first_name": "Ada"})),
                delete("con_1", "7"),
            ],
        )
        .await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    let times = [Some("2026-01-15T12:00:05Z"), Some("2026-01-15T12:00:10Z"), None, None];
    assert_eq!(outcomes, times.map(|at| written("7", at)));
    let arrivals = crm.arrivals();
    let calls: Vec<_> = arrivals.iter().map(|arrival| (arrival.call(), arrival.body.as_str())).collect();
    let expected = [
        ("POST /contacts", r#"{"first_name":"Ada"}"#),
        ("PATCH /contacts/7", r#"{"first_name":null}"#),
        ("PATCH /contacts/7", r#"{"first_name":"Ada"}"#),
        ("DELETE /contacts/7", ""),
    ];
    assert_eq!(calls, expected.map(|(call, body)| (call.to_owned(), body)));
    let names = |arrival: &Arrival| arrival.headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let ours = ["user-agent", "accept", "idempotency-key", "content-type"];
    assert_eq!(names(&arrivals[0]), ours);
    let values = ["SMRT-CRM-Sync/1.0", "application/json", "key_con_1", "application/json"];
    assert_eq!(ours.map(|name| arrivals[0].header(name)), values);
    assert_eq!(names(&arrivals[1]), ["user-agent", "accept", "content-type"]);
    assert_eq!(names(&arrivals[3]), ["user-agent", "accept"]);
}

#[tokio::test(start_paused = true)]
async fn ids_are_encoded_and_archives_have_a_body() {
    let outbound = generic(&json!({"entities": {"contact": {
        "update": {"method": "PUT", "path": "/people/{external_id}?ours={id}"},
        "delete": {"method": "PATCH", "path": "/people/{external_id}", "body": {"archived": true}},
        "wrap": "person"}}}));
    let crm = Crm::answering(reply(204, ""));
    let outcomes = crm.sync(&outbound, &[update("c/1", "a b/../?&é", json!({})), delete("c/1", "x")]).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let arrivals = crm.arrivals();
    assert_eq!(arrivals[0].call(), "PUT /people/a%20b%2F..%2F%3F%26%C3%A9?ours=c%2F1");
    assert_eq!(arrivals[0].json(), json!({"person": {}}));
    assert_eq!((arrivals[1].call(), arrivals[1].json()), ("PATCH /people/x".to_owned(), json!({"archived": true})));
    // Dots alone would lead to another path however they are encoded.
    for id in ["..", ".", "", "a\nb"] {
        let outcomes = crm.sync(&outbound, &[update("con_1", id, json!({}))]).await;
        assert!(matches!(outcomes[..], [Err(CallError::BadId)]), "{id:?} {outcomes:?}");
    }
    assert_eq!(crm.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_off_isnt_called() {
    let outbound =
        generic(&json!({"entities": {"company": false, "contact": {"delete": null, "find": null, "list": null}}}));
    let crm = Crm::answering(reply(204, ""));
    let quota = unlimited();
    let connector = crm.connector(&outbound, None, &quota);
    let outcomes = connector.sync_outbound(Entity::Contact, &[delete("con_1", "7")]).await;
    assert!(matches!(outcomes[..], [Err(CallError::NotConfigured)]));
    let outcomes = connector.sync_outbound(Entity::Company, &[create("com_1", json!({})), delete("com_2", "7")]).await;
    assert!(matches!(outcomes[..], [Err(CallError::NotConfigured), Err(CallError::NotConfigured)]));
    assert!(matches!(connector.find(Entity::Contact, "con_1").await, Err(CallError::NotConfigured)));
    assert!(matches!(connector.list(Entity::Contact, None).await, Err(CallError::NotConfigured)));
    assert_eq!(crm.calls().len(), 0);
    assert_eq!((connector.batch_max(Entity::Contact), connector.batch_max(Entity::Company)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_found_has_our_id() {
    let ours = |id: &str, ours: &str| json!({"id": id, "custom_fields": {"smrt_crm_id": ours}});
    let table = [
        (json!({"data": [ours("1", "con_1")]}), Some("1")),
        // A system that doesn't know the parameter answers with anybody.
        (json!({"data": [ours("2", "con_2"), json!({"id": "3"}), ours("1", "con_1")]}), Some("1")),
        (json!({"data": [ours("2", "con_2")]}), None),
        (json!({"data": []}), None),
        (json!({"data": ours("1", "con_1")}), Some("1")),
    ];
    let outbound = generic(&json!({}));
    for (found, expected) in table {
        let crm = Crm::answering(answer(200, &found));
        let quota = unlimited();
        let outcome = crm.connector(&outbound, None, &quota).find(Entity::Contact, "con_1").await.unwrap();
        assert_eq!(outcome.map(|written| written.external_id).as_deref(), expected, "{found}");
        assert_eq!(crm.calls(), ["GET /contacts?smrt_crm_id=con_1"]);
    }
    for (status, found) in [(404, json!({"message": "none"})), (204, Value::Null)] {
        let crm = Crm::answering(if status == 204 { reply(204, "") } else { answer(status, &found) });
        let quota = unlimited();
        assert_eq!(crm.connector(&outbound, None, &quota).find(Entity::Contact, "con_1").await.unwrap(), None);
    }
    let table = [
        (reply(200, "<html>"), "unusable_answer"),
        (answer(200, &json!({"data": 5})), "unusable_answer"),
        (answer(200, &json!({"error": "no such filter"})), "error_inside"),
        (answer(200, &json!({"data": [{"id": true, "custom_fields": {"smrt_crm_id": "con_1"}}]})), "unusable_answer"),
        (answer(400, &json!({})), "invalid_record"),
    ];
    for (answered, code) in table {
        let crm = Crm::answering(answered.clone());
        let quota = unlimited();
        let error = crm.connector(&outbound, None, &quota).find(Entity::Contact, "con_1").await.unwrap_err();
        assert_eq!(error.code(), code, "{answered:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lists_are_read_page_by_page() {
    let outbound = generic(&json!({}));
    let table = [
        (json!({"data": [{"id": 1}], "next_cursor": "a=b&c"}), Ok((1, Some("a=b&c")))),
        (json!({"data": [], "next_cursor": 5}), Ok((0, Some("5")))),
        (json!({"data": [{"id": 1}], "next_cursor": null}), Ok((1, None))),
        (json!({"data": [{"id": 1}], "next_cursor": ""}), Ok((1, None))),
        (json!({"data": [{"id": 1}], "next_cursor": false}), Ok((1, None))),
        (json!({"data": [{"id": 1}]}), Ok((1, None))),
        (json!({"data": [{"id": 1}], "next_cursor": {"after": 1}}), Err("unusable_answer")),
        (json!({"data": [{"id": 1}], "next_cursor": "this one"}), Err("unusable_answer")),
        (json!({"data": {"id": 1}}), Err("unusable_answer")),
        (json!([{"id": 1}]), Err("unusable_answer")),
        (json!({"success": false, "message": "no"}), Err("error_inside")),
    ];
    for (page, expected) in table {
        let crm = Crm::answering(answer(200, &page));
        let quota = unlimited();
        let listed = crm.connector(&outbound, None, &quota).list(Entity::Contact, Some("this one")).await;
        let got = listed.as_ref().map(|listed| (listed.records.len(), listed.next.as_deref())).map_err(CallError::code);
        assert_eq!(got, expected, "{page}");
        assert_eq!(crm.calls(), ["GET /contacts?limit=100&cursor=this%20one"]);
    }
    let crm = Crm::answering(reply(200, ""));
    let quota = unlimited();
    assert!(crm.connector(&outbound, None, &quota).list(Entity::Interaction, None).await.is_err());
    assert_eq!(crm.calls(), ["GET /interactions?limit=100"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_tested_by_what_is_configured() {
    let tried = async |more: Value, answered: Answered| {
        let (outbound, crm) = (generic(&more), Crm::answering(answered));
        let quota = unlimited();
        let outcome = crm.connector(&outbound, None, &quota).validate_connection().await;
        (outcome, crm.calls())
    };
    let (outcome, calls) = tried(json!({}), answer(200, &json!({"data": []}))).await;
    assert_eq!(outcome.unwrap(), Validated { method: "GET".into(), path: "/contacts".into(), status: 200 });
    assert_eq!(calls, ["GET /contacts?limit=1"]);
    let (outcome, calls) = tried(json!({"validate": {"method": "POST", "path": "/ping?key=1"}}), reply(204, "")).await;
    assert_eq!(outcome.unwrap(), Validated { method: "POST".into(), path: "/ping".into(), status: 204 });
    assert_eq!(calls, ["POST /ping?key=1"]);
    let table = [
        (reply(200, "<!doctype html>"), "web page"),
        (answer(403, &json!({"message": "no scope"})), "It said: no scope"),
        (Err(SendError::NameNotFound), "has no address"),
        (reply(302, ""), "a redirect"),
        (answer(200, &json!({"success": false, "message": "who are you"})), "It said: who are you"),
    ];
    for (answered, expected) in table {
        let sentence = tried(json!({}), answered).await.0.unwrap_err().for_tenant();
        assert!(sentence.contains(expected), "{sentence}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_isnt_counted_isnt_made() {
    let until: Timestamp = "2026-01-15T12:01:00Z".parse().unwrap();
    let crm = Crm::answering(reply(204, ""));
    let quota = Quota::counted_by(Always(Reserved::MinuteFull { until }));
    let outbound = generic(&json!({}));
    let outcomes = crm.connector(&outbound, None, &quota).sync_outbound(Entity::Contact, &[delete("con_1", "7")]).await;
    assert!(matches!(outcomes[..], [Err(CallError::Limited { until: end })] if end == until), "{outcomes:?}");
    assert_eq!(crm.calls().len(), 0);
    // A hub whose DynamoDB can't be reached.
    let limits = Limits { per_minute: 5, per_day: 5, when_exceeded: None };
    let quota = Quota::new(&crm.hub, &crm.context, &crm.system, limits);
    assert!(matches!(quota.take().await, Err(QuotaError::Uncounted(_))));
}
