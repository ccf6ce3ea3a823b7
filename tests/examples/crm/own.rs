//! What the CRM's own people do, under `/_crm`: edit records, look at what is there, decide how much fails.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    routing::{delete, get, post, put},
};
use http::StatusCode;
use serde::Deserialize;

use crate::{
    api::{Refusal, error, found},
    crm::{Crm, Report},
    records::{Entity, Fields},
};

pub fn router(crm: Arc<Crm>) -> Router {
    Router::new()
        .route("/_crm/add", post(add))
        .route("/_crm/edit", post(edit))
        .route("/_crm/remove", post(remove))
        .route("/_crm/report", get(report))
        .route("/_crm/failures", put(failures))
        .route("/_crm/tokens", delete(tokens))
        .with_state(crm)
}

#[derive(Deserialize)]
struct Add {
    entity: Entity,
    record: Fields,
}

async fn add(State(crm): State<Arc<Crm>>, Json(wish): Json<Add>) -> (StatusCode, Json<Fields>) {
    (StatusCode::CREATED, Json(crm.user_adds(wish.entity, wish.record)))
}

#[derive(Deserialize)]
struct Edit {
    entity: Entity,
    id: String,
    set: Fields,
}

async fn edit(State(crm): State<Arc<Crm>>, Json(wish): Json<Edit>) -> Result<Json<Fields>, Refusal> {
    found(crm.user_edits(wish.entity, &wish.id, wish.set))
}

#[derive(Deserialize)]
struct Remove {
    entity: Entity,
    id: String,
}

async fn remove(State(crm): State<Arc<Crm>>, Json(wish): Json<Remove>) -> Result<StatusCode, Refusal> {
    found(crm.user_removes(wish.entity, &wish.id)).map(|_| StatusCode::NO_CONTENT)
}

async fn report(State(crm): State<Arc<Crm>>) -> Json<Report> {
    Json(crm.report())
}

#[derive(Deserialize)]
struct Share {
    share: f64,
}

async fn failures(State(crm): State<Arc<Crm>>, Json(wish): Json<Share>) -> Result<StatusCode, Refusal> {
    if !(0.0..=1.0).contains(&wish.share) {
        return Err(error(StatusCode::BAD_REQUEST, "share must be from 0 to 1"));
    }
    crm.failures.set_share(wish.share);
    Ok(StatusCode::NO_CONTENT)
}

/// Makes void what the token endpoint gave, long before its time.
async fn tokens(State(crm): State<Arc<Crm>>) -> StatusCode {
    crm.access.revoke();
    StatusCode::NO_CONTENT
}
