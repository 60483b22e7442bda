use axum::{Json, extract::State};
use serde::Serialize;

use super::Pages;

#[derive(Serialize)]
pub(super) struct Version {
    etcdserver: &'static str,
    etcdcluster: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<&'static str>,
}

pub(super) async fn page(State(Pages { profile, .. }): State<Pages>) -> Json<Version> {
    Json(Version { etcdserver: profile.server(), etcdcluster: profile.cluster(), storage: profile.storage() })
}
