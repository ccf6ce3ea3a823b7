//! Metrics in CloudWatch's embedded metric format: a log line that CloudWatch makes a metric of, without a call.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! Each set of values of the dimensions costs $0.30 a month for each metric, so tenants and the systems that they name are no
//! dimensions, unless the deployment asks for tenants (`TENANT_METRICS`); they stand in the line, where CloudWatch Logs
//! Insights finds them. No dimension's value is what a caller wrote: whoever could invent one could run up the bill.
//!
//! These lines are written whatever the log level is, because a metric mustn't end with somebody's wish for a quieter log.

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use crate::{
    deliver::record::Attempt,
    hub::Clock,
    inbound::InboundEvent,
    mapping::BUILTIN_SYSTEMS,
    operation::Deliver,
    process::{Failure, Status},
    sync::state::Scope,
    time::millis_text,
};

/// The namespace of all metrics; the alarms of `infra/template.yaml` name it too.
pub const NAMESPACE: &str = "SmrtHub";

/// What a line has, and seldom more.
const LINE_BYTES: usize = 1_024;

/// Takes a line. On Lambda it goes to standard output, and so to CloudWatch Logs.
pub type Emit = Arc<dyn Fn(&str) + Send + Sync>;

/// Counts what an operator is to know.
pub struct Metrics {
    stage: String,
    /// Whether tenants are dimensions.
    by_tenant: bool,
    clock: Clock,
    emit: Emit,
}

/// How a webhook ended; each has a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// One event of it, by its verdict.
    Event(Status),
    /// It only asked whether we are there.
    Challenge,
    /// Nothing of it was taken.
    Refused,
}

impl Ending {
    /// As the line says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event(status) => status.as_str(),
            Self::Challenge => "challenge",
            Self::Refused => "refused",
        }
    }

    fn metric(self) -> &'static str {
        match self {
            Self::Event(Status::Processed) => "WebhooksProcessed",
            Self::Event(Status::Duplicate) => "WebhooksDuplicate",
            Self::Event(Status::Queued) => "WebhooksQueued",
            Self::Event(Status::Failed) => "WebhooksFailed",
            Self::Event(Status::Ignored) | Self::Challenge => "WebhooksIgnored",
            Self::Refused => "WebhooksRefused",
        }
    }
}

/// A line that counts something.
struct Line<'a> {
    level: &'a str,
    message: &'a str,
    dimensions: &'a [&'a [&'a str]],
    /// Names and values. The first one is counted by tenant too, where the deployment asks for that.
    metrics: &'a [(&'a str, i64)],
    /// The tenant, where it is known to exist and its numbers may be counted apart.
    tenant: Option<&'a str>,
    /// What else the line says. What is empty is left out.
    fields: Value,
}

impl Metrics {
    /// For the deployment `stage`; `by_tenant` makes tenants a dimension.
    #[must_use]
    pub fn new(stage: &str, by_tenant: bool, clock: Clock, emit: Emit) -> Self {
        Self { stage: stage.to_owned(), by_tenant, clock, emit }
    }

