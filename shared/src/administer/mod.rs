//! `administer-tenant`: what an operator does with tenants that are there: suspend them, give them a new key, look at their
//! failures, export and delete what they have, erase a person's number. Invoked directly; IAM decides who may.
//!
//! Here the order is checked, done by the module of its action, and noted in one line of the log. What takes long is done in
//! pages: each invocation works until shortly before its time is over and says how to go on.

mod cursor;
mod delete;
mod erase;
mod export;
mod failures;
mod key;
mod line;
mod order;
mod page;
mod standing;
mod tenants;

use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::{Value, json};

use self::{
    order::{Action, Order},
    page::Budget,
};
use crate::{
    hub::{Edge, Hub},
    ids::TenantId,
    integration::{FieldError, Tenant},
    registry::{tenant_key, tenant_of},
    store::{Item, StoreError},
    tenant::TenantContext,
};

/// Why nothing, or not all of it, was done.
#[derive(Debug, thiserror::Error)]
pub enum AdministerError {
    /// The request isn't valid.
    #[error("the request is not valid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// There is no such tenant.
    #[error("there is no such tenant; check `tenant_id`, or make the tenant with provision-tenant")]
    NoTenant,
    /// The tenant is being deleted.
    #[error(
        "the tenant is being deleted; invoke the action `delete` until it answers done, then make it anew if need be"
    )]
    Deleting,
    /// The tenant has as many keys as it may have.
    #[error(
        "the tenant has {} API keys, with those revoked lately; add \"revoke_others\": true, or wait until revoked ones go after 30 days",
        crate::keys::KEYS_MAX
    )]
    TooManyKeys,
    /// Another call is at work on the same.
    #[error("another call changes the same tenant; try again in a minute")]
    Busy,
    /// AWS fails.
    #[error("{0}; invoke it again with the same payload: what is done stays done")]
    Store(#[from] StoreError),
}

impl From<AdministerError> for Diagnostic {
    fn from(error: AdministerError) -> Self {
        let error_type = match error {
            AdministerError::Invalid(_) => "InvalidRequest",
            AdministerError::NoTenant => "NoSuchTenant",
            AdministerError::Deleting => "Deleting",
            AdministerError::TooManyKeys => "TooManyKeys",
            AdministerError::Busy => "Busy",
            AdministerError::Store(_) => "Unavailable",
        };
        Self { error_type: error_type.into(), error_message: error.to_string() }
    }
}

/// What was done: the answer, and what of it goes into the log. Keys, numbers and payloads never do.
struct Done {
    answer: Value,
    counts: Value,
}

/// Answers one invocation.
///
/// # Errors
/// [`AdministerError`], as Lambda reports errors.
pub async fn handle(edge: &Edge, event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let deadline = event.context.deadline;
    let order = match Order::read(event.payload, edge.now()) {
        Ok(order) => order,
        Err(errors) => {
            let error = AdministerError::Invalid(errors);
            tracing::warn!(audit = "refused", outcome = %error, "administered");
            return Err(error.into());
        }
    };
    let done = done(edge, &order, Budget::new(edge, deadline, &order)).await;
    let (outcome, counts) = match &done {
        Ok(done) => ("done".to_owned(), done.counts.to_string()),
        Err(error) => (error.to_string(), String::new()),
    };
    tracing::info!(
        audit = order.action.name(),
        tenant = order.tenant_id.as_ref().map(TenantId::as_str),
        number = order.number.as_ref().map(crate::phone::E164::masked),
        reason = order.reason,
        dry_run = order.dry_run,
        counts,
        outcome,
        "administered"
    );
    let mut answer = done?.answer;
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("action".into(), order.action.name().into());
        fields.insert("dry_run".into(), order.dry_run.into());
        if let Some(tenant) = &order.tenant_id {
            fields.insert("tenant_id".into(), tenant.as_str().into());
        }
    }
    Ok(answer)
}

async fn done(edge: &Edge, order: &Order, budget: Budget<'_>) -> Result<Done, AdministerError> {
    match (order.action, &order.tenant_id) {
        (Action::ListTenants, _) => tenants::list(edge, order).await,
        (Action::IndexTenants, _) => tenants::index(edge, order, budget).await,
        (Action::ListFailures, _) => failures::list(edge, order, budget).await,
        (_, None) => Err(AdministerError::Invalid(vec![FieldError::new("tenant_id", "is required")])),
        (action, Some(tenant)) => {
            // Only those whom IAM lets invoke this function come here.
            let context = TenantContext::authenticated(tenant.clone());
            let hub = &edge.acting_for(&context);
            match action {
                Action::Resume => standing::set(hub, &context, true, order).await,
                Action::ReissueKey => key::reissue(hub, &context, order).await,
                Action::Export => Box::pin(export::run(hub, &context, order, budget)).await,
                Action::Delete => Box::pin(delete::run(hub, &context, order, budget)).await,
                Action::EraseNumber => Box::pin(erase::run(hub, &context, order, budget)).await,
                _ => standing::set(hub, &context, false, order).await,
            }
        }
    }
}

/// A tenant with its item, where there is one.
async fn found(hub: &Hub, context: &TenantContext) -> Result<Option<(Item, Tenant)>, AdministerError> {
    let Some(item) = hub.store.get(&tenant_key(context.tenant())).await? else { return Ok(None) };
    let tenant = tenant_of(&item).ok_or_else(|| StoreError::Rejected {
        operation: "read configuration",
        reason: "the tenant's item isn't of a form that this version knows; deploy the newer version".into(),
    })?;
    Ok(Some((item, tenant)))
}

/// A tenant that is there, and isn't being deleted.
async fn living(hub: &Hub, context: &TenantContext) -> Result<(Item, Tenant), AdministerError> {
    let (item, tenant) = found(hub, context).await?.ok_or(AdministerError::NoTenant)?;
    if tenant.deleting_since.is_some() { Err(AdministerError::Deleting) } else { Ok((item, tenant)) }
}

impl Done {
    /// An answer of which all may be logged.
    fn plain(answer: Value) -> Self {
        Self { counts: answer.clone(), answer }
    }

    /// An answer of a page: what was counted, and where the next one begins.
    fn page(mut answer: Value, counts: &Value, next_cursor: Option<String>) -> Self {
        let counts = json!({"counts": counts, "done": next_cursor.is_none()});
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("next_cursor".into(), next_cursor.into());
        }
        Self { answer, counts }
    }
}
