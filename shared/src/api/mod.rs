//! The management API (contract §7): parse, check, call, answer. So far its reading routes, the mapping preview, replays of
//! what was kept, and all of subscriptions, events and deliveries.

mod cursor;
mod deliveries;
mod failures;
mod records;
mod subscriptions;
mod syncs;

use std::{collections::BTreeMap, convert::Infallible};

use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use lambda_http::{Body, Request, RequestExt, request::RequestContext};
use serde_json::{Map, Value, json};

use crate::{
    connector::Entity,
    hub::{Hub, Settings},
    ids::{SystemId, TenantId},
    integration::{FieldError, Tenant, success_outcomes},
    json as bounded_json,
    keys::Scope,
    mapping,
    phone::{E164, Region},
    problem::{Problem, json_response},
    process::{KeptEvent, Kind, Status, inbound_key, inbound_list, interactions_list, phone_key, record_id, record_of},
    registry::tenant_key,
    store::{Item, Key, Page, Range, Span, StoreError},
    tenant::TenantContext,
    view,
};

/// Records on a page: at most, and where the caller doesn't say.
const LIMIT_MAX: i32 = 100;
const LIMIT_DEFAULT: i32 = 50;

/// Answers one call of the API.
///
/// # Errors
/// None: every outcome is an answer.
pub async fn handle(hub: &Hub, request: Request) -> Result<Response<Body>, Infallible> {
    let path = request.raw_http_path().to_owned();
    let caller = authenticated(&request);
    let answer = route(hub, &request, &path, caller.as_ref()).await;
    let status = answer.as_ref().map_or_else(|p| p.status, |(status, _)| *status);
    let caller = caller.map(|(context, _)| context.tenant().to_string()).unwrap_or_default();
    let route: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).take(2).collect();
    tracing::info!(tenant = caller, method = %request.method(), route = route.join("/"), status = status.as_u16(), "api");
    Ok(match answer {
        Ok((StatusCode::NO_CONTENT, _)) => empty(),
        Ok((status, body)) => json_response(status, &body),
        Err(problem) => problem.into_response(),
    })
}

fn empty() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the API couldn't answer");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the data can't be read for the moment; try again")
            .retry_after(5)
    }
}

fn not_found(what: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
}

fn invalid(field: &str, message: impl Into<String>) -> Problem {
    invalid_fields(vec![FieldError::new(field, message)])
}

fn invalid_fields(errors: Vec<FieldError>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", "the request is not valid; see `errors`")
        .with_errors(errors)
}

/// The caller as the authorizer found it, and its scopes. Only this makes an API caller's [`TenantContext`].
fn authenticated(request: &Request) -> Option<(TenantContext, String)> {
    let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else { return None };
    let fields = &context.authorizer.as_ref()?.fields;
    let field = |name: &str| fields.get(name)?.as_str().map(str::to_owned);
    let tenant = TenantId::parse(&field("tenant_id")?).ok()?;
    Some((TenantContext::authenticated(tenant), field("scopes").unwrap_or_default()))
}

async fn route(
    hub: &Hub,
    request: &Request,
    path: &str,
    caller: Option<&(TenantContext, String)>,
) -> Result<(StatusCode, Value), Problem> {
    let (context, scopes) = caller.ok_or_else(|| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "invalid_api_key",
            "send a valid API key as `Authorization: Bearer <key>`",
        )
    })?;
    let tail = path.split_once("/v1/").map(|(_, tail)| tail).unwrap_or_default();
    let segments: Vec<String> = tail.split('/').map(decoded).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let allowed = |scope: Scope| {
        let problem = || {
            Problem::new(
                StatusCode::FORBIDDEN,
                "missing_scope",
                format!("the key lacks the scope `{}`", scope.as_str()),
            )
        };
        scopes.split(' ').any(|given| given == scope.as_str()).then_some(()).ok_or_else(problem)
    };
    let call = Call { hub, context, request };
    let reads = request.method() == Method::GET || segments == ["mappings", "preview"];
    allowed(if reads { Scope::Read } else { Scope::Write })?;
    match (request.method(), segments.as_slice()) {
        (&Method::GET, segments) => call.get(segments).await.map(|body| (StatusCode::OK, body)),
        (method, segments) => call.change(method, segments).await,
    }
}