    /// A webhook ended; of a batch, one of its events. `system` and `tenant` are as the caller wrote them, the latter only
    /// where there is such a system. `ms` is of the whole request, and so only of the first event of a batch.
    pub fn webhook(&self, system: &str, tenant: Option<&str>, ending: Ending, ms: Option<i64>, mut fields: Value) {
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("system".to_owned(), dimension(system).into());
            fields.insert("status".to_owned(), ending.as_str().into());
        }
        let ms = ms.map(|ms| ("WebhookMilliseconds", ms));
        let metrics: Vec<_> = [("Webhooks", 1), (ending.metric(), 1)].into_iter().chain(ms).collect();
        let dimensions: &[&[&str]] = &[&["stage", "system"]];
        self.write(&Line { level: "INFO", message: "webhook", dimensions, metrics: &metrics, tenant, fields });
    }

    /// An event became a failure, or failed again.
    pub fn failure(&self, event: &InboundEvent, failure: &Failure, correlation_id: &str) {
        self.write(&Line {
            level: "WARN",
            message: "failure",
            dimensions: &[&["stage"], &["stage", "system"]],
            metrics: &[("Failures", 1)],
            tenant: Some(event.tenant_id.as_str()),
            fields: json!({
                "system": dimension(event.system_id.as_str()),
                "system_id": event.system_id,
                "tenant": event.tenant_id,
                "code": failure.code,
                "failure_id": failure.id,
                "correlation_id": correlation_id,
            }),
        });
    }

    /// One attempt of a delivery was made. No URL, header, body or secret is told.
    pub fn delivery(&self, delivery: &Deliver, attempt: &Attempt, succeeded: bool) {
        self.write(&Line {
            level: "INFO",
            message: "delivery",
            dimensions: &[&["stage"]],
            metrics: &[
                ("Deliveries", 1),
                ("DeliveriesFailed", i64::from(!succeeded)),
                ("DeliveryMilliseconds", attempt.duration_ms),
            ],
            tenant: Some(delivery.tenant_id.as_str()),
            fields: json!({
                "tenant": delivery.tenant_id,
                "subscription": delivery.subscription_id,
                "event": delivery.event_id,
                "attempt": delivery.made,
                "succeeded": succeeded,
                "http_status": attempt.status_code,
                "error": attempt.error,
                "ms": attempt.duration_ms,
                "correlation_id": delivery.correlation_id,
            }),
        });
    }

    /// A delivery is out of attempts. Counted apart, because what is broken is a tenant's endpoint and not the hub.
    pub fn exhausted(&self, delivery: &Deliver, failure: &Failure) {
        self.write(&Line {
            level: "WARN",
            message: "a delivery is exhausted",
            dimensions: &[&["stage"]],
            metrics: &[("ExhaustedDeliveries", 1)],
            tenant: None,
            fields: json!({
                "tenant": delivery.tenant_id,
                "subscription": delivery.subscription_id,
                "event": delivery.event_id,
                "failure_id": failure.id,
                "correlation_id": delivery.correlation_id,
            }),
        });
    }

    /// A run of a sync ended, in which `records` were sent or taken in.
    pub fn synced(&self, scope: &Scope, task: &str, (records, ms): (i64, i64), correlation_id: Option<&str>) {
        self.write(&Line {
            level: "INFO",
            message: "sync",
            dimensions: &[&["stage", "system"]],
            metrics: &[("RecordsSynced", records)],
            tenant: None,
            fields: json!({
                "system": dimension(scope.system.as_str()),
                "system_id": scope.system,
                "tenant": scope.tenant,
                "entity_type": scope.entity,
                "task": task,
                "ms": ms,
                "correlation_id": correlation_id,
            }),
        });
    }

    /// A record of a sync is a failure. Counted apart, because what is broken is a tenant's CRM or its configuration.
    pub fn sync_failed(&self, scope: &Scope, failure: &Failure, correlation_id: Option<&str>) {
        self.write(&Line {
            level: "WARN",
            message: "a sync failed",
            dimensions: &[&["stage"]],
            metrics: &[("FailedSyncs", 1)],
            tenant: None,
            fields: json!({
                "tenant": scope.tenant,
                "system_id": scope.system,
                "entity_type": scope.entity,
                "code": failure.code,
                "failure_id": failure.id,
                "correlation_id": correlation_id,
            }),
        });
    }

    fn write(&self, line: &Line<'_>) {
        let mut text = Vec::with_capacity(LINE_BYTES);
        // Writing JSON into memory can't fail.
        if self.serialize(line, &mut serde_json::Serializer::new(&mut text)).is_ok() {
            (self.emit)(&String::from_utf8_lossy(&text));
        }
    }

    /// Straight to text: a line is written for each webhook, and a tree of values would be thrown away.
    fn serialize<S: Serializer>(&self, line: &Line<'_>, serializer: S) -> Result<S::Ok, S::Error> {
        let now = (self.clock)();
        let of_tenants = line.tenant.filter(|_| self.by_tenant).map(|_| Directive {
            dimensions: &[&["stage", "tenant"]],
            metrics: metrics(line.metrics.get(..1).unwrap_or_default()),
            namespace: NAMESPACE,
        });
        let of_all = Directive { dimensions: line.dimensions, metrics: metrics(line.metrics), namespace: NAMESPACE };
        let directives = std::iter::once(of_all).chain(of_tenants).collect();
        let mut fields = serializer.serialize_map(None)?;
        fields
            .serialize_entry("_aws", &Embedded { cloud_watch_metrics: directives, timestamp: now.as_millisecond() })?;
        // For Lambda, that takes a line without it for one of another level.
        fields.serialize_entry("timestamp", &millis_text(now))?;
        fields.serialize_entry("level", line.level)?;
        fields.serialize_entry("message", line.message)?;
        fields.serialize_entry("stage", &self.stage)?;
        let about = line.fields.as_object().into_iter().flatten();
        for (name, value) in about.filter(|(_, value)| !value.is_null() && *value != "") {
            fields.serialize_entry(name, value)?;
        }
        for (name, value) in line.metrics {
            fields.serialize_entry(name, value)?;
        }
        fields.end()
    }
}

