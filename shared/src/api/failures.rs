//! Failures: reading them, and sending what was kept through again.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, not_found};
use crate::{
    ids::SystemId,
    operation::ReplayFailures,
    problem::Problem,
    process::{Status, failure_key, failure_list},
    replay,
    store::Span,
    view::{self, json_of},
};

/// Which failures to send through again; all of them without a field.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    /// Only those of this system.
    #[serde(default)]
    system_id: Option<SystemId>,
    /// Only those that were tried last from this moment on.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Only those that were tried last before this moment.
    #[serde(default)]
    until: Option<Timestamp>,
}

/// Something that is sent through again.
#[derive(Serialize, JsonSchema)]
pub(super) struct Retrying<'a> {
    id: &'a str,
    #[schemars(extend("const" = "queued"))]
    status: Status,
    /// The event's identity; the failure's own where it isn't an event's.
    event_id: String,
}

/// Failures that are sent through again.
#[derive(Serialize, JsonSchema)]
pub(super) struct RetryingMany {
    #[schemars(extend("const" = "queued"))]
    status: Status,
    system_id: Option<SystemId>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Call<'_> {
    pub(super) async fn failures(&self) -> Result<Value, Problem> {
        self.only(&["system_id", "since", "until", "limit", "cursor"])?;
        let system = self.query("system_id");
        let filters: Vec<(&str, &str)> = system.iter().map(|system| ("sys", system.as_str())).collect();
        self.page(&failure_list(self.tenant()), self.span()?, &filters, view::failure).await
    }

    pub(super) async fn failure(&self, id: &str) -> Result<Value, Problem> {
        let item = self.hub.store.get(&failure_key(self.tenant(), id)).await?;
        item.as_ref().and_then(view::failure).ok_or_else(|| not_found("failure"))
    }

    pub(super) async fn retry_failure(&self, id: &str) -> Result<Value, Problem> {
        let event_id = replay::failure(self.hub, self.context, id).await?.ok_or_else(|| not_found("failure"))?;
        Ok(json_of(&Retrying { id, status: Status::Queued, event_id }))
    }

    pub(super) async fn replay_event(&self, id: &str) -> Result<Value, Problem> {
        let event_id = replay::event(self.hub, self.context, id).await?.ok_or_else(|| not_found("inbound event"))?;
        Ok(json_of(&Retrying { id, status: Status::Queued, event_id }))
    }

    /// Many at once, by system and time of the last try. However many they are, one message does.
    pub(super) async fn retry_failures(&self) -> Result<Value, Problem> {
        let Selection { system_id, since, until } = self.read(&["system_id", "since", "until"])?;
        // An end that is still to come is none: a failure may bear the time of a copy whose clock is fast.
        let span = Span { since, until: until.filter(|until| *until < self.hub.now()) };
        let job = ReplayFailures { tenant_id: self.tenant().clone(), system_id: system_id.clone(), span, after: None };
        replay::start(self.hub, job).await?;
        Ok(json_of(&RetryingMany { status: Status::Queued, system_id, since: span.since, until: span.until }))
    }
}
