//! Tests of the gateway, most of them without a port.

use std::time::Duration;

use http::header::HOST;

use super::*;
use crate::functions::{FunctionError, Functions};
use crate::testing::{clock_at, function};

const TEMPLATE: &str = "
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      Auth:
        Authorizers:
          Key:
            FunctionArn: !GetAtt Authorize.Arn
            AuthorizerPayloadFormatVersion: '2.0'
            EnableSimpleResponses: true
            Identity: {Headers: [Authorization]}
  Echo:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: echo}}
    Properties:
      Events:
        Hook: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: POST, Path: '/hooks/{tenant}'}}
        Safe: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: ANY, Path: '/safe/{proxy+}', Auth: {Authorizer: Key}}}
  Broken:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: broken}}
    Properties:
      Events:
        Any: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: ANY, Path: '/broken/{how}'}}
  Authorize:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: authorize}}
";

/// A gateway whose `echo` answers its event, whose `broken` breaks, and whose `authorize` knows the key `good`.
fn gateway() -> Gateway {
    let template = Template::parse(TEMPLATE, "http://127.0.0.1:9001").unwrap();
    let functions = Functions::default()
        .with("echo", function(|event, _| async { Ok(event) }))
        .with(
            "broken",
            function(|event, _| async move {
                match event["pathParameters"]["how"].as_str() {
                    Some("error") => Err(FunctionError { error_type: "E".to_owned(), message: "secret".to_owned() }),
                    Some("panic") => panic!("on purpose"),
                    Some("hang") => std::future::pending().await,
                    _ => Ok(json!({"statusCode": "none"})),
                }
            }),
        )
        .with(
            "authorize",
            function(|event, _| async move {
                match event["identitySource"][0].as_str() {
                    Some("good") => Ok(json!({"isAuthorized": true, "context": {"question": event}})),
                    Some("bad") => Ok(json!({"isAuthorized": false})),
                    Some("odd") => Ok(json!({"principalId": "x"})),
                    _ => Err(FunctionError { error_type: "E".to_owned(), message: "m".to_owned() }),
                }
            }),
        );
    let clock = clock_at(1_584_039_838);
    let lambda = Lambda::new(&template, functions, Arc::clone(&clock), 1).unwrap();
    Gateway::new(&template, Arc::new(lambda), clock)
}

fn request(method: &str, uri: &str) -> http::request::Builder {
    Request::builder().method(method).uri(uri).header(HOST, "hub.example")
}

async fn answer(request: Request<Bytes>) -> (u16, Value) {
    let response = gateway().handle(request, [203, 0, 113, 7].into()).await;
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
}

async fn post(body: impl Into<Bytes>, content_type: &str) -> Value {
    let request = request("POST", "/hooks/acme").header("content-type", content_type);
    answer(request.body(body.into()).unwrap()).await.1
}

#[tokio::test]
async fn a_request_becomes_an_event() {
    let request = request("POST", "/hooks/a%20b?x=1&y=%26&x=2&z=a+b")
        .header("Content-Type", "application/json")
        .header("X-Twice", "one")
        .header("x-twice", "two")
        .header("X-Forwarded-For", "198.51.100.1")
        .header("User-Agent", "curl/8")
        .header("Cookie", "a=1; b=2")
        .header("Cookie", "c=3");
    let (status, event) = answer(request.body(r#"{"ok":true}"#.into()).unwrap()).await;
    assert_eq!(status, 200);
    let expected = json!({
        "version": "2.0",
        "routeKey": "POST /hooks/{tenant}",
        "rawPath": "/hooks/a b",
        "rawQueryString": "x=1&y=%26&x=2&z=a+b",
        "cookies": ["a=1", "b=2", "c=3"],
        "headers": {
            "content-type": "application/json",
            "host": "hub.example",
            "user-agent": "curl/8",
            "x-forwarded-for": "198.51.100.1, 203.0.113.7",
            "x-forwarded-proto": "http",
            "x-twice": "one,two",
        },
        "queryStringParameters": {"x": "1,2", "y": "&", "z": "a b"},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "hub.example",
            "domainPrefix": "hub",
            "http": {
                "method": "POST",
                "path": "/hooks/a b",
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8",
            },
            "requestId": event["requestContext"]["requestId"],
            "routeKey": "POST /hooks/{tenant}",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_584_039_838_000_u64,
        },
        "pathParameters": {"tenant": "a b"},
        "body": r#"{"ok":true}"#,
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);
    assert_eq!(event["requestContext"]["requestId"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn bodies_are_text_where_they_can_be() {
    let text = [
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/problem+json",
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
    ];
    for content_type in text {
        let event = post("a=ü", content_type).await;
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("a=ü"), &json!(false)), "{content_type}");
    }
    for content_type in ["application/octet-stream", "image/png", ""] {
        let event = post("hi", content_type).await;
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("aGk="), &json!(true)), "{content_type}");
    }
    let event = post(&b"\xff\xfe"[..], "application/json").await;
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("//4="), &json!(true)));
    let event = post("", "application/json").await;
    assert_eq!((event.get("body"), &event["isBase64Encoded"]), (None, &json!(false)));
}

#[tokio::test(start_paused = true)]
async fn a_broken_function_is_an_internal_error() {
    for how in ["error", "panic", "hang", "answer"] {
        let request = request("GET", &format!("/broken/{how}")).body(Bytes::new()).unwrap();
        assert_eq!(answer(request).await, (500, json!({"message": "Internal Server Error"})), "{how}");
    }
}

