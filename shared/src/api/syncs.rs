//! Syncs with external CRMs: their state, runs on demand, and whether the connection works.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, invalid, not_found};
use crate::{
    connector::{Connector, Entity, Validated},
    ids::SystemId,
    integration::Direction,
    limits::outbound::Quota,
    operation::SyncTask,
    problem::Problem,
    process::Status,
    registry::Target,
    sync::{
        import::Progress,
        job::ask,
        state::{self, Scope},
    },
    view::json_of,
};

/// What a run on demand is to do.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `outbound` sends, `inbound` imports.
    #[serde(default = "outbound")]
    #[schemars(extend("enum" = ["outbound", "inbound"]))]
    direction: Direction,
    /// All records, and not only those that changed.
    #[serde(default)]
    full: bool,
}

/// A run that is asked for.
#[derive(Serialize, JsonSchema)]
pub(super) struct Asked<'a> {
    system_id: &'a SystemId,
    entity_type: Entity,
    direction: Direction,
    full: bool,
    #[schemars(extend("const" = "queued"))]
    status: Status,
}

/// What came of a call to the other system.
#[derive(Default, Serialize, JsonSchema)]
pub(super) struct Validation {
    success: bool,
    /// The call that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    tried: Option<Validated>,
    /// A stable name of what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// What is wrong, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn outbound() -> Direction {
    Direction::Outbound
}

impl Call<'_> {
    async fn outbound(&self, system: &str) -> Result<std::sync::Arc<Target>, Problem> {
        let system = SystemId::parse(system).map_err(|_| not_found("integration with an `outbound`"))?;
        let (hub, now) = (self.hub, self.hub.now());
        let target = hub.registry.find_outbound(&hub.store, self.tenant(), &system, now).await?;
        target.ok_or_else(|| not_found("integration with an `outbound`"))
    }

    pub(super) async fn sync_states(&self, system: &str) -> Result<Value, Problem> {
        let target = self.outbound(system).await?;
        let entities: Vec<Entity> = target.integration.outbound.iter().flat_map(|o| o.entities()).collect();
        let states = state::view(self.hub, self.context, &target.integration.system_id, &entities).await?;
        Ok(json!({"data": states}))
    }

    pub(super) async fn start_sync(&self, system: &str, entity: &str) -> Result<Value, Problem> {
        let Wanted { direction, full } = self.read(&["direction", "full"])?;
        let target = self.outbound(system).await?;
        let entity = Entity::parse(entity)
            .ok_or_else(|| invalid("entity_type", "must be contact, company or interaction, in the path"))?;
        let outbound = target.integration.outbound.as_ref();
        let plan = outbound.and_then(|outbound| outbound.entity(entity)).ok_or_else(|| {
            invalid("entity_type", "is switched off in the integration's `outbound.entities`; switch it on first")
        })?;
        let scope = Scope { tenant: self.tenant().clone(), system: target.integration.system_id.clone(), entity };
        let task = match (direction, full) {
            (Direction::Outbound, false) => SyncTask::Send,
            (Direction::Outbound, true) => SyncTask::MarkAll { after: None },
            (Direction::Inbound, true) if !plan.lists() => {
                return Err(invalid("direction", "the entity has no `list` in `outbound.entities`; add it to import"));
            }
            (Direction::Inbound, true) => self.begin_import(&scope).await?,
            (Direction::Inbound, false) => {
                let message = "changes over there come by webhooks; to page in all that is there, add \"full\": true";
                return Err(invalid("full", message));
            }
            (Direction::Bidirectional, _) => return Err(invalid("direction", "must be outbound or inbound")),
        };
        ask(self.hub, &scope, task, self.hub.now(), self.request_id).await?;
        Ok(json_of(&Asked { system_id: &scope.system, entity_type: entity, direction, full, status: Status::Queued }))
    }

    /// A new import, or the one that runs: its job may have been lost.
    async fn begin_import(&self, scope: &Scope) -> Result<SyncTask, Problem> {
        let (hub, key) = (self.hub, scope.run_key());
        let running = hub.store.get(&key).await?.as_ref().and_then(Progress::from_item).filter(Progress::is_running);
        if let Some(Progress { id, .. }) = running {
            return Ok(SyncTask::Import { id });
        }
        let progress = Progress::begin(hub.now(), (hub.random)());
        state::note_import(hub, scope, &progress.json()).await?;
        Ok(SyncTask::Import { id: progress.id })
    }

    /// Tries the connection to the other system now, and says what came of it.
    pub(super) async fn validate_integration(&self, system: &str) -> Result<Value, Problem> {
        let (hub, target) = (self.hub, self.outbound(system).await?);
        let integration = &target.integration;
        let Some(outbound) = &integration.outbound else { return Err(not_found("integration with an `outbound`")) };
        let secrets = hub.secrets.get(self.tenant(), hub.now()).await?;
        let quota = Quota::new(hub, self.context, &integration.system_id, integration.limits);
        let credentials = secrets.credentials(&integration.system_id);
        let connector = Connector::new(hub, self.context, &integration.system_id, outbound, credentials, &quota);
        Ok(match connector.validate_connection().await {
            Ok(tried) => json_of(&Validation { success: true, tried: Some(tried), ..Validation::default() }),
            Err(error) => {
                let (code, error) = (Some(error.code().to_owned()), Some(error.for_tenant()));
                json_of(&Validation { code, error, ..Validation::default() })
            }
        })
    }
}
