use axum::{
    Extension, Json,
    extract::{Path, State},
};
use configsrv_fleet::Version;
use http::Uri;
use iam_client::Identity;

use super::{Failure, caller, query::Query, query_of};
use crate::{ConfigService, Error, changes::Changes, record::Tree, versions::VersionPage};

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
    Ok(Json(service.version(number(&version)?)?))
}

/// `GET /versions/{from}/diff/{to}`.
pub(super) async fn diff(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    Path((from, to)): Path<(String, String)>,
) -> Result<Json<Changes>, Failure> {
    service.authorize(&caller(identity)?, "config.ReadFleet", "versions/*")?;
    Ok(Json(service.changes(number(&from)?, number(&to)?).await?))
}

/// `+7` is a number to Rust and not to us.
fn number(text: &str) -> Result<Version, Error> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let version = digits.then(|| text.parse().ok()).flatten();
    version.ok_or_else(|| {
        Error::BadQuery(format!("{:?} in the path is no version", text.chars().take(40).collect::<String>()))
    })
}
