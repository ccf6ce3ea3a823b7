//! OAuth 2 client credentials: tokens got, kept, renewed.

use futures_util::future::join_all;

use super::*;

fn oauth2(more: &Value) -> (Outbound, Option<Credentials>) {
    let mut auth = json!({"type": "oauth2", "token_url": "https://auth.example/token", "client_id": "id:1",
        "client_secret": "s p/ä", "scope": "crm read"});
    auth.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with_auth(auth)
}

/// The token endpoint gives `tok_1`, `tok_2` and so on; the CRM takes those for which `takes` says so.
fn crm(expires_in: Value, takes: impl Fn(&str) -> bool + Send + Sync + 'static) -> Crm {
    let given = Mutex::new(0);
    Crm::new(move |_, arrival| {
        if arrival.url == "https://auth.example/token" {
            let mut given = given.lock().unwrap();
            *given += 1;
            let token = format!("tok_{given}");
            return answer(200, &json!({"access_token": token, "token_type": "bearer", "expires_in": expires_in}));
        }
        let token = arrival.header("authorization").strip_prefix("Bearer ").unwrap();
        if takes(token) { reply(204, "") } else { answer(401, &json!({"message": format!("{token} has expired")})) }
    })
}

async fn delete_one(crm: &Crm, with: &(Outbound, Option<Credentials>)) -> Result<Written, CallError> {
    let quota = unlimited();
    crm.connector(&with.0, with.1.as_ref(), &quota).sync_outbound(Entity::Contact, &[delete("c", "7")]).await.remove(0)
}

fn requests(arrivals: &[Arrival]) -> Vec<&str> {
    arrivals.iter().map(|arrival| if arrival.url.starts_with("https://auth") { "token" } else { "call" }).collect()
}

