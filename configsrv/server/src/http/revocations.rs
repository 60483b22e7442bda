use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use configsrv_fleet::{Sequence, revocation::MAX_REVOCATIONS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use iam_client::Identity;

use super::{Failure, artifact::held_digest, body, caller, query::Query, query_of};
use crate::{
    ConfigService, Error,
    record::Reached,
    revocations::{FoundLane, Revoked, WantedLane},
};

/// The sequence of the answered envelope. For information: agents trust the signed one only.
const SEQUENCE: HeaderName = HeaderName::from_static("flor-sequence");
/// When it was taken, Unix time in milliseconds.
const PUBLISHED: HeaderName = HeaderName::from_static("flor-published-ms");

const LARGEST_REPORT: usize = 1024;

#[derive(serde::Deserialize)]
struct Applied {
    sequence: Sequence,
}

/// `POST /revocations?ignore_reports_of=`: the body is the signed envelope itself, so what else is said is in the query.
pub(super) async fn revoke(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    uri: Uri,
    sent: Body,
) -> Result<Json<Revoked>, Failure> {
    let identity = caller(identity)?;
    service.authorize(&identity, "config.Revoke", "versions/*")?;
    let ignored = Query::parse(query_of(&uri), &["ignore_reports_of"])?.nodes("ignore_reports_of")?;
    let sent = body::read(sent, "the revocations", MAX_REVOCATIONS).await?;
    Ok(Json(service.revoke(&identity, sent, ignored).await?))
}

/// `GET /revocations?have=&wait=`.
pub(super) async fn show(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let identity = caller(identity)?;
    let query = Query::parse(query_of(&uri), &["have", "wait"])?;
    let wanted = WantedLane {
        have: query.sequence("have")?,
        digest: headers.get(header::IF_NONE_MATCH).and_then(held_digest),
        wait: query.duration("wait")?,
    };
    answer(&wanted, service.revocations(&identity, &wanted).await?)
}

/// `POST /nodes/{node}/revocations`: the node says which sequence counts there.
pub(super) async fn reached(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    Path(node): Path<String>,
    sent: Body,
) -> Result<Json<Reached>, Failure> {
    let identity = caller(identity)?;
    let sent = body::read(sent, "a report", LARGEST_REPORT).await?;
    let Applied { sequence } = serde_json::from_slice(&sent).map_err(|error| Error::BadBody(error.to_string()))?;
    Ok(Json(service.reached(&identity, &node, sequence).await?))
}

fn answer(wanted: &WantedLane, found: FoundLane) -> Result<Response, Failure> {
    // Whoever waits for the first revocations says so.
    if found.sequence == Sequence::NONE && wanted.have != Some(Sequence::NONE) {
        return Err(Error::NoRevocations.into());
    }
    let mut response = match found.envelope {
        Some(envelope) => ([(header::CONTENT_TYPE, "application/json")], envelope).into_response(),
        None => StatusCode::NOT_MODIFIED.into_response(),
    };
    let text = |text: String| HeaderValue::try_from(text).map_err(|error| Error::Internal(error.to_string()));
    let headers = response.headers_mut();
    headers.insert(SEQUENCE, text(found.sequence.to_string())?);
    if let (Some(digest), Some(published_ms)) = (found.digest, found.published_ms) {
        headers.insert(header::ETAG, text(format!("\"{digest}\""))?);
        headers.insert(PUBLISHED, text(published_ms.to_string())?);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}
