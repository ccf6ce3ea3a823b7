//! What is sent: the webhook of a call, and batches of deliveries as SQS hands them over.

use std::ops::Range;

use jiff::Timestamp;
use local::demo;
use serde_json::{Value, json};
use shared::{
    event::{Event, transient_id},
    ids::TenantId,
    operation::{Deliver, Operation},
};

use super::function::timestamp;

pub const SYSTEM: &str = "sarah_ai";
/// The batch size of the template.
pub const BATCH: usize = 10;

/// The sample of a call, as one more call, and the headers that sign it.
pub fn webhook(url: &str, n: usize) -> (String, Vec<(String, String)>) {
    let sample = include_str!("../../../events/sarah_ai/call_ended.json");
    let mut body = serde_json::from_str::<Value>(sample).unwrap()["body"].take();
    body["event_id"] = json!(format!("evt_{n}"));
    body["call"]["id"] = json!(format!("call_{n}"));
    let body = body.to_string();
    let headers = demo::signed(&demo::compiled(SYSTEM).unwrap(), url, &body, "", timestamp()).unwrap();
    (body, headers)
}

/// A delivery: the event's id, the event, the subscription.
#[derive(Clone)]
pub struct Delivery {
    pub id: String,
    pub event: Event,
    pub subscription: String,
}

/// The events of these calls, each to all subscriptions, in the order in which `publish-events` queues them.
pub fn deliveries(event: &Event, events: Range<usize>, subscriptions: &[String]) -> Vec<Delivery> {
    let of_event = |n: usize| {
        let id = transient_id(event.at, (n as u128).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
        subscriptions.iter().map(move |subscription| Delivery {
            id: id.clone(),
            event: event.clone(),
            subscription: subscription.clone(),
        })
    };
    events.flat_map(of_event).collect()
}

impl Delivery {
    /// The message in the queue.
    pub fn operation(&self) -> Operation {
        let tenant = TenantId::parse(demo::TENANT).unwrap();
        let first = Deliver::first(&tenant, &self.subscription, &self.id);
        Operation::Deliver(Box::new(Deliver { event: Some(self.event.clone()), ..first }))
    }
}

/// A batch as Lambda hands it over.
pub fn batch(deliveries: &[Delivery], now: Timestamp) -> Vec<u8> {
    let (handle, md5) = ("AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a".repeat(8), "7b270e59b47ff90a553787216d55d91d");
    let record = |(n, delivery): (usize, &Delivery)| {
        json!({
            "messageId": format!("19dd0b57-b21e-4ac1-bd88-{n:012}"),
            "receiptHandle": handle,
            "body": delivery.operation().to_message().body,
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": now.as_millisecond().to_string(),
                "SenderId": "AROAIWPX5BD2BHG722MW4:sender",
                "ApproximateFirstReceiveTimestamp": now.as_millisecond().to_string(),
                "MessageGroupId": delivery.subscription,
            },
            "messageAttributes": {},
            "md5OfBody": md5,
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:smrt-DeliveryQueue",
            "awsRegion": "us-east-1",
        })
    };
    let records: Vec<Value> = deliveries.iter().enumerate().map(record).collect();
    serde_json::to_vec(&json!({"Records": records})).unwrap()
}