#[tokio::test(start_paused = true)]
async fn the_request_is_that_of_the_rfc() {
    let form = "grant_type=client_credentials&scope=crm+read";
    let table = [
        // RFC 6749 §2.3.1: `id%3A1` and `s+p%2F%C3%A4`, joined by a colon.
        (json!({}), "Basic aWQlM0ExOnMrcCUyRiVDMyVBNA==", form.to_owned()),
        (json!({"client_auth": "body"}), "", format!("{form}&client_id=id%3A1&client_secret=s+p%2F%C3%A4")),
        (json!({"scope": null}), "Basic aWQlM0ExOnMrcCUyRiVDMyVBNA==", "grant_type=client_credentials".to_owned()),
    ];
    for (more, authorization, body) in table {
        let (crm, with) = (crm(json!(3600), |_| true), oauth2(&more));
        delete_one(&crm, &with).await.unwrap();
        let arrivals = crm.arrivals();
        assert_eq!(requests(&arrivals), ["token", "call"]);
        let asked = &arrivals[0];
        assert_eq!((asked.call().as_str(), asked.body.as_str()), ("POST https://auth.example/token", body.as_str()));
        assert_eq!(asked.header("authorization"), authorization);
        assert_eq!(asked.header("content-type"), "application/x-www-form-urlencoded");
        assert_eq!((asked.header("accept"), asked.header("user-agent")), ("application/json", "SMRT-CRM-Sync/1.0"));
        assert_eq!(arrivals[1].header("authorization"), "Bearer tok_1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_kept_until_shortly_before_its_end() {
    // How long it lives, and how long it is used, in seconds.
    let table = [
        (json!(3600), 3_570),
        (json!("3600"), 3_570),
        (json!(60), 30),
        (json!(40), 20),
        (json!(null), 270),
        (json!("soon"), 270),
        (json!(1_000_000_000), 86_370),
    ];
    for (expires_in, used) in table {
        let (crm, with) = (crm(expires_in.clone(), |_| true), oauth2(&json!({})));
        delete_one(&crm, &with).await.unwrap();
        // The token counts from when it was asked for, and two requests take 20 ms.
        tokio::time::advance(Duration::from_millis(used * 1_000 - 30)).await;
        delete_one(&crm, &with).await.unwrap();
        assert_eq!(requests(&crm.arrivals()), ["token", "call", "call"], "{expires_in}");
        tokio::time::advance(Duration::from_millis(20)).await;
        delete_one(&crm, &with).await.unwrap();
        assert_eq!(requests(&crm.arrivals()), ["token", "call"], "{expires_in}");
    }
}

#[tokio::test(start_paused = true)]
async fn changed_credentials_count_at_once_and_fresh_ones_are_asked_for() {
    let (crm, with) = (crm(json!(3600), |_| true), oauth2(&json!({})));
    delete_one(&crm, &with).await.unwrap();
    for more in [json!({"client_secret": "new"}), json!({"scope": "other"}), json!({"client_id": "2"})] {
        delete_one(&crm, &oauth2(&more)).await.unwrap();
    }
    delete_one(&crm, &with).await.unwrap();
    let arrivals = crm.arrivals();
    let tokens: Vec<_> =
        arrivals.iter().map(|arrival| arrival.header("authorization")).filter(|a| a.starts_with("Bearer")).collect();
    assert_eq!(tokens, ["Bearer tok_1", "Bearer tok_2", "Bearer tok_3", "Bearer tok_4", "Bearer tok_1"]);
    let quota = unlimited();
    let connector = crm.connector(&with.0, with.1.as_ref(), &quota);
    assert_eq!(connector.authenticate(false).await.unwrap()["authorization"], "Bearer tok_1");
    assert_eq!(connector.authenticate(true).await.unwrap()["authorization"], "Bearer tok_5");
    assert_eq!(connector.authenticate(false).await.unwrap()["authorization"], "Bearer tok_5");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_once_for_all_who_had_it() {
    let (crm, with) = (crm(json!(3600), |token| token != "tok_1"), oauth2(&json!({})));
    let quota = unlimited();
    let connector = crm.connector(&with.0, with.1.as_ref(), &quota);
    let one = [delete("con_1", "7")];
    let outcomes = join_all((0..20).map(|_| connector.sync_outbound(Entity::Contact, &one))).await;
    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    let arrivals = crm.arrivals();
    let tokens = requests(&arrivals).iter().filter(|request| **request == "token").count();
    assert_eq!((tokens, arrivals.len()), (2, 42), "two tokens, and every call twice");

    // Refused again, it is an error, that doesn't show the token.
    let (crm, with) = (self::crm(json!(3600), |_| false), oauth2(&json!({})));
    let error = delete_one(&crm, &with).await.unwrap_err();
    assert_eq!(requests(&crm.arrivals()), ["token", "call", "token", "call"]);
    assert_eq!((error.code(), error.is_retryable(), error.is_systemic()), ("unauthorized", false, true));
    assert!(error.for_tenant().ends_with("It said: … has expired"), "{}", error.for_tenant());
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_fails_is_a_clear_error() {
    let table = [
        (reply(200, "<html>login</html>"), true, "isn't JSON with an `access_token`"),
        (reply(200, ""), true, "isn't JSON"),
        (answer(200, &json!({"access_token": ""})), true, "isn't JSON"),
        (answer(200, &json!({"access_token": 5})), true, "isn't JSON"),
        (answer(200, &json!({"access_token": "a\nb"})), true, "isn't JSON"),
        (answer(200, &json!({"access_token": "a", "token_type": "mac"})), true, "the type Bearer"),
        (answer(200, &json!({"error": "invalid_client"})), true, "isn't JSON"),
        (answer(401, &json!({"error": "invalid_client"})), false, "it answered 401; check `client_id`"),
        (answer(400, &json!({"error": "x", "error_description": "bad s p/ä"})), false, "It said: bad …"),
        (answer(503, &json!({})), true, "it answered 503"),
        (Err(SendError::TimedOut(Duration::from_secs(10))), true, "no answer within 10 s"),
        (Err(SendError::TooLarge(65_536)), true, "65536 bytes"),
    ];
    for (answered, retryable, expected) in table {
        let (crm, with) = (Crm::answering(answered.clone()), oauth2(&json!({})));
        let error = delete_one(&crm, &with).await.unwrap_err();
        let sentence = error.for_tenant();
        assert!(sentence.contains(expected) && !sentence.contains("s p/ä"), "{sentence}");
        let said = (error.code(), error.is_retryable(), error.is_systemic(), error.is_in_doubt());
        assert_eq!(said, ("no_token", retryable, true, false), "{answered:?}");
        assert_eq!(requests(&crm.arrivals()), ["token"], "nothing else is sent");
    }
}

/// Else twenty would wait for twenty times the time-out.
#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_token_share_its_failure() {
    let (crm, with) = (Crm::answering(answer(503, &json!({}))), oauth2(&json!({})));
    let quota = unlimited();
    let connector = crm.connector(&with.0, with.1.as_ref(), &quota);
    let outcomes = join_all((0..20).map(|_| connector.authenticate(false))).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(crm.calls().len(), 1);
    assert!(connector.authenticate(false).await.is_err());
    assert_eq!(crm.calls().len(), 1, "whoever comes later asks anew");
}
