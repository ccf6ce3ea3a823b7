//! The floor: plain posts, signed in both ways of the contract, with the same bytes and the same settings of the client.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, header};
use local::demo;
use reqwest::Client;
use sha2::Sha256;

use super::{function::timestamp, sample::Delivery};

/// One post, and its answer to the end.
pub async fn post(client: &Client, url: &str, secret: &str, delivery: &Delivery) {
    let (id, event, now) = (&delivery.id, &delivery.event, timestamp().as_second());
    let digest = mac(secret.as_bytes(), &[event.data.as_bytes()]);
    let signature = format!("sha256={}", hex(&digest));
    let body = format!(
        "{{\"event_id\":\"{id}\",\"event_type\":\"{}\",\"timestamp\":\"{}\",\"source_system\":\"smrt_crm\",\"tenant_id\":\"{}\",\
         \"data\":{},\"metadata\":{{\"retry_count\":0,\"signature\":\"{signature}\",\"version\":\"1.0\"}}}}",
        event.event_type.as_str(),
        event.at,
        demo::TENANT,
        event.data,
    );
    let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let digest = mac(&key, &[format!("{id}.{now}.").as_bytes(), body.as_bytes()]);
    let value = |text: &str| HeaderValue::from_str(text).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("SMRT-CRM-Webhooks/1.0"));
    headers.insert("x-webhook-event", HeaderValue::from_static(event.event_type.as_str()));
    headers.insert("x-webhook-signature", value(&signature));
    headers.insert("webhook-id", value(id));
    headers.insert("webhook-timestamp", value(&now.to_string()));
    headers.insert("webhook-signature", value(&format!("v1,{}", BASE64.encode(digest))));
    let answer = client.post(url).headers(headers).body(body).timeout(Duration::from_secs(30)).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    answer.bytes().await.unwrap();
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from_digit(digit.into(), 16).unwrap()).collect()
}
