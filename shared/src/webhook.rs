//! The edge of the webhook functions: from API Gateway's request to [`receive`], and back.

use std::convert::Infallible;

use http::{Response, StatusCode};
use lambda_http::{Body, Request, RequestExt, request::RequestContext};
use serde_json::{Value, json};

use crate::{
    hub::Hub,
    problem::{Problem, json_response},
    process::{Status, Verdict},
    receive::{Answer, Call, Refused, receive},
};

/// Answers one webhook. `only` is the system that the function serves; `None` for any that a tenant registered.
///
/// # Errors
/// None: every outcome is an answer.
pub async fn handle(hub: &Hub, only: Option<&str>, request: Request) -> Result<Response<Body>, Infallible> {
    let path = request.raw_http_path().to_owned();
    let (tenant, system) = names(&path).unwrap_or_default();
    let call = Call {
        tenant,
        system: if only.is_none_or(|only| only == system) { system } else { "" },
        method: request.method().as_str(),
        headers: request.headers(),
        body: request.body(),
        source: source(&request),
    };
    let started = hub.now();
    let answer = receive(hub, &call).await;
    let ms = hub.now().as_millisecond() - started.as_millisecond();
    log(&call, &answer, ms);
    Ok(match answer {
        Ok(answer) => respond(&answer),
        Err(refused) => Problem::from(refused).into_response(),
    })
}

/// Tenant and system of `…/webhooks/{tenant_id}/{system_id}`; a stage may stand before.
fn names(path: &str) -> Option<(&str, &str)> {
    let (rest, system) = path.rsplit_once('/')?;
    let (rest, tenant) = rest.rsplit_once('/')?;
    (rest.rsplit('/').next() == Some("webhooks")).then_some((tenant, system))
}

fn source(request: &Request) -> Option<std::net::IpAddr> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context.http.source_ip.as_deref()?.parse().ok(),
        _ => None,
    }
}

fn respond(answer: &Answer) -> Response<Body> {
    match answer {
        Answer::One(verdict) => json_response(status(verdict), &body(verdict)),
        Answer::Batch(verdicts) => {
            let results: Vec<Value> = verdicts.iter().map(body).collect();
            let success = verdicts.iter().all(|v| v.status != Status::Failed);
            json_response(StatusCode::OK, &json!({"success": success, "results": results}))
        }
        Answer::Challenge(challenge) => json_response(StatusCode::OK, &json!({"challenge": challenge})),
    }
}

fn status(verdict: &Verdict) -> StatusCode {
    match verdict.status {
        Status::Processed | Status::Duplicate | Status::Ignored => StatusCode::OK,
        Status::Queued | Status::Failed => StatusCode::ACCEPTED,
    }
}

#[expect(clippy::indexing_slicing, reason = "the body is an object")]
fn body(verdict: &Verdict) -> Value {
    let mut body = json!({
        "success": verdict.status != Status::Failed,
        "status": verdict.status.as_str(),
        "event_id": verdict.event_id,
    });
    match verdict.status {
        Status::Processed | Status::Duplicate => body["data"] = Value::Object(verdict.data.clone()),
        Status::Queued | Status::Failed | Status::Ignored => {}
    }
    if let Some(failure) = &verdict.failure {
        body["error"] = failure.error.clone().into();
        body["failure_id"] = failure.id.clone().into();
        body["code"] = failure.code.clone().into();
    }
    body
}

/// One line for each webhook: whose, what became of it, how long it took. No body, header, secret or number.
fn log(call: &Call<'_>, answer: &Result<Answer, Refused>, ms: i64) {
    let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(64).collect::<String>();
    let (tenant, system, bytes) = (cut(call.tenant), cut(call.system), call.body.len());
    let one = |verdict: &Verdict| {
        let failure = verdict.failure.as_ref();
        tracing::info!(
            tenant,
            system,
            bytes,
            ms,
            status = verdict.status.as_str(),
            event_type = cut(&verdict.event_type),
            inbound_id = verdict.inbound_id,
            failure_id = failure.map(|f| f.id.as_str()),
            code = failure.map(|f| f.code.as_str()),
            "webhook"
        );
    };
    match answer {
        Ok(Answer::One(verdict)) => one(verdict),
        Ok(Answer::Batch(verdicts)) => verdicts.iter().for_each(one),
        Ok(Answer::Challenge(_)) => tracing::info!(tenant, system, bytes, ms, status = "challenge", "webhook"),
        Err(refused) => {
            let source = call.source.map(|s| s.to_string());
            let problem = Problem::from(refused.clone());
            tracing::info!(
                tenant, system, bytes, ms,
                status = "refused",
                http_status = problem.status.as_u16(),
                code = problem.code.as_str(),
                reason = %refused,
                source,
                "webhook"
            );
        }
    }
}
