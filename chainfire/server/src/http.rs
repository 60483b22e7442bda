//! The plain HTTP pages of the API port.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};

use crate::{Error, store::Store, version};

#[derive(Serialize)]
struct Version {
    etcdserver: &'static str,
    etcdcluster: &'static str,
    storage: &'static str,
}

#[derive(Serialize)]
struct Health {
    /// A word, not a boolean: that is what the monitors compare with.
    health: &'static str,
    reason: String,
}

/// Options of `/health` that matter here; others are ignored, as there are no alarms to exclude.
#[derive(Deserialize)]
struct HealthQuery {
    /// Only this member's own state.
    #[serde(default)]
    serializable: bool,
}

/// `/health` and `/version`, to be merged into the router of the API port.
pub(crate) fn router(store: Arc<Store>) -> Router {
    Router::new().route("/health", get(health)).route("/version", get(version)).with_state(store)
}

async fn version() -> Json<Version> {
    Json(Version { etcdserver: version::SERVER, etcdcluster: version::CLUSTER, storage: version::STORAGE })
}

async fn health(State(store): State<Arc<Store>>, Query(query): Query<HealthQuery>) -> Response {
    match check(&store, query.serializable).await {
        Ok(()) => Json(Health { health: "true", reason: String::new() }).into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, Json(Health { health: "false", reason })).into_response(),
    }
}

async fn check(store: &Store, local: bool) -> Result<(), String> {
    let range_error = |error: Error| format!("RANGE ERROR:{error}");
    if !local {
        if store.status().leader.is_none() {
            return Err("RAFT NO LEADER".to_owned());
        }
        store.barrier().await.map_err(|error| range_error(error.into()))?;
    }
    store.revision().map(|_| ()).map_err(range_error)
}
