//! Requests as events in payload format 2.0
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, USER_AGENT};
use http::{HeaderMap, Request, Version};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::API_ID;
use super::routes::{Matched, decoded};
use crate::aws::ACCOUNT_ID;

/// What the gateway itself knows of a request.
pub(super) struct Arrival {
    pub request_id: String,
    pub source_ip: IpAddr,
    pub time: SystemTime,
}

/// The event for a request, without its body.
pub(super) fn without_body(request: &Request<Bytes>, matched: &Matched, arrival: &Arrival) -> Map<String, Value> {
    let mut event = Map::new();
    let mut set = |name: &str, value: Value| event.insert(name.to_owned(), value);
    set("version", "2.0".into());
    set("routeKey", route_key(matched).into());
    set("rawPath", decoded(request.uri().path()).into());
    set("rawQueryString", request.uri().query().unwrap_or_default().into());
    set("headers", json!(headers(request.headers(), arrival.source_ip)));
    set("requestContext", request_context(request, matched, arrival));
    let cookies = cookies(request.headers());
    if !cookies.is_empty() {
        set("cookies", json!(cookies));
    }
    if let Some(query) = request.uri().query() {
        set("queryStringParameters", json!(query_parameters(query)));
    }
    if !matched.parameters.is_empty() {
        set(
            "pathParameters",
            matched.parameters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect(),
        );
    }
    event
}

/// Adds the body to an event: as text, or in base64 where it is none.
pub(super) fn add_body(event: &mut Map<String, Value>, request: &Request<Bytes>) {
    let body = request.body();
    let text = std::str::from_utf8(body).ok().filter(|_| is_text(request.headers()));
    event.insert("isBase64Encoded".to_owned(), text.is_none().into());
    if !body.is_empty() {
        let body = text.map_or_else(|| BASE64_STANDARD.encode(body), str::to_owned);
        event.insert("body".to_owned(), body.into());
    }
}

fn route_key(matched: &Matched) -> String {
    let route = matched.route;
    if route.path == "$default" { route.path.clone() } else { format!("{} {}", route.method, route.path) }
}

fn request_context(request: &Request<Bytes>, matched: &Matched, arrival: &Arrival) -> Value {
    let time = Timestamp::try_from(arrival.time).unwrap_or(Timestamp::UNIX_EPOCH);
    let header = |name| request.headers().get(name).map(text).unwrap_or_default();
    let domain = header(HOST);
    json!({
        "accountId": ACCOUNT_ID,
        "apiId": API_ID,
        "domainName": domain,
        "domainPrefix": domain.split('.').next(),
        "http": {
            "method": request.method().as_str(),
            "path": decoded(request.uri().path()),
            "protocol": protocol(request.version()),
            "sourceIp": arrival.source_ip.to_string(),
            "userAgent": header(USER_AGENT),
        },
        "requestId": arrival.request_id,
        "routeKey": route_key(matched),
        "stage": "$default",
        "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
        "timeEpoch": time.as_millisecond(),
    })
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// The headers by their lower-case names, repeated ones joined with commas, cookies left out, and the sender's
/// address added.
fn headers(headers: &HeaderMap, source_ip: IpAddr) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers.iter().filter(|(name, _)| **name != COOKIE) {
        append(joined.entry(name.to_string()).or_default(), &text(value), ",");
    }
    append(joined.entry("x-forwarded-for".to_owned()).or_default(), &source_ip.to_string(), ", ");
    joined.insert("x-forwarded-proto".to_owned(), "http".to_owned());
    joined
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(COOKIE).iter().map(text);
    lines.flat_map(|line| line.split("; ").map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The query's parameters, decoded, repeated ones joined with commas.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match joined.get_mut(name.as_ref()) {
            Some(values) => {
                values.push(',');
                values.push_str(&value);
            }
            None => {
                joined.insert(name.into_owned(), value.into_owned());
            }
        }
    }
    joined
}

fn append(joined: &mut String, value: &str, separator: &str) {
    if !joined.is_empty() {
        joined.push_str(separator);
    }
    joined.push_str(value);
}

/// A header's value; bytes that aren't UTF-8 become U+FFFD.
fn text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Whether a body of this content type is handed over as it is.
fn is_text(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE).map(text) else { return true };
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || matches!(
            media_type.as_str(),
            "application/json" | "application/xml" | "application/javascript" | "application/x-www-form-urlencoded"
        )
}