/// What a line is for CloudWatch.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Embedded<'a> {
    cloud_watch_metrics: Vec<Directive<'a>>,
    timestamp: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    dimensions: &'a [&'a [&'a str]],
    metrics: Vec<Metric<'a>>,
    namespace: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric<'a> {
    name: &'a str,
    unit: &'static str,
}

fn metrics<'a>(all: &[(&'a str, i64)]) -> Vec<Metric<'a>> {
    all.iter().map(|(name, _)| Metric { name, unit: unit(name) }).collect()
}

/// The value of the dimension `system`: one of few, whatever systems tenants register or callers invent.
fn dimension(system: &str) -> &str {
    if BUILTIN_SYSTEMS.contains(&system) { system } else { "registered" }
}

fn unit(metric: &str) -> &'static str {
    if metric.ends_with("Milliseconds") { "Milliseconds" } else { "Count" }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::Timestamp;

    use super::*;
    use crate::ids::TenantId;

    /// The lines of what is counted, where tenants are a dimension or aren't.
    fn lines(by_tenant: bool, count: impl FnOnce(&Metrics)) -> Vec<Value> {
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = Arc::clone(&lines);
        let emit = Arc::new(move |line: &str| kept.lock().unwrap().push(serde_json::from_str(line).unwrap()));
        count(&Metrics::new("prod", by_tenant, Arc::new(|| Timestamp::from_second(1_700_000_000).unwrap()), emit));
        std::mem::take(&mut *lines.lock().unwrap())
    }

    #[test]
    fn a_tenant_is_a_dimension_only_where_the_deployment_asks_for_it_and_there_is_such_a_tenant() {
        let count = |metrics: &Metrics| {
            let fields = |tenant: &str| json!({"tenant": tenant, "code": null});
            metrics.webhook("stripe", Some("acme"), Ending::Event(Status::Processed), Some(7), fields("acme"));
            metrics.webhook("my crm", None, Ending::Refused, Some(1), fields("nobody"));
            let delivery = Deliver::first(&TenantId::parse("acme").unwrap(), "sub_1", "evt_1");
            let at = Timestamp::UNIX_EPOCH;
            let attempt =
                Attempt { at, status_code: None, error: None, duration_ms: 30, response: Some("+1415".into()) };
            metrics.delivery(&delivery, &attempt, false);
        };
        let sets = |line: &Value| -> Vec<Value> {
            let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
            directives.iter().map(|directive| json!([directive["Dimensions"], directive["Metrics"]])).collect()
        };
        let plain = lines(false, count);
        let by_tenant = lines(true, count);
        let more: Vec<usize> = plain.iter().zip(&by_tenant).map(|(a, b)| sets(b).len() - sets(a).len()).collect();
        assert_eq!(more, [1, 0, 1]);
        assert!(plain.iter().all(|line| !line["_aws"].to_string().contains("tenant")), "{plain:?}");
        let of = |name: &str| json!([[["stage", "tenant"]], [{"Name": name, "Unit": "Count"}]]);
        assert_eq!((&sets(&by_tenant[0])[1], &sets(&by_tenant[2])[1]), (&of("Webhooks"), &of("Deliveries")));
        assert_eq!(by_tenant[1]["system"], "registered");
        assert_eq!(
            plain[0],
            json!({
                "_aws": {
                    "Timestamp": 1_700_000_000_000_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "SmrtHub",
                        "Dimensions": [["stage", "system"]],
                        "Metrics": [
                            {"Name": "Webhooks", "Unit": "Count"},
                            {"Name": "WebhooksProcessed", "Unit": "Count"},
                            {"Name": "WebhookMilliseconds", "Unit": "Milliseconds"},
                        ],
                    }],
                },
                "timestamp": "2023-11-14T22:13:20.000Z", "level": "INFO", "message": "webhook",
                "stage": "prod", "system": "stripe", "tenant": "acme", "status": "processed",
                "Webhooks": 1, "WebhooksProcessed": 1, "WebhookMilliseconds": 7,
            })
        );
        assert!(!plain[2].to_string().contains("1415"), "an endpoint's answer is nobody else's business");
    }
}
