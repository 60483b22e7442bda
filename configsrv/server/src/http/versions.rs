use axum::{
    Extension, Json,
    extract::{Path, State},
};
use configsrv_fleet::Version;
use http::Uri;
use iam_client::Identity;

use super::{Failure, caller, query::Query, query_of};
use crate::{ConfigService, Error, record::Tree, versions::VersionPage};

const MOST_VERSIONS: usize = 200;

/// `GET /versions?before=&limit=`, newest first.
pub(super) async fn list(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    uri: Uri,
) -> Result<Json<VersionPage>, Failure> {
    service.authorize(&caller(identity)?, "config.ReadFleet", "versions/*")?;
    let query = Query::parse(query_of(&uri), &["before", "limit"])?;
    Ok(Json(service.history(query.version("before")?, query.limit(MOST_VERSIONS)?)?))
}

/// `GET /versions/{version}`.
pub(super) async fn show(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    Path(version): Path<String>,
) -> Result<Json<Tree>, Failure> {
    service.authorize(&caller(identity)?, "config.ReadFleet", "versions/*")?;
    let version: Version = version.parse().map_err(|_| Error::BadQuery("the path ends in no version".into()))?;
    Ok(Json(service.version(version)?))
}
