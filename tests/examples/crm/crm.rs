//! The CRM itself: its records, who may call it, how it fails and whom it tells.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use shared::hub::Clock;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    access::{Access, Credentials},
    api,
    failures::{Failures, Injected},
    own,
    records::{Change, Entity, Fields, Records},
    telling::{Teller, Told},
    webhook::Receiver,
};

/// What a CRM is started with.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub credentials: Credentials,
    /// The share of API calls that fail.
    pub failures: f64,
    pub seed: u64,
    /// Whom to tell of changes.
    pub hub: Option<Receiver>,
    /// Whether to tell the hub of what it did itself, as real CRMs do.
    pub echo: bool,
}

pub struct Crm {
    pub access: Access,
    pub failures: Failures,
    pub clock: Clock,
    state: Mutex<State>,
    teller: Option<Teller>,
    echo: bool,
}

struct State {
    records: Records,
    /// What a create was asked and answered, by its `Idempotency-Key`.
    creates: HashMap<(Entity, String), (Fields, Fields)>,
    /// Calls of the API by method and path.
    calls: BTreeMap<String, u64>,
}

/// What is in the CRM, and what happened so far.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub records: BTreeMap<&'static str, usize>,
    pub duplicates: Vec<Duplicate>,
    pub failures: Injected,
    pub tokens: u64,
    pub calls: BTreeMap<String, u64>,
    pub webhooks: Told,
}

/// Records that are one in the hub.
#[derive(Clone, Debug, Serialize)]
pub struct Duplicate {
    pub entity: &'static str,
    pub smrt_crm_id: String,
    pub ids: Vec<String>,
}

/// What became of a create.
pub enum Created {
    Record(Fields),
    /// The key was used with another body.
    Conflict,
}

impl Crm {
    pub fn new(settings: Settings, clock: Clock) -> Arc<Self> {
        let records = Records::new(clock());
        Arc::new(Self {
            access: Access::new(settings.credentials),
            failures: Failures::new(settings.failures, settings.seed),
            state: Mutex::new(State { records, creates: HashMap::new(), calls: BTreeMap::new() }),
            teller: settings.hub.map(|hub| Teller::start(&hub, &clock)),
            echo: settings.echo,
            clock,
        })
    }

    /// Serves until the process ends, or the task is aborted.
    pub fn serve(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<std::io::Result<()>> {
        let router = api::router(self).merge(own::router(Arc::clone(self)));
        tokio::spawn(async move { axum::serve(listener, router).await })
    }

    /// Does something with the records.
    pub fn with_records<T>(&self, look: impl FnOnce(&Records) -> T) -> T {
        look(&self.state().records)
    }

    pub fn count_call(&self, call: String) {
        *self.state().calls.entry(call).or_default() += 1;
    }

    /// Creates a record over the API; the same `key` gives the first answer again.
    pub fn create(&self, entity: Entity, key: Option<&str>, record: Fields) -> Created {
        let mut state = self.state();
        let key = key.map(|key| (entity, key.to_owned()));
        if let Some((asked, answered)) = key.as_ref().and_then(|key| state.creates.get(key)) {
            return if *asked == record { Created::Record(answered.clone()) } else { Created::Conflict };
        }
        let change = state.records.create(entity, record.clone(), (self.clock)());
        if let Some(key) = key {
            state.creates.insert(key, (record, change.record.clone()));
        }
        Created::Record(self.tell(change, self.echo))
    }

    /// Changes a record over the API.
    pub fn patch(&self, entity: Entity, id: &str, patch: Fields) -> Option<Fields> {
        let change = self.state().records.edit(entity, id, patch, (self.clock)())?;
        Some(self.tell(change, self.echo))
    }

    /// Deletes a record over the API.
    pub fn delete(&self, entity: Entity, id: &str) -> Option<Fields> {
        let change = self.state().records.remove(entity, id, (self.clock)())?;
        Some(self.tell(change, self.echo))
    }

    /// Adds a record as a user of the CRM does.
    pub fn user_adds(&self, entity: Entity, record: Fields) -> Fields {
        let change = self.state().records.create(entity, record, (self.clock)());
        self.tell(change, true)
    }

    /// Changes a record as a user of the CRM does.
    pub fn user_edits(&self, entity: Entity, id: &str, set: Fields) -> Option<Fields> {
        let change = self.state().records.edit(entity, id, set, (self.clock)())?;
        Some(self.tell(change, true))
    }

    /// Removes a record as a user of the CRM does.
    pub fn user_removes(&self, entity: Entity, id: &str) -> Option<Fields> {
        let change = self.state().records.remove(entity, id, (self.clock)())?;
        Some(self.tell(change, true))
    }

    pub fn report(&self) -> Report {
        let state = self.state();
        let duplicates = Entity::ALL.into_iter().flat_map(|entity| {
            let twice = state.records.smrt_ids(entity).filter(|(_, own)| own.len() > 1);
            twice.map(move |(smrt_id, own)| Duplicate {
                entity: entity.name(),
                smrt_crm_id: smrt_id.to_owned(),
                ids: own.iter().cloned().collect(),
            })
        });
        Report {
            records: Entity::ALL.map(|entity| (entity.name(), state.records.count(entity))).into(),
            duplicates: duplicates.collect(),
            failures: self.failures.injected(),
            tokens: self.access.given(),
            calls: state.calls.clone(),
            webhooks: self.teller.as_ref().map(Teller::told).unwrap_or_default(),
        }
    }

    fn tell(&self, change: Change, wanted: bool) -> Fields {
        let record = change.record.clone();
        if let Some(teller) = self.teller.as_ref().filter(|_| wanted) {
            teller.tell(change);
        }
        record
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
