use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
};
use http::Uri;
use iam_client::Identity;

use super::{Failure, body, caller, query::Query, query_of};
use crate::{
    ConfigService, Error,
    nodes::{NodePage, NodeView, Receipt, Report},
};

const MOST_NODES: usize = 1000;
const LARGEST_REPORT: usize = 16 * 1024;

/// `GET /nodes?version=&after=&limit=`.
pub(super) async fn list(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    uri: Uri,
) -> Result<Json<NodePage>, Failure> {
    service.authorize(&caller(identity)?, "config.ReadFleet", "nodes/*")?;
    let query = Query::parse(query_of(&uri), &["version", "after", "limit"])?;
    let after = query.text("after").unwrap_or_default();
    Ok(Json(service.nodes(query.version("version")?, after, query.limit(MOST_NODES)?).await?))
}

/// `GET /nodes/{node}`.
pub(super) async fn show(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    Path(node): Path<String>,
    uri: Uri,
) -> Result<Json<NodeView>, Failure> {
    let identity = caller(identity)?;
    Query::parse(query_of(&uri), &[])?;
    Ok(Json(service.node(&identity, &node)?))
}

/// `POST /nodes/{node}/status`.
pub(super) async fn report(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    Path(node): Path<String>,
    sent: Body,
) -> Result<Json<Receipt>, Failure> {
    let identity = caller(identity)?;
    let sent = body::read(sent, "a report", LARGEST_REPORT).await?;
    let report: Report = serde_json::from_slice(&sent).map_err(|error| Error::BadBody(error.to_string()))?;
    Ok(Json(service.report(&identity, &node, report).await?))
}
