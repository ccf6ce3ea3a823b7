//! Each way to show who calls.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_scheme_has_its_header() {
    let table = [
        (json!({"type": "api_key", "header": "X-Api-Key", "value": "k1 2"}), ("x-api-key", "k1 2")),
        (json!({"type": "bearer", "token": "pat-na1-x"}), ("authorization", "Bearer pat-na1-x")),
        // RFC 7617 §2: its own example.
        (
            json!({"type": "basic", "username": "Aladdin", "password": "open sesame"}),
            ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ),
        // RFC 7617 §2.1: `test` and `123£`, in UTF-8.
        (json!({"type": "basic", "username": "test", "password": "123£"}), ("authorization", "Basic dGVzdDoxMjPCow==")),
        (json!({"type": "basic", "username": "key", "password": ""}), ("authorization", "Basic a2V5Og==")),
    ];
    for (auth, (name, value)) in table {
        let (outbound, credentials) = with_auth(auth.clone());
        let crm = Crm::answering(reply(204, ""));
        let quota = unlimited();
        let connector = crm.connector(&outbound, credentials.as_ref(), &quota);
        let headers = connector.authenticate(true).await.unwrap();
        assert_eq!((headers.len(), headers[name].to_str().unwrap()), (1, value), "{auth}");
        assert!(headers[name].is_sensitive());
        connector.sync_outbound(Entity::Contact, &[delete("con_1", "7")]).await.remove(0).unwrap();
        assert_eq!(crm.arrivals()[0].header(name), value);
        // Without its secret, and with that of another type, nothing is sent.
        for wrong in [None, Some(Credentials::Oauth2 { client_secret: "x".into() })] {
            let error = crm.connector(&outbound, wrong.as_ref(), &quota).authenticate(false).await.unwrap_err();
            assert_eq!((error.code(), error.is_systemic()), ("no_credentials", true));
        }
        assert_eq!(crm.calls().len(), 0);
    }
    let (outbound, crm) = (generic(&json!({})), Crm::answering(reply(204, "")));
    assert_eq!(crm.connector(&outbound, None, &unlimited()).authenticate(false).await.unwrap(), HeaderMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_401_to_what_doesnt_end_is_an_error_at_once() {
    let (outbound, credentials) = with_auth(json!({"type": "bearer", "token": "pat-secret"}));
    let crm = Crm::answering(answer(401, &json!({"message": "pat-secret is unknown, as is cGF0LXNlY3JldA=="})));
    let quota = unlimited();
    let connector = crm.connector(&outbound, credentials.as_ref(), &quota);
    let error = connector.sync_outbound(Entity::Contact, &[delete("con_1", "7")]).await.remove(0).unwrap_err();
    assert_eq!(crm.calls().len(), 1);
    assert_eq!((error.code(), error.is_retryable(), error.is_systemic()), ("unauthorized", false, true));
    let shown = format!("{error} {} {error:?}", error.for_tenant());
    assert!(shown.contains("It said: … is unknown") && !shown.contains("pat-secret"), "{shown}");
}

#[test]
fn secrets_are_taken_out_and_never_shown() {
    let mut json =
        json!({"auth": {"type": "oauth2", "token_url": "https://a.example/", "client_id": "i", "client_secret": "s3"}});
    let credentials = take_credentials(&mut json).unwrap().unwrap();
    assert!(!json.to_string().contains("s3"));
    assert_eq!(format!("{credentials:?}"), "Credentials(…)");
    let stored = serde_json::to_value(&credentials).unwrap();
    assert_eq!(stored, json!({"type": "oauth2", "client_secret": "s3"}));
    assert_eq!(serde_json::from_value::<Credentials>(stored).unwrap(), credentials);
    for nothing in
        [json!({}), json!(5), json!({"auth": {"type": "bearer"}}), json!({"auth": {"type": "bearer", "token": null}})]
    {
        assert_eq!(take_credentials(&mut nothing.clone()).unwrap(), None, "{nothing}");
    }
    let table = [
        ("api_key", "value", json!("")),
        ("api_key", "value", json!("a\nb")),
        ("bearer", "token", json!(" x")),
        ("bearer", "token", json!("é")),
        ("bearer", "token", json!(5)),
        ("basic", "password", json!("a\0b")),
        ("oauth2", "client_secret", json!("")),
        ("oauth2", "client_secret", json!("x".repeat(4_097))),
    ];
    for (kind, name, value) in table {
        let errors = take_credentials(&mut json!({"auth": {"type": kind, name: value}})).unwrap_err();
        assert_eq!(errors[0].field, format!("outbound.auth.{name}"));
    }
}
