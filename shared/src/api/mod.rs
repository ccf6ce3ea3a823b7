//! The management API (contract §7): parse, check, call, answer.
//!
//! `route` says what a call is to do, `guard` whether it may, `idempotency` whether it was done before; one module for
//! each kind of thing does it.

mod answer;
mod call;
mod cursor;
mod deliveries;
mod failures;
mod guard;
mod history;
mod idempotency;
mod integrations;
mod keys;
mod openapi;
mod preview;
mod records;
mod route;
mod secrets;
mod subscriptions;
mod syncs;

use std::convert::Infallible;

use http::Response;
use lambda_http::{Body, Request, RequestExt};

pub(crate) use self::integrations::view as integration_view;
pub use self::openapi::document;
use self::{
    answer::Answer,
    call::Call,
    route::{Op, Route},
};
use crate::{
    connector::Entity,
    hub::{Edge, Settings},
    integration::FieldError,
    problem::{Code, Problem},
    process::Kind,
    store::StoreError,
    webhook,
};

/// Answers one call of the API.
///
/// # Errors
/// None: every outcome is an answer.
pub async fn handle(edge: &Edge, request: Request) -> Result<Response<Body>, Infallible> {
    let path = request.raw_http_path().to_owned();
    let caller = guard::authenticated(&request);
    let began = edge.now();
    let answer = answered(edge, &request, &path, caller.as_ref()).await;
    let ms = edge.now().as_millisecond() - began.as_millisecond();
    log(&request, &path, caller.as_ref(), (&answer, ms));
    Ok(answer.map_or_else(Problem::into_response, Answer::into_response))
}

/// One line for each call: who made it, and what it was answered. Of the path only the route's own words: what stands for a
/// parameter may be a phone number.
fn log(request: &Request, path: &str, caller: Option<&guard::Caller>, (answer, ms): (&Result<Answer, Problem>, i64)) {
    let method = request.method();
    let route = route::find(method, path).map(|(route, _)| route.path).ok();
    let status = answer.as_ref().map_or_else(|problem| problem.status, |answer| answer.status).as_u16();
    let code = answer.as_ref().err().map(|problem| problem.code.as_str());
    let (tenant, key_id) = (caller.map(|caller| caller.context.tenant().as_str()), caller.map(|caller| &caller.key_id));
    let request_id = webhook::request_id(request);
    // A call that only reads starts nothing that there could be lines of.
    let correlation_id = request_id.as_ref().filter(|_| !method.is_safe());
    tracing::info!(tenant, key_id, %method, route, status, code, ms, request_id, correlation_id, "api");
}

async fn answered(
    edge: &Edge,
    request: &Request,
    path: &str,
    caller: Option<&guard::Caller>,
) -> Result<Answer, Problem> {
    let found = route::find(request.method(), path);
    if matches!(found, Ok((Route { op: Op::Describe, .. }, _))) {
        return Ok(openapi::answer());
    }
    let caller = caller.ok_or_else(guard::unauthenticated)?;
    let hub = &edge.acting_for(&caller.context);
    let limit = guard::admit(hub, caller).await?;
    let answer = async {
        let (route, parameters) = found?;
        caller.may(route.scope)?;
        let body: &[u8] = request.body().as_ref();
        if body.len() > Settings::BODY_BYTES_MAX {
            return Err(too_large());
        }
        let request_id = webhook::request_id(request);
        let call = Call { hub, context: &caller.context, request, request_id: request_id.as_deref(), parameters };
        let answer = idempotency::once(&call, route, path, || done(&call, route.op)).await?;
        Ok(answer.unless(|tag| call.knows(tag)))
    };
    match answer.await {
        Ok(answer) => Ok(answer.with_headers(limit.headers())),
        Err(problem) => Err(limit.headers().into_iter().fold(problem, |p, (name, value)| p.with_header(name, value))),
    }
}

