//! Metrics in CloudWatch's embedded metric format: a log line that CloudWatch makes a metric of, without a call.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! Each set of values of the dimensions costs $0.30 a month, so tenants and the systems that they name are no dimensions;
//! they stand in the line, where CloudWatch Logs Insights finds them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    hub::Clock, inbound::InboundEvent, mapping::BUILTIN_SYSTEMS, operation::Deliver, process::Failure,
    sync::state::Scope,
};

/// The namespace of all metrics; the alarms of `infra/template.yaml` name it too.
pub const NAMESPACE: &str = "SmrtHub";

/// Takes a line. On Lambda it goes to standard output, and so to CloudWatch Logs.
pub type Emit = Arc<dyn Fn(&str) + Send + Sync>;

/// Counts what an operator is to know.
pub struct Metrics {
    stage: String,
    clock: Clock,
    emit: Emit,
}

impl Metrics {
    /// For the deployment `stage`.
    #[must_use]
    pub fn new(stage: &str, clock: Clock, emit: Emit) -> Self {
        Self { stage: stage.to_owned(), clock, emit }
    }

    /// An event became a failure, or failed again.
    pub fn failure(&self, event: &InboundEvent, failure: &Failure) {
        let system = event.system_id.as_str();
        let line = json!({
            "_aws": self.counts("Failures", &json!([["stage"], ["stage", "system"]])),
            "Failures": 1,
            "stage": self.stage,
            "system": if BUILTIN_SYSTEMS.contains(&system) { system } else { "registered" },
            "system_id": system,
            "tenant_id": event.tenant_id,
            "code": failure.code,
            "failure_id": failure.id,
        });
        (self.emit)(&line.to_string());
    }

    /// A delivery is out of attempts. Counted apart, because what is broken is a tenant's endpoint and not the hub.
    pub fn exhausted(&self, delivery: &Deliver, failure: &Failure) {
        let line = json!({
            "_aws": self.counts("ExhaustedDeliveries", &json!([["stage"]])),
            "ExhaustedDeliveries": 1,
            "stage": self.stage,
            "tenant_id": delivery.tenant_id,
            "subscription_id": delivery.subscription_id,
            "event_id": delivery.event_id,
            "failure_id": failure.id,
        });
        (self.emit)(&line.to_string());
    }

    /// A record of a sync is a failure. Counted apart, because what is broken is a tenant's CRM or its configuration.
    pub fn sync_failed(&self, scope: &Scope, failure: &Failure) {
        let line = json!({
            "_aws": self.counts("FailedSyncs", &json!([["stage"]])),
            "FailedSyncs": 1,
            "stage": self.stage,
            "tenant_id": scope.tenant,
            "system_id": scope.system,
            "entity_type": scope.entity,
            "code": failure.code,
            "failure_id": failure.id,
        });
        (self.emit)(&line.to_string());
    }

    fn counts(&self, metric: &str, dimensions: &Value) -> Value {
        json!({
            "Timestamp": (self.clock)().as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": dimensions,
                "Metrics": [{"Name": metric, "Unit": "Count"}],
            }],
        })
    }
}
