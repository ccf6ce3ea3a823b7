//! One call: what it says, and what every route needs of it.

use std::borrow::Cow;

use http::{HeaderName, Method, header};
use jiff::Timestamp;
use lambda_http::{Request, RequestExt, request::RequestContext};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{answer, cursor::Cursors, invalid, invalid_fields};
use crate::{
    hub::Hub,
    ids::TenantId,
    integration::FieldError,
    json as bounded_json,
    problem::{Code, Problem},
    store::{Item, Key, Page, Range, Span},
    tenant::TenantContext,
};

/// Records on a page: at most, and where the caller doesn't say.
const LIMIT_MAX: i32 = 100;
const LIMIT_DEFAULT: i32 = 50;

/// One call.
pub(super) struct Call<'a> {
    pub(super) hub: &'a Hub,
    pub(super) context: &'a TenantContext,
    pub(super) request: &'a Request,
    /// The gateway's id of the request: what the log lines of what it starts are found by.
    pub(super) request_id: Option<&'a str>,
    /// The values of the path's parameters, in order.
    pub(super) parameters: Vec<String>,
}

impl Call<'_> {
    pub(super) fn tenant(&self) -> &TenantId {
        self.context.tenant()
    }

    /// Where the hub is for the caller: as configured, else by the name under which the gateway was called. That isn't the Host
    /// header: the gateway answers to no names but its own. (Deployed without a domain, the functions behind the gateway can't
    /// be told its name: each would have to be made before the other.)
    pub(super) fn public_url(&self) -> Cow<'_, str> {
        let configured = self.hub.settings.public_url.as_str();
        match self.request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(gateway)) if configured.is_empty() => {
                format!("https://{}", gateway.domain_name.as_deref().unwrap_or_default()).into()
            }
            _ => configured.into(),
        }
    }

    /// The value of the path's `n`th parameter.
    pub(super) fn parameter(&self, n: usize) -> &str {
        self.parameters.get(n).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    pub(super) fn query(&self, name: &str) -> Option<String> {
        self.request.query_string_parameters_ref()?.first(name).map(str::to_owned)
    }

    /// Refuses query parameters that the route doesn't know.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let given = self.request.query_string_parameters();
        let unknown = given.iter().map(|(name, _)| name).filter(|name| !known.contains(name));
        let mut errors: Vec<FieldError> =
            unknown.map(|name| FieldError::unknown(name, known, "a parameter of this route")).collect();
        errors.sort_by(|one, other| one.field.cmp(&other.field));
        if errors.is_empty() { Ok(()) } else { Err(invalid_fields(errors)) }
    }

    pub(super) fn limit(&self) -> Result<i32, Problem> {
        let Some(text) = self.query("limit") else { return Ok(LIMIT_DEFAULT) };
        let limit = text.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
        limit.ok_or_else(|| invalid("limit", format!("must be a whole number from 1 to {LIMIT_MAX}")))
    }

    /// The parameters `since` and `until`.
    pub(super) fn span(&self) -> Result<Span, Problem> {
        let mut errors = Vec::new();
        let mut time = |name: &str| match self.query(name).map(|text| text.parse::<Timestamp>()) {
            None => None,
            Some(Ok(time)) => Some(time),
            Some(Err(_)) => {
                errors.push(FieldError::new(name, "must be a time such as 2026-01-31T12:00:00Z"));
                None
            }
        };
        let span = Span { since: time("since"), until: time("until") };
        if errors.is_empty() { Ok(span) } else { Err(invalid_fields(errors)) }
    }

    /// A page of a list on the index by time.
    pub(super) async fn page(
        &self,
        list: &str,
        span: Span,
        filters: &[(&str, &str)],
        view: impl Fn(&Item) -> Option<Value>,
    ) -> Result<Value, Problem> {
        let cursors = self.cursors(list, filters, &[span.since, span.until]);
        let after = self.after(&cursors)?;
        let page = self.hub.store.list(list, &span, filters, after, self.limit()?).await?;
        Ok(shown(page, &cursors, view))
    }

    /// A page of a partition of the table, in the order of its sort keys or against it.
    pub(super) async fn page_of(
        &self,
        partition: &str,
        range: &Range,
        filters: &[(&str, &str)],
        forward: bool,
        view: impl Fn(&Item) -> Option<Value>,
    ) -> Result<Value, Problem> {
        let cursors = self.cursors(&format!("{partition} {} {}", range.from, range.to), filters, &[]);
        let after = self.after(&cursors)?.map(|(_, key)| key.sk);
        let page = self.hub.store.range(partition, range, filters, (after, self.limit()?, forward)).await?;
        Ok(shown(page, &cursors, view))
    }

    /// The cursors of a list: each counts for the same question only.
    pub(super) fn cursors(&self, list: &str, filters: &[(&str, &str)], times: &[Option<Timestamp>]) -> Cursors<'_> {
        let question = format!("{list} {filters:?} {times:?}");
        Cursors::new(&self.hub.settings.cursor_key, self.tenant(), &question)
    }

    pub(super) fn after(&self, cursors: &Cursors<'_>) -> Result<Option<(String, Key)>, Problem> {
        let Some(text) = self.query("cursor") else { return Ok(None) };
        let message = "is no cursor that this list gave for the same parameters; begin again without one";
        cursors.decode(&text).map(Some).ok_or_else(|| invalid("cursor", message))
    }

    /// The body's fields.
    pub(super) fn fields(&self) -> Result<Map<String, Value>, Problem> {
        let body: &[u8] = self.request.body().as_ref();
        if body.is_empty() { Err(invalid("body", "is missing: send a JSON object")) } else { object(body) }
    }

    /// The fields of a body that says how something is to be done, in which `2.0` is a whole number, as in JSON Schema
    /// (2020-12, validation, 6.1.1). In data, and in a mapping's constants, it isn't: an amount of `42.0` is another one than `42`.
    pub(super) fn settings(&self) -> Result<Map<String, Value>, Problem> {
        let mut fields = self.fields()?;
        fields.iter_mut().filter(|(name, _)| *name != "mapping").for_each(|(_, value)| whole(value));
        Ok(fields)
    }

    /// The body as a `T` with these fields, each read by itself, so that all that is wrong is found at once.
    pub(super) fn read<T: for<'de> Deserialize<'de>>(&self, known: &[&str]) -> Result<T, Problem> {
        let fields = if self.request.body().is_empty() { Map::new() } else { self.settings()? };
        let mut errors: Vec<FieldError> = unknown_fields(&fields, known);
        let whole = T::deserialize(Value::Object(fields.clone()));
        if errors.is_empty()
            && let Err(error) = &whole
        {
            let alone = |(name, value): (&String, &Value)| {
                let error = T::deserialize(json!({name: value})).err()?.to_string();
                // What misses another field says nothing of this one.
                (!error.starts_with("missing field")).then(|| FieldError::new(name.clone(), error))
            };
            errors = fields.iter().filter_map(alone).collect();
            if errors.is_empty() {
                errors.push(FieldError::new("body", error.to_string()));
            }
        }
        if errors.is_empty() { whole.map_err(|e| invalid("body", e.to_string())) } else { Err(invalid_fields(errors)) }
    }

    /// Refuses a change of something that isn't as the caller saw it (RFC 9110, 13.1): `now` is how it is shown now, if it
    /// exists.
    pub(super) fn check_preconditions(&self, now: Option<&Value>) -> Result<(), Problem> {
        let tag = now.map(answer::tag);
        let holds = self.header(&header::IF_MATCH).is_none_or(|wanted| names(wanted, tag.as_deref()))
            && self.header(&header::IF_NONE_MATCH).is_none_or(|refused| !names(refused, tag.as_deref()));
        if holds { Ok(()) } else { Err(precondition_failed()) }
    }

    /// Whether the caller has what carries this tag already.
    pub(super) fn knows(&self, tag: &str) -> bool {
        self.request.method() == Method::GET
            && self.header(&header::IF_NONE_MATCH).is_some_and(|known| names(known, Some(tag)))
    }
}

