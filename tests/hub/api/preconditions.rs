//! `ETag`, `If-Match` and `If-None-Match` on what people edit.

use http::Method;
use serde_json::{Value, json};

use super::{call, world};

#[tokio::test]
async fn nobody_overwrites_what_they_have_not_seen() {
    let (world, tenant) = world().await;
    let subscription = json!({"url": "https://example.com/hooks", "event_types": ["*"]});
    let made = world.post_json(&tenant, "/v1/subscriptions", &subscription.to_string()).await;
    let subscription_path = format!("/v1/subscriptions/{}", made.text("/id"));
    for (path, method, first, second) in [
        ("/v1/contacts/con_1", Method::PUT, json!({"first_name": "Ada"}), json!({"first_name": "Countess"})),
        ("/v1/companies/com_1", Method::PUT, json!({"name": "Engines"}), json!({"name": "Analytical Engines"})),
        ("/v1/integrations/erp", Method::PUT, json!({}), json!({"active": false})),
        (subscription_path.as_str(), Method::PATCH, json!({"description": "a"}), json!({"description": "b"})),
    ] {
        let change = async |condition: &[(&str, &str)], body: &Value| {
            call(&world, &tenant, (method.clone(), path), condition, body).await
        };
        let made = change(&[], &first).await;
        assert!(made.status.is_success(), "{made:?}");
        let seen = world.get(&tenant, path).await;
        let tag = seen.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!(made.headers["etag"], tag.as_str(), "{path}");
        let known = call(&world, &tenant, (Method::GET, path), &[("if-none-match", &tag)], &Value::Null).await;
        assert_eq!((known.status.as_u16(), &known.body), (304, &Value::Null), "{path}");
        world.advance(1);
        let changed = change(&[("if-match", &tag)], &second).await;
        assert!(changed.status.is_success(), "{path}: {changed:?}");
        // Who read it before loses.
        for stale in [&[("if-match", tag.as_str())][..], &[("if-none-match", "*")]] {
            let refused = change(stale, &first).await;
            assert_eq!((refused.status.as_u16(), refused.text("/code")), (412, "precondition_failed"), "{path}");
        }
        let delete =
            async |tag: &str| call(&world, &tenant, (Method::DELETE, path), &[("if-match", tag)], &json!({})).await;
        assert_eq!(delete(&tag).await.status, 412, "{path}");
        let tag = changed.headers["etag"].to_str().unwrap();
        assert_eq!(delete(&format!("\"other\", {tag}")).await.status, 204, "{path}");
        assert_eq!(world.get(&tenant, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_record_is_made_only_once_where_that_is_asked_for() {
    let (world, tenant) = world().await;
    let path = "/v1/contacts/con_1";
    let put = async |header: &str, value: &str| {
        call(&world, &tenant, (Method::PUT, path), &[(header, value)], &json!({"first_name": "Ada"}))
            .await
            .status
            .as_u16()
    };
    assert_eq!(put("if-match", "*").await, 412, "there is none");
    let (one, other) = tokio::join!(put("if-none-match", "*"), put("if-none-match", "*"));
    assert_eq!([one.min(other), one.max(other)], [201, 412]);
    assert_eq!(put("if-match", "*").await, 200);
    world.delete(&tenant, path).await;
    assert_eq!(put("if-none-match", "*").await, 201, "again");
}