/// Percent-decodes one segment of a path. In a path `+` is a plus sign.
fn decoded(segment: &str) -> String {
    let plain = segment.replace('+', "%2B");
    form_urlencoded::parse(plain.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

/// One call.
struct Call<'a> {
    hub: &'a Hub,
    context: &'a TenantContext,
    request: &'a Request,
}

impl Call<'_> {
    async fn get(&self, segments: &[&str]) -> Result<Value, Problem> {
        match segments {
            ["phone-numbers", number] => self.phone_number(number).await,
            ["phone-numbers", number, "interactions"] => self.interactions(number).await,
            ["interactions", id] => self.record(Kind::Interaction, id).await,
            ["contacts", id] => self.record(Kind::Contact, id).await,
            ["companies", id] => self.record(Kind::Company, id).await,
            ["merchants", id] => self.merchant(id).await,
            ["inbound-events"] => self.inbound_events().await,
            ["inbound-events", id] => self.inbound_event(id).await,
            ["failures"] => self.failures().await,
            ["failures", id] => self.failure(id).await,
            ["subscriptions"] => self.subscriptions().await,
            ["subscriptions", id] => self.subscription(id).await,
            ["subscriptions", id, "deliveries"] => self.deliveries(id).await,
            ["deliveries", id] => self.delivery(id).await,
            ["event-types"] => self.event_types(),
            ["events", id] => self.event(id).await,
            ["sync", system] => self.sync_states(system).await,
            _ => Err(no_route(segments)),
        }
    }

    async fn change(&self, method: &Method, segments: &[&str]) -> Result<(StatusCode, Value), Problem> {
        let accepted = |body| (StatusCode::ACCEPTED, body);
        let ok = |body| (StatusCode::OK, body);
        match (method, segments) {
            (&Method::POST, ["failures", "retry"]) => self.retry_failures().await.map(accepted),
            (&Method::POST, ["failures", id, "retry"]) => self.retry_failure(id).await.map(accepted),
            (&Method::POST, ["inbound-events", id, "replay"]) => self.replay_event(id).await.map(accepted),
            (&Method::POST, ["mappings", "preview"]) => preview(self.request.body()).map(ok),
            (&Method::POST, ["subscriptions"]) => {
                self.create_subscription().await.map(|body| (StatusCode::CREATED, body))
            }
            (&Method::PATCH, ["subscriptions", id]) => self.change_subscription(id).await.map(ok),
            (&Method::DELETE, ["subscriptions", id]) => {
                self.delete_subscription(id).await.map(|body| (StatusCode::NO_CONTENT, body))
            }
            (&Method::POST, ["subscriptions", id, "rotate-secret"]) => self.rotate_secret(id).await.map(ok),
            (&Method::POST, ["subscriptions", id, "test"]) => self.test_subscription(id).await.map(ok),
            (&Method::POST, ["subscriptions", id, "replay"]) => self.replay_subscription(id).await.map(accepted),
            (&Method::POST, ["deliveries", id, "retry"]) => self.retry_delivery(id).await.map(accepted),
            (&Method::POST, ["sync", system, entity]) => self.start_sync(system, entity).await.map(accepted),
            (&Method::POST, ["integrations", system, "validate"]) => self.validate_integration(system).await.map(ok),
            (&Method::PUT, ["contacts", id]) => self.put_record(Entity::Contact, id).await,
            (&Method::PUT, ["companies", id]) => self.put_record(Entity::Company, id).await,
            (&Method::DELETE, ["contacts", id]) => self.delete_record(Entity::Contact, id).await,
            (&Method::DELETE, ["companies", id]) => self.delete_record(Entity::Company, id).await,
            _ => Err(no_route(segments)),
        }
    }

    fn tenant(&self) -> &TenantId {
        self.context.tenant()
    }

    fn query(&self, name: &str) -> Option<String> {
        self.request.query_string_parameters_ref()?.first(name).map(str::to_owned)
    }

    /// Refuses query parameters that the route doesn't know.
    fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let given = self.request.query_string_parameters();
        match given.iter().find(|(name, _)| !known.contains(name)) {
            Some((name, _)) => {
                Err(invalid(name, format!("is not a parameter of this route; it takes {}", known.join(", "))))
            }
            None => Ok(()),
        }
    }

    fn limit(&self) -> Result<i32, Problem> {
        let Some(text) = self.query("limit") else { return Ok(LIMIT_DEFAULT) };
        let limit = text.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
        limit.ok_or_else(|| invalid("limit", format!("must be a whole number from 1 to {LIMIT_MAX}")))
    }

    fn after(&self) -> Result<Option<(String, Key)>, Problem> {
        let Some(text) = self.query("cursor") else { return Ok(None) };
        let cursor = cursor::decode(&text, self.tenant());
        cursor.map(Some).ok_or_else(|| invalid("cursor", "is not a cursor that this API gave; begin again without one"))
    }

    async fn phone_number(&self, number: &str) -> Result<Value, Problem> {
        let phone = e164(number)?;
        let keys = [&phone_key(self.tenant(), &phone), &tenant_key(self.tenant())];
        let [item, tenant] = self.hub.store.get_all(keys).await?;
        let item = item.ok_or_else(|| not_found("phone number"))?;
        let tenant: Option<Tenant> = tenant.and_then(|t| serde_json::from_str(t.get_text("doc")?).ok());
        Ok(view::phone_number(&phone, &item, &tenant.map_or_else(success_outcomes, |t| t.success_outcomes)))
    }

    async fn interactions(&self, number: &str) -> Result<Value, Problem> {
        self.only(&["limit", "cursor"])?;
        let list = interactions_list(self.tenant(), &e164(number)?);
        self.page(&list, Span::default(), &[], |item| view::record_item(Kind::Interaction, item)).await
    }

    async fn record(&self, kind: Kind, id: &str) -> Result<Value, Problem> {
        let item = self.hub.store.get(&Key::of(self.tenant(), kind.name(), id)).await?;
        let view = item
            .filter(|item| record_of(item).is_some_and(|r| !r.is_deleted()))
            .and_then(|item| view::record_item(kind, &item));
        view.ok_or_else(|| not_found(kind.id_name().trim_end_matches("_id")))
    }

    /// By our id, or by the id that the payment processor or Stripe gave.
    async fn merchant(&self, id: &str) -> Result<Value, Problem> {
        let key = |id: String| Key::of(self.tenant(), Kind::Merchant.name(), id);
        let of = |system: &str| {
            SystemId::parse(system).map(|s| record_id(Kind::Merchant, self.tenant(), &s, id)).unwrap_or_default()
        };
        let keys = [key(id.to_owned()), key(of("payment_processor")), key(of("stripe"))];
        let [own, processor, stripe] = self.hub.store.get_all([&keys[0], &keys[1], &keys[2]]).await?;
        let item = own.or(processor).or(stripe).ok_or_else(|| not_found("merchant"))?;
        view::record_item(Kind::Merchant, &item).ok_or_else(|| not_found("merchant"))
    }

    async fn inbound_events(&self) -> Result<Value, Problem> {
        self.only(&["system_id", "status", "since", "until", "limit", "cursor"])?;
        let (system, status) = (self.query("system_id"), self.query("status"));
        if status.as_deref().is_some_and(|status| Status::parse(status).is_none()) {
            return Err(invalid("status", "must be processed, duplicate, queued, failed or ignored"));
        }
        let filters: Vec<(&str, &str)> = [("sys", &system), ("st", &status)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
            .collect();
        let view = |item: &Item| KeptEvent::from_item(item).map(|event| view::inbound_event(&event));
        self.page(&inbound_list(self.tenant()), self.span()?, &filters, view).await
    }

    async fn inbound_event(&self, id: &str) -> Result<Value, Problem> {
        let item = self.hub.store.get(&inbound_key(self.tenant(), id)).await?;
        let event = item.as_ref().and_then(KeptEvent::from_item).ok_or_else(|| not_found("inbound event"))?;
        Ok(view::inbound_event(&event))
    }

    /// The parameters `since` and `until`.
    fn span(&self) -> Result<Span, Problem> {
        let time = |name: &str| match self.query(name).map(|text| text.parse::<Timestamp>()) {
            None => Ok(None),
            Some(Ok(time)) => Ok(Some(time)),
            Some(Err(_)) => Err(invalid(name, "must be a time such as 2026-01-31T12:00:00Z")),
        };
        Ok(Span { since: time("since")?, until: time("until")? })
    }

    async fn page(
        &self,
        list: &str,
        span: Span,
        filters: &[(&str, &str)],
        view: impl Fn(&Item) -> Option<Value>,
    ) -> Result<Value, Problem> {
        let after = self.after()?;
        let forgeable = after.is_some();
        let page = self.hub.store.list(list, &span, filters, after, self.limit()?).await;
        let page = page.map_err(|error| not_read(error, forgeable))?;
        Ok(self.shown(page, view))
    }

    /// A page of a partition of the table, in the order of its sort keys or against it.
    async fn page_of(
        &self,
        partition: &str,
        range: &Range,
        filters: &[(&str, &str)],
        forward: bool,
        view: impl Fn(&Item) -> Option<Value>,
    ) -> Result<Value, Problem> {
        let after = self.after()?.map(|(_, key)| key.sk);
        let forgeable = after.is_some();
        let page = self.hub.store.range(partition, range, filters, (after, self.limit()?, forward)).await;
        let page = page.map_err(|error| not_read(error, forgeable))?;
        Ok(self.shown(page, view))
    }

    fn shown(&self, page: Page, view: impl Fn(&Item) -> Option<Value>) -> Value {
        let data: Vec<Value> = page.items.iter().filter_map(view).collect();
        let next = page.next.map(|(sort, key)| cursor::encode(&sort, &key, self.tenant()));
        json!({"data": data, "next_cursor": next})
    }
}

