//! The way to a tenant's CRM (contract §5): what it is told, and what is believed of its answers.
//!
//! [`Outbound`] is the configuration, compiled: data, a preset with what the tenant says over it. A [`Connector`] makes its
//! calls for one run: it authenticates, counts each call against the integration's limits ([`Quota`]), sends through
//! [`crate::outgoing`], and reads answers that may be anything. What went wrong is a [`CallError`], which says what it
//! means for the record, for the run and for the tenant.
//!
//! A connector keeps nothing and retries nothing, a refused token apart: that is the business of whoever runs it.

mod answer;
mod batch;
mod call;
mod config;
mod entity;
mod error;
mod said;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;

use http::{HeaderMap, Method};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use self::{call::Ask, config::with_parameter};
pub use self::{
    config::{Auth, Credentials, EntityPlan, Oauth2, Outbound, OutboundSchema, take_credentials},
    entity::Entity,
    error::{CallError, TokenError, Unusable},
    said::Said,
    token::{Token, Tokens},
};
use crate::{hub::Hub, ids::SystemId, limits::outbound::Quota, tenant::TenantContext};

/// What we call ourselves (original description, "CRM sync").
const OUR_USER_AGENT: &str = "SMRT-CRM-Sync/1.0";
/// What we send and read.
const JSON: &str = "application/json";
/// Most bytes of the answer to a write of one record.
const RECORD_BYTES_MAX: usize = 1_024 * 1_024;
/// Most bytes of a page of records, or of the answer to a batch: a hundred records of forty kilobytes.
const PAGE_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Makes the calls to one system of one tenant. Several may be made at once.
pub struct Connector<'a> {
    hub: &'a Hub,
    outbound: &'a Outbound,
    credentials: Option<&'a Credentials>,
    quota: &'a Quota<'a>,
    tokens: Option<token::Client<'a>>,
}

/// A change to be carried over.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Our record's id.
    pub id: String,
    /// What is to be done.
    pub action: Action,
}

/// What is to be done with a record over there. Bodies are as [`EntityPlan::body`] makes them.
#[derive(Clone, PartialEq)]
pub enum Action {
    /// It is made.
    Create {
        /// Stays the same over all tries of one create: its `Idempotency-Key`.
        key: String,
        /// Its fields.
        body: Value,
    },
    /// It is changed.
    Update {
        /// Its id over there.
        external_id: String,
        /// The fields that change.
        body: Value,
    },
    /// It is deleted.
    Delete {
        /// Its id over there.
        external_id: String,
    },
}

// What a record holds reaches no log.
impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { key, .. } => write!(f, "Create({key}, …)"),
            Self::Update { external_id, .. } => write!(f, "Update({external_id}, …)"),
            Self::Delete { external_id } => write!(f, "Delete({external_id})"),
        }
    }
}

/// A record over there, as far as an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its id.
    pub external_id: String,
    /// When it was changed last, by the system's clock.
    pub updated_at: Option<Timestamp>,
}

/// A page of records.
#[derive(Clone, PartialEq)]
pub struct Listed {
    /// The records, in the form of the other side: for [`EntityPlan::map`].
    pub records: Vec<Value>,
    /// The cursor of the next page, where there is one.
    pub next: Option<String>,
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listed({} records, next {:?})", self.records.len(), self.next)
    }
}

/// What was tried to test a connection, and what came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Validated {
    /// The method.
    pub method: String,
    /// The path after `base_url`, without its query.
    pub path: String,
    /// The status that was answered.
    pub status: u16,
}

impl<'a> Connector<'a> {
    /// For one run. Makes no call.
    #[must_use]
    pub fn new(
        hub: &'a Hub,
        context: &'a TenantContext,
        system: &'a SystemId,
        outbound: &'a Outbound,
        credentials: Option<&'a Credentials>,
        quota: &'a Quota<'a>,
    ) -> Self {
        let tokens = match (outbound.auth(), credentials) {
            (Auth::Oauth2(oauth2), Some(Credentials::Oauth2 { client_secret })) => {
                let whose = (context.tenant(), system);
                Some(token::Client::new(hub, whose, (oauth2, client_secret), outbound.timeout()))
            }
            _ => None,
        };
        Self { hub, outbound, credentials, quota, tokens }
    }

    /// The headers by which the system knows us; with `fresh`, with a token that is new.
    ///
    /// # Errors
    /// [`CallError`]: the secret isn't stored, or no token can be got.
    pub async fn authenticate(&self, fresh: bool) -> Result<HeaderMap, CallError> {
        let known = self.tokens.as_ref().and_then(token::Client::known).filter(|_| fresh);
        Ok(self.authorization(known.as_deref()).await?.0)
    }

