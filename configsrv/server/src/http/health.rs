use std::time::Duration;

use axum::{Json, extract::State};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Failure;
use crate::{ConfigService, Error};

const PATIENCE: Duration = Duration::from_secs(2);

/// The process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The control plane has a quorum, and this server sees it. Anybody may ask, so it says nothing else.
pub(super) async fn readyz(State(service): State<ConfigService>) -> Result<Json<Value>, Failure> {
    match timeout(PATIENCE, service.records().barrier()).await {
        Ok(caught_up) => caught_up.map_err(Error::from)?,
        Err(_) => return Err(Error::NoQuorum("no answer in time".into()).into()),
    }
    Ok(Json(json!({ "ready": true })))
}
