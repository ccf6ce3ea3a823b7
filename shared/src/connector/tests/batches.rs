//! Batches: who is in which, what came of each, and whose fault it is.

use super::*;

fn hubspot() -> Outbound {
    generic(&json!({"preset": "hubspot"}))
}

fn inputs(arrival: &Arrival) -> Vec<Value> {
    arrival.json()["inputs"].as_array().cloned().unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

/// What HubSpot answers to an upsert of these, in another order than theirs.
fn upserted(inputs: &[Value], errors: &[Value]) -> Answered {
    let results: Vec<_> =
        inputs.iter().rev().map(|input| record(&format!("hs_{}", text(input, "id")), &input["properties"])).collect();
    batch(&results, errors)
}

fn record(id: &str, properties: &Value) -> Value {
    let at = "2026-01-15T12:00:05.000Z";
    json!({"id": id, "properties": properties, "createdAt": at, "updatedAt": at, "archived": false, "new": true})
}

fn batch(results: &[Value], errors: &[Value]) -> Answered {
    let at = "2026-01-15T12:00:05.000Z";
    let mut body = json!({"status": "COMPLETE", "results": results, "startedAt": at, "completedAt": at});
    if !errors.is_empty() {
        body["numErrors"] = errors.len().into();
        body["errors"] = errors.into();
    }
    answer(if errors.is_empty() { 200 } else { 207 }, &body)
}

fn creates(range: std::ops::Range<usize>) -> Vec<Outgoing> {
    range.map(|n| create(&format!("con_{n}"), json!({"smrt_crm_id": format!("con_{n}")}))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_go_at_once_and_each_gets_its_own_outcome() {
    let crm = Crm::new(|_, arrival| match arrival.call().as_str() {
        "POST /crm/v3/objects/contacts/batch/upsert" => upserted(&inputs(arrival), &[]),
        "POST /crm/v3/objects/contacts/batch/update" => {
            let results: Vec<_> =
                inputs(arrival).iter().rev().map(|input| record(text(input, "id"), &json!({}))).collect();
            batch(&results, &[])
        }
        "DELETE /crm/v3/objects/contacts/9" => reply(204, ""),
        other => panic!("{other}"),
    });
    let mut outgoing =
        vec![delete("con_x", "9"), update("con_a", "1", json!({"email": ""})), update("con_b", "2", json!({}))];
    outgoing.extend(creates(0..150));
    // One record twice makes HubSpot refuse a whole batch.
    outgoing.push(update("con_a", "1", json!({"email": "b@example.com"})));
    let outcomes = crm.sync(&hubspot(), &outgoing).await;
    let ids: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().external_id).collect();
    let mut expected: Vec<_> = ["9", "1", "2"].map(str::to_owned).into();
    expected.extend((0..150).map(|n| format!("hs_con_{n}")));
    expected.push("1".to_owned());
    assert_eq!(ids, expected);
    let arrivals = crm.arrivals();
    let sizes: Vec<_> =
        arrivals.iter().map(|arrival| if arrival.body.is_empty() { 0 } else { inputs(arrival).len() }).collect();
    assert_eq!(sizes, [100, 50, 2, 1, 0]);
    assert_eq!(
        inputs(&arrivals[0])[0],
        json!({"id": "con_0", "idProperty": "smrt_crm_id", "objectWriteTraceId": "con_0", "properties": {"smrt_crm_id": "con_0"}})
    );
    assert_eq!(inputs(&arrivals[2])[0], json!({"id": "1", "objectWriteTraceId": "con_a", "properties": {"email": ""}}));
    assert_eq!(arrivals[0].header("idempotency-key"), "", "an upsert needs none");
}

#[tokio::test(start_paused = true)]
async fn of_many_statuses_each_record_gets_its_own() {
    let error = |category: &str, context: Value| json!({"status": "error", "category": category, "message": format!("it is {category}"), "context": context});
    let crm = Crm::new(move |_, arrival| {
        let all = inputs(arrival);
        let trace = |n: usize| json!({"objectWriteTraceId": [text(&all[n], "objectWriteTraceId")]});
        if arrival.url.ends_with("/upsert") {
            let errors =
                [error("VALIDATION_ERROR", trace(1)), error("CONFLICT", trace(2)), error("RATE_LIMITS", trace(4))];
            upserted(&[all[0].clone(), all[3].clone()], &errors)
        } else {
            let mut merged = record("77", &json!({}));
            merged["objectWriteTraceId"] = all[2]["objectWriteTraceId"].clone();
            let gone = error("OBJECT_NOT_FOUND", json!({"ids": [text(&all[1], "id")]}));
            batch(&[merged, record(text(&all[0], "id"), &json!({}))], &[gone])
        }
    });
    let judged = |outcomes: Vec<Result<Written, CallError>>| -> Vec<String> {
        let code = |outcome: Result<Written, CallError>| {
            outcome.map_or_else(|error| error.code().to_owned(), |w| w.external_id)
        };
        outcomes.into_iter().map(code).collect()
    };
    let outcomes = crm.sync(&hubspot(), &creates(0..6)).await;
    assert_eq!(outcomes[1].as_ref().unwrap_err().said(), "it is VALIDATION_ERROR");
    let unknown = outcomes[5].as_ref().unwrap_err();
    assert!(unknown.is_in_doubt() && unknown.is_retryable() && !unknown.is_systemic(), "{unknown}");
    assert_eq!(
        judged(outcomes),
        ["hs_con_0", "invalid_record", "conflict", "hs_con_3", "try_later", "unusable_answer"]
    );
    let updates: Vec<_> = (1..5).map(|n| update(&format!("con_{n}"), &n.to_string(), json!({}))).collect();
    let outcomes = crm.sync(&hubspot(), &updates).await;
    assert_eq!(judged(outcomes), ["1", "record_gone", "another_record", "unusable_answer"]);
    assert_eq!(crm.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bad_record_is_found_by_halves_and_its_neighbours_go_through() {
    let bad = ["con_13", "con_77"];
    let crm = Crm::new(move |_, arrival| {
        let all = inputs(arrival);
        match all.iter().find(|input| bad.contains(&text(input, "id"))) {
            Some(input) => {
                answer(400, &json!({"category": "VALIDATION_ERROR", "message": format!("bad: {}", text(input, "id"))}))
            }
            None => upserted(&all, &[]),
        }
    });
    let outcomes = crm.sync(&hubspot(), &creates(0..100)).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        let id = format!("con_{n}");
        match outcome {
            Ok(written) => assert_eq!(written.external_id, format!("hs_{id}")),
            Err(error) => {
                assert!(bad.contains(&id.as_str()), "{id}");
                assert_eq!((error.code(), error.said()), ("invalid_record", format!("bad: {id}").as_str()));
            }
        }
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 2);
    // A hundred is halved seven times at most on the way to one.
    assert!(crm.calls().len() <= 1 + 2 * 2 * 7, "few calls");
}

#[tokio::test(start_paused = true)]
async fn what_isnt_for_what_it_holds_is_not_halved() {
    let table = [
        (answer(401, &json!({})), "unauthorized", 1),
        (answer(403, &json!({})), "forbidden", 1),
        (answer(423, &json!({})), "try_later", 1),
        (answer(429, &json!({})), "try_later", 1),
        (answer(502, &json!({})), "server_error", 1),
        (reply(200, "<html>"), "unusable_answer", 1),
        (reply(200, ""), "unusable_answer", 1),
        (answer(200, &json!({"status": "error", "message": "no"})), "error_inside", 1),
        (answer(200, &json!({"results": []})), "unusable_answer", 1),
        (answer(200, &json!({"results": 5})), "unusable_answer", 1),
        (Err(SendError::TimedOut(Duration::from_secs(10))), "timed_out", 1),
        (answer(409, &json!({})), "conflict", 7),
        (answer(404, &json!({})), "refused", 7),
    ];
    for (answered, code, calls) in table {
        let crm = Crm::answering(answered.clone());
        let outcomes = crm.sync(&hubspot(), &creates(0..4)).await;
        let codes: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap_err().code()).collect();
        assert_eq!(codes, [code; 4], "{answered:?}");
        assert_eq!(crm.calls().len(), calls, "{answered:?}");
    }
    // Alone, an update that isn't found is gone.
    let crm = Crm::answering(answer(404, &json!({})));
    let outcomes = crm.sync(&hubspot(), &[update("con_1", "1", json!({})), update("con_2", "2", json!({}))]).await;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap_err().is_gone()));
}

