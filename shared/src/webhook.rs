//! The edge of the webhook functions: from API Gateway's request to [`receive`], and back.

use std::convert::Infallible;

use http::{Response, StatusCode};
use lambda_http::{Body, Request, RequestExt, request::RequestContext};
use serde_json::{Value, json};

use crate::{
    hub::Edge,
    ids::{SystemId, TenantId},
    metrics::Ending,
    problem::{Problem, json_response},
    process::{Status, Verdict},
    receive::{Answer, Call, Refused, receive},
};

/// Answers one webhook. `only` is the system that the function serves; `None` for any that a tenant registered.
///
/// # Errors
/// None: every outcome is an answer.
pub async fn handle(hub: &Edge, only: Option<&str>, request: Request) -> Result<Response<Body>, Infallible> {
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
    let line = Line { hub, call: &call, request_id: request_id(&request) };
    line.log(&answer, ms);
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

/// The gateway's id of a request, by which its access log says what else it knows of it.
pub(crate) fn request_id(request: &Request) -> Option<String> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context.request_id.clone(),
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

/// One line for each webhook, that counts it too: whose, what became of it, how long it took. No body, header, secret or
/// number.
struct Line<'a> {
    hub: &'a Edge,
    call: &'a Call<'a>,
    request_id: Option<String>,
}

impl Line<'_> {
    fn log(&self, answer: &Result<Answer, Refused>, ms: i64) {
        match answer {
            Ok(Answer::One(verdict)) => self.verdict(verdict, ms, true),
            Ok(Answer::Batch(verdicts)) => {
                verdicts.iter().enumerate().for_each(|(n, verdict)| self.verdict(verdict, ms, n == 0));
            }
            Ok(Answer::Challenge(_)) => self.write(Ending::Challenge, (ms, true), json!({})),
            Err(refused) => {
                let problem = Problem::from(refused.clone());
                let fields = json!({
                    "http_status": problem.status.as_u16(),
                    "code": problem.code.as_str(),
                    "reason": refused.to_string(),
                    "source": self.call.source,
                });
                self.write(Ending::Refused, (ms, true), fields);
            }
        }
    }

    fn verdict(&self, verdict: &Verdict, ms: i64, is_first: bool) {
        let failure = verdict.failure.as_ref();
        let fields = json!({
            "event_type": cut(&verdict.event_type),
            "inbound_id": verdict.inbound_id,
            "correlation_id": verdict.correlation_id,
            "failure_id": failure.map(|f| &f.id),
            "code": failure.map(|f| &f.code),
        });
        self.write(Ending::Event(verdict.status), (ms, is_first), fields);
    }

    fn write(&self, ending: Ending, (ms, is_first): (i64, bool), mut fields: Value) {
        let Call { tenant, system, body, .. } = self.call;
        if let Some(fields) = fields.as_object_mut() {
            fields.extend([
                ("tenant".to_owned(), cut(tenant).into()),
                ("system_id".to_owned(), cut(system).into()),
                ("bytes".to_owned(), body.len().into()),
                ("ms".to_owned(), ms.into()),
                ("request_id".to_owned(), self.request_id.clone().into()),
            ]);
        }
        let tenant = Some(*tenant).filter(|_| self.is_known());
        self.hub.metrics.webhook(system, tenant, ending, Some(ms).filter(|_| is_first), fields);
    }

    /// Whether there is what the path names; by now the copy knows, if it got so far.
    fn is_known(&self) -> bool {
        let names = TenantId::parse(self.call.tenant).ok().zip(SystemId::parse(self.call.system).ok());
        names.is_some_and(|(tenant, system)| self.hub.registry.knows(&tenant, &system))
    }
}

/// What others wrote, fit for a log.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}
