//! What the hub calls: the API of the preset `generic`, and the OAuth 2 token endpoint.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{MatchedPath, Path, Query, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{
    HeaderMap, StatusCode,
    header::{CACHE_CONTROL, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    crm::{Created, Crm},
    failures::When,
    records::{Entity, Fields},
};

/// Records of a page where the caller doesn't say, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// An answer that says what is wrong.
pub type Refusal = (StatusCode, Json<Value>);

pub fn router(crm: &Arc<Crm>) -> Router {
    let entities = Entity::ALL.into_iter().fold(Router::new(), |router, entity| {
        let records = Router::new()
            .route("/", get(list).post(create))
            .route("/{id}", get(read).patch(edit).delete(remove))
            .layer(Extension(entity));
        router.nest(&format!("/{}", entity.plural()), records)
    });
    let entities = entities.route_layer(from_fn_with_state(Arc::clone(crm), guard));
    entities.route("/oauth/token", post(token)).with_state(Arc::clone(crm))
}

/// Around each call: it may fail on purpose, and nobody comes in without a token.
async fn guard(State(crm): State<Arc<Crm>>, path: MatchedPath, request: Request, next: Next) -> Response {
    crm.count_call(format!("{} {}", request.method(), path.as_str()));
    let fate = crm.failures.decide();
    if let Some((When::Before, how)) = fate {
        return how.answer();
    }
    let answer = if crm.access.admits(request.headers(), (crm.clock)()) {
        next.run(request).await
    } else {
        let challenge = [(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
        (challenge, error(StatusCode::UNAUTHORIZED, "the token is missing, unknown or expired")).into_response()
    };
    match fate {
        Some((When::After, how)) => how.answer(),
        _ => answer,
    }
}

async fn token(State(crm): State<Arc<Crm>>, headers: HeaderMap, form: Bytes) -> Response {
    let (status, answer) = crm.access.give(&headers, &form, (crm.clock)());
    (status, [(CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

async fn create(
    State(crm): State<Arc<Crm>>,
    Extension(entity): Extension<Entity>,
    headers: HeaderMap,
    Json(record): Json<Fields>,
) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    match crm.create(entity, key, record) {
        Created::Record(record) => (StatusCode::CREATED, Json(record)).into_response(),
        Created::Conflict => {
            error(StatusCode::UNPROCESSABLE_ENTITY, "this Idempotency-Key came with another body").into_response()
        }
    }
}

async fn read(
    State(crm): State<Arc<Crm>>,
    Extension(entity): Extension<Entity>,
    Path(id): Path<String>,
) -> Result<Json<Fields>, Refusal> {
    found(crm.with_records(|records| records.get(entity, &id).cloned()))
}

async fn edit(
    State(crm): State<Arc<Crm>>,
    Extension(entity): Extension<Entity>,
    Path(id): Path<String>,
    Json(patch): Json<Fields>,
) -> Result<Json<Fields>, Refusal> {
    found(crm.patch(entity, &id, patch))
}

async fn remove(
    State(crm): State<Arc<Crm>>,
    Extension(entity): Extension<Entity>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    found(crm.delete(entity, &id)).map(|_| StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Wanted {
    smrt_crm_id: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

async fn list(
    State(crm): State<Arc<Crm>>,
    Extension(entity): Extension<Entity>,
    Query(wanted): Query<Wanted>,
) -> Json<Value> {
    crm.with_records(|records| {
        if let Some(smrt_id) = &wanted.smrt_crm_id {
            return Json(json!({"data": records.with_smrt_id(entity, smrt_id)}));
        }
        let limit = wanted.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
        let (data, next_cursor) = records.page(entity, wanted.cursor.as_deref(), limit);
        Json(json!({"data": data, "next_cursor": next_cursor}))
    })
}

/// The record as an answer, or 404.
pub fn found(record: Option<Fields>) -> Result<Json<Fields>, Refusal> {
    record.map(Json).ok_or_else(|| error(StatusCode::NOT_FOUND, "there is no such record"))
}

pub fn error(status: StatusCode, message: &str) -> Refusal {
    (status, Json(json!({"error": message})))
}