/// Why a list can't be read. With a cursor of another list, DynamoDB refuses to start outside of what was asked for.
fn not_read(error: StoreError, forgeable: bool) -> Problem {
    match error {
        StoreError::Rejected { .. } if forgeable => invalid("cursor", "is not a cursor of this list"),
        error => error.into(),
    }
}

/// What is wrong with an address that nothing answered at: the method, or all of it.
fn no_route(segments: &[&str]) -> Problem {
    match segments {
        ["inbound-events" | "failures" | "subscriptions" | "event-types"]
        | [
            "phone-numbers" | "interactions" | "contacts" | "companies" | "merchants" | "inbound-events" | "failures"
            | "subscriptions" | "deliveries" | "events" | "sync",
            _,
        ]
        | ["sync", _, _]
        | ["integrations", _, "validate"]
        | ["mappings", "preview"]
        | ["phone-numbers", _, "interactions"]
        | ["inbound-events", _, "replay"]
        | ["failures" | "deliveries", _, "retry"]
        | ["subscriptions", _, "deliveries" | "replay" | "rotate-secret" | "test"] => {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address doesn't take this method")
        }
        _ => Problem::new(
            StatusCode::NOT_FOUND,
            "no_such_route",
            "there is nothing at this address; see the README for the routes",
        ),
    }
}