#[tokio::test(start_paused = true)]
async fn without_batches_records_go_one_by_one() {
    let entities =
        [json!({"contact": {"batch": null}}), json!({"contact": {"create": {"path": "/crm/v3/objects/contacts"}}})];
    for entities in entities {
        let outbound = generic(&json!({"preset": "hubspot", "entities": entities}));
        let crm = Crm::answering(answer(201, &record("5", &json!({}))));
        let quota = unlimited();
        assert_eq!(crm.connector(&outbound, None, &quota).batch_max(Entity::Contact), 1);
        crm.sync(&outbound, &creates(0..2)).await.into_iter().for_each(|outcome| drop(outcome.unwrap()));
        assert_eq!(crm.calls(), ["POST /crm/v3/objects/contacts"; 2]);
    }
    // Nothing but upserts: updates go one by one.
    let batch = json!({"batch": {"max": 10, "update": null}});
    let outbound = generic(&json!({"preset": "hubspot", "entities": {"contact": batch}}));
    let crm = Crm::answering(reply(204, ""));
    assert_eq!(crm.connector(&outbound, None, &unlimited()).batch_max(Entity::Contact), 10);
    crm.sync(&outbound, &[update("con_1", "1", json!({}))]).await.remove(0).unwrap();
    assert_eq!(crm.calls(), ["PATCH /crm/v3/objects/contacts/1"]);
}
