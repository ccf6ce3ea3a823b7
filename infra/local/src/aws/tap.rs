//! A tap on the line to the services: counts calls, and makes them fail on purpose.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use super::sts;

/// One of the embedded services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Tables.
    DynamoDb,
    /// Queues.
    Sqs,
    /// Secrets.
    SecretsManager,
    /// Sessions.
    Sts,
}

impl Service {
    /// Splits an `X-Amz-Target` header into service and operation.
    pub(super) fn parse(target: &str) -> Option<(Self, &str)> {
        let (prefix, operation) = target.split_once('.')?;
        let service = match prefix {
            "DynamoDB_20120810" => Self::DynamoDb,
            "AmazonSQS" => Self::Sqs,
            "secretsmanager" => Self::SecretsManager,
            "sts" => Self::Sts,
            _ => return None,
        };
        Some((service, operation))
    }
}

/// A call that is about to be made.
#[derive(Debug)]
pub struct Call<'a> {
    /// How many calls went through this tap before, attempts and retries alike.
    pub number: usize,
    /// The service that is called.
    pub service: Service,
    /// The operation's name, such as `PutItem`.
    pub operation: &'a str,
    /// The access key that the request is signed with; it tells who asks.
    pub access_key: &'a str,
    /// The request's JSON; of STS, its form.
    pub body: &'a [u8],
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is made.
    None,
    /// It isn't made; the service answers an error.
    Refuse {
        /// The HTTP status, such as 400 or 500.
        status: u16,
        /// The error code, such as `ProvisionedThroughputExceededException`.
        code: &'static str,
    },
    /// It isn't made; no connection comes about.
    Disconnect,
    /// It isn't made; no answer comes in time.
    TimeOut,
    /// It is made, but its answer doesn't arrive in time.
    LoseAnswer,
    /// It isn't made, and its caller never hears of it: for one that is ended meanwhile.
    Hang,
    /// It is made, and its caller never hears of it.
    HangAfter,
}

/// What becomes of a call, and how long that takes in tokio's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// How long the call takes to get there.
    pub before: Duration,
    /// What becomes of it.
    pub fault: Fault,
    /// How long the answer takes to come back.
    pub after: Duration,
}

impl From<Fault> for Fate {
    fn from(fault: Fault) -> Self {
        Self { before: Duration::ZERO, fault, after: Duration::ZERO }
    }
}

/// A call that was made or refused.
#[derive(Debug, Clone)]
pub struct Record {
    /// The number it had as a [`Call`].
    pub number: usize,
    /// The service that was called.
    pub service: Service,
    /// The operation's name.
    pub operation: String,
    /// What the tap did to it.
    pub fault: Fault,
    /// The status that the service answered; `None` where it was never asked.
    pub status: Option<u16>,
    /// The answer's `ConsumedCapacity`, where the request wanted it.
    pub consumed_capacity: Option<Value>,
}

impl Record {
    /// The capacity units that the call took, over all its tables and their indexes; 0 where unknown.
    #[must_use]
    pub fn capacity_units(&self) -> f64 {
        let units = |table: &Value| table.get("CapacityUnits").and_then(Value::as_f64).unwrap_or_default();
        match &self.consumed_capacity {
            Some(Value::Array(tables)) => tables.iter().map(units).sum(),
            Some(table) => units(table),
            None => 0.0,
        }
    }
}

/// Sees every call of the [`Aws`](super::Aws) handles it was given to, and may make it fail.
pub struct Tap {
    fate: Box<dyn Fn(&Call) -> Fate + Send + Sync>,
    calls: AtomicUsize,
    records: Mutex<Vec<Record>>,
}

/// No answer comes: what an HTTP client sees when it isn't an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum LostAnswer {
    #[error("the connection was refused on purpose")]
    Disconnected,
    #[error("the answer was held back on purpose")]
    TimedOut,
}

impl Tap {
    /// A tap that asks `fate` before every call what is to become of it.
    #[must_use]
    pub fn new<F: Into<Fate>>(fate: impl Fn(&Call) -> F + Send + Sync + 'static) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self {
            fate: Box::new(move |call| fate(call).into()),
            calls: AtomicUsize::new(0),
            records: Mutex::new(Vec::new()),
        })
    }

    /// A tap that only records.
    #[must_use]
    pub fn recording() -> std::sync::Arc<Self> {
        Self::new(|_| Fault::None)
    }

    /// The calls since the last time this was asked, in the order in which they ended.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the call with `make`, or doesn't, as the fault says.
    pub(super) async fn pass<F: Future<Output = Response<Bytes>>>(
        &self,
        service: Service,
        operation: &str,
        (access_key, body): (&str, Bytes),
        make: impl FnOnce(Bytes) -> F,
    ) -> Result<Response<Bytes>, LostAnswer> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let Fate { before, fault, after } = (self.fate)(&Call { number, service, operation, access_key, body: &body });
        wait(before).await;
        let response = match fault {
            Fault::None | Fault::LoseAnswer | Fault::HangAfter => Some(make(metered(service, body)).await),
            Fault::Refuse { .. } | Fault::Disconnect | Fault::TimeOut | Fault::Hang => None,
        };
        let record = Record {
            number,
            service,
            operation: operation.to_owned(),
            fault,
            status: response.as_ref().map(|response| response.status().as_u16()),
            consumed_capacity: response.as_ref().and_then(consumed_capacity),
        };
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        wait(after).await;
        match (fault, response) {
            (Fault::Hang | Fault::HangAfter, _) => std::future::pending().await,
            (Fault::None, Some(response)) => Ok(response),
            (Fault::Refuse { status, code }, _) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let refusal = if service == Service::Sts { sts::error } else { super::error };
                Ok(refusal(status, code, "Refused on purpose."))
            }
            (Fault::Disconnect, _) => Err(LostAnswer::Disconnected),
            (Fault::None | Fault::TimeOut | Fault::LoseAnswer, _) => Err(LostAnswer::TimedOut),
        }
    }
}

async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// The request, asking for the capacity that it takes: the functions don't ask, but whoever taps them wants to know.
fn metered(service: Service, body: Bytes) -> Bytes {
    match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Object(mut request)) if service == Service::DynamoDb => {
            request.entry("ReturnConsumedCapacity").or_insert_with(|| "INDEXES".into());
            Value::Object(request).to_string().into()
        }
        _ => body,
    }
}

fn consumed_capacity(response: &Response<Bytes>) -> Option<Value> {
    let mut body: Value = serde_json::from_slice(response.body()).ok()?;
    body.get_mut("ConsumedCapacity").map(Value::take)
}