#[tokio::test]
async fn what_has_no_route_or_is_too_large_is_refused() {
    let refused = |status: u16, message: &str| (status, json!({"message": message}));
    for (method, uri) in [("POST", "/"), ("GET", "/hooks/acme"), ("POST", "/hooks"), ("OPTIONS", "*")] {
        let request = request(method, uri).body(Bytes::new()).unwrap();
        assert_eq!(answer(request).await, refused(404, "Not Found"), "{method} {uri}");
    }
    for (size, status) in [(BODY_BYTES_MAX, 200), (BODY_BYTES_MAX + 1, 413)] {
        let request = request("POST", "/hooks/acme").body(vec![b' '; size].into()).unwrap();
        assert_eq!(answer(request).await.0, status, "{size}");
    }
}

#[tokio::test]
async fn the_authorizer_decides() {
    let unauthorized = (401, json!({"message": "Unauthorized"}));
    assert_eq!(answer(request("GET", "/safe/a").body(Bytes::new()).unwrap()).await, unauthorized);
    let table = [
        ("", unauthorized),
        ("bad", (403, json!({"message": "Forbidden"}))),
        ("odd", (500, json!({"message": "Internal Server Error"}))),
        ("failing", (500, json!({"message": "Internal Server Error"}))),
    ];
    for (key, expected) in table {
        let request = request("GET", "/safe/a").header("Authorization", key).body(Bytes::new()).unwrap();
        assert_eq!(answer(request).await, expected, "{key}");
    }
}

#[tokio::test]
async fn the_authorizers_context_reaches_the_function() {
    let request = request("PUT", "/safe/a/b?c=d").header("Authorization", "good").body("x".into()).unwrap();
    let (status, event) = answer(request).await;
    assert_eq!((status, &event["body"]), (200, &json!("x")));
    let question = &event["requestContext"]["authorizer"]["lambda"]["question"];
    assert_eq!(question["type"], "REQUEST");
    assert_eq!(question["routeArn"], "arn:aws:execute-api:us-east-1:000000000000:local/$default/PUT/safe/a/b");
    assert_eq!(question["identitySource"], json!(["good"]));
    assert_eq!(question["headers"]["authorization"], "good");
    assert_eq!(question["requestContext"]["http"]["sourceIp"], "203.0.113.7");
    assert_eq!((question.get("body"), question.get("isBase64Encoded")), (None, None));
}

async fn invoke(name: &str, kind: Option<&str>, body: &str) -> Response<Bytes> {
    let mut request = request("POST", &format!("/2015-03-31/functions/{name}/invocations"));
    if let Some(kind) = kind {
        request = request.header("X-Amz-Invocation-Type", kind);
    }
    gateway().handle(request.body(body.to_owned().into()).unwrap(), [127, 0, 0, 1].into()).await
}

#[tokio::test]
async fn functions_are_invoked_by_any_of_their_names() {
    let names = [
        "echo",
        "echo:$LATEST",
        "echo%3A%24LATEST",
        "arn:aws:lambda:us-east-1:000000000000:function:echo",
        "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Aecho%3Aprod",
        "000000000000:function:echo",
    ];
    for name in names {
        let response = invoke(name, Some("RequestResponse"), r#"{"a":1}"#).await;
        assert_eq!(response.status(), 200, "{name}");
        assert_eq!(response.body(), r#"{"a":1}"#, "{name}");
        assert_eq!(response.headers()["x-amz-executed-version"], "$LATEST");
    }
    assert_eq!(invoke("echo", None, "").await.body(), "{}");
}

#[tokio::test]
async fn invocations_end_as_lambdas_do() {
    let failed = invoke("broken", None, r#"{"pathParameters":{"how":"error"}}"#).await;
    assert_eq!(failed.status(), 200);
    assert_eq!(failed.headers()["x-amz-function-error"], "Unhandled");
    assert_eq!(failed.body(), r#"{"errorMessage":"secret","errorType":"E"}"#);

    assert_eq!(invoke("echo", Some("Event"), "{}").await.status(), 202);
    assert_eq!(invoke("echo", Some("DryRun"), "{}").await.status(), 204);
    let table = [
        ("other", None, "{}", 404, "ResourceNotFoundException"),
        ("other", Some("Event"), "{}", 404, "ResourceNotFoundException"),
        ("echo", Some("Later"), "{}", 400, "InvalidParameterValueException"),
        ("echo", None, "{", 400, "InvalidRequestContentException"),
    ];
    for (name, kind, body, status, code) in table {
        let response = invoke(name, kind, body).await;
        assert_eq!(response.status(), status, "{code}");
        assert_eq!(response.headers()["x-amzn-errortype"], code);
    }
    let large = format!("\"{}\"", "x".repeat(6 * 1024 * 1024));
    assert_eq!(invoke("echo", None, &large).await.headers()["x-amzn-errortype"], "RequestTooLargeException");
}

#[tokio::test]
async fn an_event_invocation_runs_in_the_background() {
    let (done, mut was_done) = tokio::sync::mpsc::unbounded_channel();
    let f = function(move |event, _| {
        done.send(event).unwrap();
        std::future::ready(Ok(Value::Null))
    });
    let lambda = crate::testing::lambda([("f", f)]);
    let template = crate::testing::template(&["f"], "");
    let gateway = Gateway::new(&template, lambda, clock_at(0));
    let request = request("POST", "/2015-03-31/functions/f/invocations").header("x-amz-invocation-type", "Event");
    gateway.handle(request.body("1".into()).unwrap(), [127, 0, 0, 1].into()).await;
    let event = tokio::time::timeout(Duration::from_secs(10), was_done.recv()).await;
    assert_eq!(event.unwrap(), Some(json!(1)));
}
