//! What an answer means: nothing of it is believed that wasn't looked at.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Listed, Written,
    config::{EntityPlan, List},
    error::{CallError, Unusable},
    said::Said,
};
use crate::{
    json::parse,
    mapping::Place,
    outgoing::{Reply, is_success},
    phone::Region,
};

/// The JSON of an answer of 2xx; `None` where its body is empty. `existing` says that the call was for a record that is to
/// be there. `secrets` are taken out of what the other side said.
pub(super) fn read(reply: &Reply, existing: bool, secrets: &[String]) -> Result<Option<Value>, CallError> {
    let text = std::str::from_utf8(&reply.body).ok();
    let text = text.map(|text| text.trim_start_matches('\u{feff}').trim());
    let answer = text.and_then(|text| parse(text).ok());
    if is_success(reply.status) {
        return match (text, answer) {
            (Some(""), _) => Ok(None),
            (_, Some(answer)) => Ok(Some(answer)),
            (Some(text), None) if text.starts_with('<') => Err(CallError::Unusable(Unusable::Html)),
            (_, None) => Err(CallError::Unusable(Unusable::NotJson)),
        };
    }
    let said = Said::of(&answer.unwrap_or_default(), secrets);
    Err(match reply.status {
        StatusCode::UNAUTHORIZED => CallError::Unauthorized { said },
        StatusCode::NOT_FOUND | StatusCode::GONE if existing => CallError::Gone { said },
        status if matches!(status.as_u16(), 400..=599) => {
            CallError::Status { status, said, retry_after: reply.retry_after }
        }
        status => CallError::Unusable(Unusable::Status(status)),
    })
}

/// What a create made.
pub(super) fn created(plan: &EntityPlan, answer: Option<&Value>, secrets: &[String]) -> Result<Written, CallError> {
    let answer = answer.ok_or(CallError::Unusable(Unusable::Empty))?;
    let id = plan.external_id(answer);
    refuse_errors(answer, id.is_some(), secrets)?;
    let external_id = id.ok_or(CallError::Unusable(Unusable::NoId))?;
    Ok(Written { external_id, updated_at: plan.updated_at(answer) })
}

/// What an update of the record `external_id` did.
pub(super) fn updated(
    plan: &EntityPlan,
    external_id: &str,
    answer: Option<&Value>,
    secrets: &[String],
) -> Result<Written, CallError> {
    let Some(answer) = answer else { return Ok(Written { external_id: external_id.to_owned(), updated_at: None }) };
    let id = plan.external_id(answer);
    refuse_errors(answer, id.is_some(), secrets)?;
    match id {
        Some(other) if other != external_id => Err(CallError::AnotherId { external_id: other }),
        None if !answer.is_object() => Err(CallError::Unusable(Unusable::WrongType("id"))),
        None if plan.has_id(answer) => Err(CallError::Unusable(Unusable::NoId)),
        // Its own id needn't be said again.
        _ => Ok(Written { external_id: external_id.to_owned(), updated_at: plan.updated_at(answer) }),
    }
}

/// What a delete did. An id in its answer may be that of anything.
pub(super) fn deleted(
    plan: &EntityPlan,
    external_id: &str,
    answer: Option<&Value>,
    secrets: &[String],
) -> Result<Written, CallError> {
    let external_id = external_id.to_owned();
    let Some(answer) = answer else { return Ok(Written { external_id, updated_at: None }) };
    refuse_errors(answer, plan.external_id(answer).is_some(), secrets)?;
    Ok(Written { external_id, updated_at: plan.updated_at(answer) })
}

/// The record that has our id, of those that a search answered. What has another one isn't it: a system that doesn't know
/// the parameter answers with any.
pub(super) fn found(
    plan: &EntityPlan,
    items: Option<&Place>,
    our_id: &str,
    answer: Option<&Value>,
    secrets: &[String],
) -> Result<Option<Written>, CallError> {
    let records = match answer {
        Some(answer) => match records(items, answer, secrets)? {
            Value::Array(list) => list,
            one => vec![one],
        },
        None => Vec::new(),
    };
    // Our ids aren't numbers of a region.
    let is_ours = |record: &&Value| plan.our_id(record, &Region::default()).as_deref() == Some(our_id);
    let Some(record) = records.iter().find(is_ours) else { return Ok(None) };
    let external_id = plan.external_id(record).ok_or(CallError::Unusable(Unusable::NoId))?;
    Ok(Some(Written { external_id, updated_at: plan.updated_at(record) }))
}

/// A page of a list, that was asked for with `cursor`.
pub(super) fn listed(
    list: &List,
    cursor: Option<&str>,
    answer: Option<&Value>,
    secrets: &[String],
) -> Result<Listed, CallError> {
    let answer = answer.ok_or(CallError::Unusable(Unusable::Empty))?;
    let Value::Array(records) = records(list.items.as_ref(), answer, secrets)? else {
        return Err(CallError::Unusable(Unusable::WrongType("items")));
    };
    let next = list.next.as_ref().and_then(|next| next.value(answer));
    let next = match next {
        // Some say by `false` that there is none.
        None | Some(Value::Bool(false)) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(_) => return Err(CallError::Unusable(Unusable::WrongType("next"))),
    };
    if next.is_some() && next.as_deref() == cursor {
        return Err(CallError::Unusable(Unusable::SamePage));
    }
    Ok(Listed { records, next })
}

/// The records that a batch's answer lists.
pub(super) fn results<'a>(answer: &'a Value, secrets: &[String]) -> Result<&'a [Value], CallError> {
    let results = answer.get("results").and_then(Value::as_array);
    if results.is_none() {
        refuse_errors(answer, false, secrets)?;
    }
    Ok(results.ok_or(CallError::Unusable(Unusable::WrongType("batch")))?)
}

/// What stands where records are to stand: a list of records, or one.
fn records(items: Option<&Place>, answer: &Value, secrets: &[String]) -> Result<Value, CallError> {
    let there = match items {
        Some(items) => items.value(answer),
        None => Some(answer.clone()),
    };
    match there {
        Some(records @ Value::Array(_)) => Ok(records),
        other => {
            refuse_errors(answer, false, secrets)?;
            other.filter(Value::is_object).ok_or(CallError::Unusable(Unusable::WrongType("items")))
        }
    }
}

/// Refuses an answer of 2xx with an error inside. Beside a record's id, only a plain `"success": false` is one.
pub(super) fn refuse_errors(answer: &Value, has_id: bool, secrets: &[String]) -> Result<(), CallError> {
    let is = |name: &str, value: &Value| answer.get(name).is_some_and(|there| there == value);
    let has_error = || {
        let error = answer.get("error").unwrap_or(&Value::Null);
        let errors = answer.get("errors").unwrap_or(&Value::Null);
        let none = [Value::Null, Value::Bool(false), json!(""), json!([]), json!({})];
        !none.contains(error) || !none.contains(errors) || is("status", &json!("error"))
    };
    if is("success", &Value::Bool(false)) || (!has_id && has_error()) {
        return Err(CallError::Unusable(Unusable::ErrorInside(Said::of(answer, secrets))));
    }
    Ok(())
}