fn e164(number: &str) -> Result<E164, Problem> {
    let number = number.trim();
    let number = if number.starts_with('+') { number.to_owned() } else { format!("+{number}") };
    E164::try_from(number).map_err(|_| invalid("phone_number", "must be in E.164 form, such as +14155550100"))
}

/// The fields of a JSON object from outside.
fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| invalid("body", "is not UTF-8"))?;
    match bounded_json::parse(text).map_err(|e| invalid("body", format!("is {e}")))? {
        Value::Object(fields) => Ok(fields),
        _ => Err(invalid("body", "must be a JSON object")),
    }
}

/// Shows what a mapping makes of a payload, storing nothing.
fn preview(body: &[u8]) -> Result<Value, Problem> {
    if body.len() > Settings::BODY_BYTES_MAX {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body is larger than {} bytes", Settings::BODY_BYTES_MAX),
        ));
    }
    let mut fields: BTreeMap<String, Value> = object(body)?.into_iter().collect();
    let mut take = |name: &str| fields.remove(name);
    let mapping = take("mapping").ok_or_else(|| invalid("mapping", "is required"))?;
    let payload = take("payload").ok_or_else(|| invalid("payload", "is required"))?;
    let region = match take("default_region") {
        None | Some(Value::Null) => Region::default(),
        Some(region) => serde_json::from_value(region)
            .map_err(|_| invalid("default_region", "must be an ISO 3166 code such as US"))?,
    };
    if let Some(name) = fields.keys().next() {
        return Err(invalid(name, "is not a field of this request; it takes mapping, payload and default_region"));
    }
    serde_json::to_value(mapping::preview(&mapping, &payload, &region)).map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the preview can't be written as JSON")
    })
}