/// Whether a list of entity tags names this one; `*` names any.
fn names(list: &str, tag: Option<&str>) -> bool {
    let Some(tag) = tag else { return false };
    list.split(',').map(|own| own.trim().trim_start_matches("W/")).any(|own| own == "*" || own == tag)
}

/// Somebody else changed it meanwhile.
pub(super) fn precondition_failed() -> Problem {
    let detail = "it isn't as `If-Match` or `If-None-Match` says any more; read it again, and change that";
    Problem::new(Code::PreconditionFailed, detail)
}

/// What is wrong with the names of fields.
pub(super) fn unknown_fields(fields: &Map<String, Value>, known: &[&str]) -> Vec<FieldError> {
    let unknown = fields.keys().filter(|name| !known.contains(&name.as_str()));
    unknown.map(|name| FieldError::unknown(name, known, "a field here")).collect()
}

fn shown(page: Page, cursors: &Cursors<'_>, view: impl Fn(&Item) -> Option<Value>) -> Value {
    let data: Vec<Value> = page.items.iter().filter_map(view).collect();
    let next = page.next.map(|(sort, key)| cursors.encode(&sort, &key));
    json!({"data": data, "next_cursor": next})
}

/// The fields of a JSON object from outside.
fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| invalid("body", "is not UTF-8"))?;
    match bounded_json::parse(text).map_err(|e| invalid("body", format!("is {e}")))? {
        Value::Object(fields) => Ok(fields),
        _ => Err(invalid("body", "must be a JSON object")),
    }
}

/// Makes integers of doubles that are whole.
fn whole(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            // Such a double stands for itself only.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT);
            #[expect(clippy::cast_possible_truncation, reason = "whole, and less than 2^53")]
            let integer = float.map(|float| float as i64);
            if let Some(integer) = integer {
                *value = integer.into();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(whole),
        Value::Object(fields) => fields.values_mut().for_each(whole),
        _ => {}
    }
}