/// Does what the route says.
async fn done(call: &Call<'_>, op: Op) -> Result<Answer, Problem> {
    let id = call.parameter(0);
    match op {
        Op::ListIntegrations => call.integrations().await.map(Answer::ok),
        Op::PutIntegration => call.put_integration(id).await,
        Op::GetIntegration => call.integration(id).await.map(Answer::tagged),
        Op::DeleteIntegration => call.delete_integration(id).await.map(|()| Answer::no_content()),
        Op::ValidateIntegration => call.validate_integration(id).await.map(Answer::ok),
        Op::RotateIntegrationSecret => call.rotate_integration_secret(id).await.map(Answer::ok),
        Op::PreviewMapping => call.preview().map(Answer::ok),
        Op::ListInboundEvents => call.inbound_events().await.map(Answer::ok),
        Op::GetInboundEvent => call.inbound_event(id).await.map(Answer::ok),
        Op::ReplayInboundEvent => call.replay_event(id).await.map(Answer::accepted),
        Op::GetPhoneNumber => call.phone_number(id).await.map(Answer::ok),
        Op::ListInteractions => call.interactions(id).await.map(Answer::ok),
        Op::GetInteraction => call.record(Kind::Interaction, id).await.map(Answer::ok),
        Op::ListContacts => call.list_records(Entity::Contact).await.map(Answer::ok),
        Op::PutContact => call.put_record(Entity::Contact, id).await,
        Op::GetContact => call.record(Kind::Contact, id).await.map(Answer::tagged),
        Op::DeleteContact => call.delete_record(Entity::Contact, id).await.map(|()| Answer::no_content()),
        Op::ListCompanies => call.list_records(Entity::Company).await.map(Answer::ok),
        Op::PutCompany => call.put_record(Entity::Company, id).await,
        Op::GetCompany => call.record(Kind::Company, id).await.map(Answer::tagged),
        Op::DeleteCompany => call.delete_record(Entity::Company, id).await.map(|()| Answer::no_content()),
        Op::GetMerchant => call.merchant(id).await.map(Answer::ok),
        Op::ListSubscriptions => call.subscriptions().await.map(Answer::ok),
        Op::CreateSubscription => call.create_subscription().await.map(Answer::created),
        Op::GetSubscription => call.subscription(id).await.map(Answer::tagged),
        Op::ChangeSubscription => call.change_subscription(id).await.map(Answer::tagged),
        Op::DeleteSubscription => call.delete_subscription(id).await.map(|()| Answer::no_content()),
        Op::TestSubscription => call.test_subscription(id).await.map(Answer::ok),
        Op::RotateSubscriptionSecret => call.rotate_secret(id).await.map(Answer::ok),
        Op::ReplaySubscription => call.replay_subscription(id).await.map(Answer::accepted),
        Op::ListDeliveries => call.deliveries(id).await.map(Answer::ok),
        Op::GetDelivery => call.delivery(id).await.map(Answer::ok),
        Op::RetryDelivery => call.retry_delivery(id).await.map(Answer::accepted),
        Op::ListEventTypes => call.event_types().map(Answer::ok),
        Op::GetEvent => call.event(id).await.map(Answer::ok),
        Op::ListFailures => call.failures().await.map(Answer::ok),
        Op::RetryFailures => call.retry_failures().await.map(Answer::accepted),
        Op::GetFailure => call.failure(id).await.map(Answer::ok),
        Op::RetryFailure => call.retry_failure(id).await.map(Answer::accepted),
        Op::StartSync => call.start_sync(id, call.parameter(1)).await.map(Answer::accepted),
        Op::GetSyncStates => call.sync_states(id).await.map(Answer::ok),
        Op::ListApiKeys => call.api_keys().await.map(Answer::ok),
        Op::CreateApiKey => call.create_api_key().await.map(Answer::created),
        Op::RevokeApiKey => call.revoke_api_key(id).await.map(|()| Answer::no_content()),
        Op::Describe => Ok(openapi::answer()),
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the API couldn't answer");
        Self::new(Code::Unavailable, "the data can't be read for the moment; try again").retry_after(5)
    }
}

fn not_found(what: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no such {what}"))
}

fn invalid(field: &str, message: impl Into<String>) -> Problem {
    invalid_fields(vec![FieldError::new(field, message)])
}

fn invalid_fields(errors: Vec<FieldError>) -> Problem {
    Problem::new(Code::InvalidRequest, "the request is not valid; see `errors`").with_errors(errors)
}

fn too_large() -> Problem {
    let detail = format!("the body is larger than {} bytes; send less at once", Settings::BODY_BYTES_MAX);
    Problem::new(Code::BodyTooLarge, detail)
}

fn busy() -> Problem {
    Problem::new(Code::Busy, "other calls change the same at the moment; try again").retry_after(1)
}

/// For what should be so and isn't, such as a stored item that can't be read.
#[track_caller]
fn internal() -> Problem {
    tracing::error!(at = %std::panic::Location::caller(), "what is stored is not as it should be");
    Problem::new(Code::Internal, "something is wrong on our side; it was logged")
}
