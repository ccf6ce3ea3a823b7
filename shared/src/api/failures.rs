//! Failures: reading them, and sending what was kept through again.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, not_found};
use crate::{
    ids::SystemId,
    operation::ReplayFailures,
    problem::Problem,
    process::{Status, failure_key, failure_list},
    replay,
    store::Span,
    view,
};

/// Which failures to send through again; all of them without a field.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    #[serde(default)]
    system_id: Option<SystemId>,
    #[serde(default)]
    since: Option<Timestamp>,
    #[serde(default)]
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
        Ok(json!({"id": id, "status": Status::Queued, "event_id": event_id}))
    }

    pub(super) async fn replay_event(&self, id: &str) -> Result<Value, Problem> {
        let event_id = replay::event(self.hub, self.context, id).await?.ok_or_else(|| not_found("inbound event"))?;
        Ok(json!({"id": id, "status": Status::Queued, "event_id": event_id}))
    }

    /// Many at once, by system and time of the last try. However many they are, one message does.
    pub(super) async fn retry_failures(&self) -> Result<Value, Problem> {
        let Selection { system_id, since, until } = self.read(&["system_id", "since", "until"])?;
        // An end that is still to come is none: a failure may bear the time of a copy whose clock is fast.
        let span = Span { since, until: until.filter(|until| *until < self.hub.now()) };
        let job = ReplayFailures { tenant_id: self.tenant().clone(), system_id: system_id.clone(), span, after: None };
        replay::start(self.hub, job).await?;
        Ok(json!({"status": Status::Queued, "system_id": system_id, "since": span.since, "until": span.until}))
    }
}