    /// Tests the connection by the call that `validate` names, else by the first list of an entity.
    ///
    /// # Errors
    /// [`CallError`]: what is wrong, and what to do.
    pub async fn validate_connection(&self) -> Result<Validated, CallError> {
        let of_list = || {
            let plans = self.outbound.entities().filter_map(|entity| self.outbound.entity(entity));
            plans.filter_map(|plan| plan.list.as_ref()).map(|list| (Method::GET, &list.path)).next()
        };
        let call = self.outbound.validate.as_ref().map(|call| (call.method.clone(), &call.path)).or_else(of_list);
        let (method, path) = call.ok_or(CallError::NotConfigured)?;
        let filled = path.fill(None, None).ok_or(CallError::BadId)?;
        let reply = self.call(Ask::page(&method, &filled)).await?;
        let status = reply.status.as_u16();
        let secrets = self.secrets();
        if let Some(answer) = answer::read(&reply, false, &secrets)? {
            answer::refuse_errors(&answer, answer.get("id").is_some(), &secrets)?;
        }
        Ok(Validated { method: method.to_string(), path: path.shown().to_owned(), status })
    }

    /// Carries changes over, and says what came of each, in the order given: one record a call, or in batches where the
    /// system has them. Of one record no two are under way at once.
    pub async fn sync_outbound(&self, entity: Entity, outgoing: &[Outgoing]) -> Vec<Result<Written, CallError>> {
        let Some(plan) = self.outbound.entity(entity) else {
            return outgoing.iter().map(|_| Err(CallError::NotConfigured)).collect();
        };
        if let Some(batch) = &plan.batch {
            return self.in_batches(plan, batch, outgoing).await;
        }
        let mut outcomes = Vec::with_capacity(outgoing.len());
        for one in outgoing {
            outcomes.push(self.write(plan, one).await);
        }
        outcomes
    }

    /// Looks for the record that has our id.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::NotConfigured`] where the system can't be asked.
    pub async fn find(&self, entity: Entity, our_id: &str) -> Result<Option<Written>, CallError> {
        let plan = self.outbound.entity(entity).ok_or(CallError::NotConfigured)?;
        let find = plan.find.as_ref().ok_or(CallError::NotConfigured)?;
        let path = find.call.path.fill(Some(our_id), None).ok_or(CallError::BadId)?;
        let reply = self.call(Ask::page(&find.call.method, &path)).await?;
        let secrets = self.secrets();
        match answer::read(&reply, true, &secrets) {
            Ok(answer) => answer::found(plan, find.items.as_ref(), our_id, answer.as_ref(), &secrets),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A page of the records over there: the first, or that of a `cursor`.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::NotConfigured`] where they can't be listed.
    pub async fn list(&self, entity: Entity, cursor: Option<&str>) -> Result<Listed, CallError> {
        let plan = self.outbound.entity(entity).ok_or(CallError::NotConfigured)?;
        let list = plan.list.as_ref().ok_or(CallError::NotConfigured)?;
        let path = list.path.fill(None, None).ok_or(CallError::BadId)?;
        let path = match (cursor, &list.cursor_param) {
            (Some(cursor), Some(name)) => with_parameter(&path, name, cursor),
            (Some(_), None) => return Err(CallError::NotConfigured),
            (None, _) => path,
        };
        let reply = self.call(Ask::page(&Method::GET, &path)).await?;
        let secrets = self.secrets();
        let answer = answer::read(&reply, false, &secrets)?;
        answer::listed(list, cursor, answer.as_ref(), &secrets)
    }

    /// How many records of an entity go into one call at most: the run may give as many to [`Connector::sync_outbound`].
    #[must_use]
    pub fn batch_max(&self, entity: Entity) -> usize {
        self.outbound.entity(entity).and_then(|plan| plan.batch.as_ref()).map_or(1, |batch| batch.max)
    }

    /// Writes one record by a call of its own.
    async fn write(&self, plan: &EntityPlan, outgoing: &Outgoing) -> Result<Written, CallError> {
        let (call, theirs, body, key) = match &outgoing.action {
            Action::Create { key, body } => (&plan.create, None, Some(plan.wrapped(body)), Some(key.as_str())),
            Action::Update { external_id, body } => (&plan.update, Some(external_id), Some(plan.wrapped(body)), None),
            Action::Delete { external_id } => {
                let delete = plan.delete.as_ref().ok_or(CallError::NotConfigured)?;
                (delete, Some(external_id), delete.body.clone(), None)
            }
        };
        let path = call.path.fill(Some(&outgoing.id), theirs.map(String::as_str)).ok_or(CallError::BadId)?;
        let (body, answer_bytes_max) = (body.as_ref(), RECORD_BYTES_MAX);
        let reply = self.call(Ask { method: &call.method, path: &path, body, key, answer_bytes_max }).await?;
        let secrets = self.secrets();
        let answer = answer::read(&reply, theirs.is_some(), &secrets)?;
        match &outgoing.action {
            Action::Create { .. } => answer::created(plan, answer.as_ref(), &secrets),
            Action::Update { external_id, .. } => answer::updated(plan, external_id, answer.as_ref(), &secrets),
            Action::Delete { external_id } => answer::deleted(plan, external_id, answer.as_ref(), &secrets),
        }
    }
}
