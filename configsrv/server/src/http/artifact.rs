use axum::{
    Extension,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use configsrv_fleet::Digest;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use iam_client::Identity;

use super::{Failure, caller, query::Query, query_of};
use crate::{
    ConfigService, Error,
    artifacts::{Artifact, Intent, Wanted},
};

/// The version of the answered artifact. For information: agents trust the signed stamp only.
const VERSION: HeaderName = HeaderName::from_static("flor-version");
/// `dry-run` when the reader will not activate what it gets.
const INTENT: HeaderName = HeaderName::from_static("flor-sync-intent");

/// `GET /artifact/{node}`.
pub(super) async fn artifact(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    Path(node): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let identity = caller(identity)?;
    let wanted = wanted(query_of(&uri), &headers)?;
    answer(service.artifact(&identity, &node, wanted).await?)
}

fn wanted(query: &str, headers: &HeaderMap) -> Result<Wanted, Error> {
    let query = Query::parse(query, &["version", "have", "wait"])?;
    let intent = match headers.get(INTENT).map(HeaderValue::as_bytes) {
        Some(b"dry-run") => Intent::DryRun,
        _ => Intent::Sync,
    };
    Ok(Wanted {
        version: query.version("version")?,
        have: query.version("have")?,
        digest: headers.get(header::IF_NONE_MATCH).and_then(held_digest),
        wait: query.duration("wait")?,
        intent,
    })
}

/// The payload digest in an `If-None-Match`. A tag of another form matches nothing.
pub(super) fn held_digest(value: &HeaderValue) -> Option<Digest> {
    value.to_str().ok()?.split(',').find_map(|tag| {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?.parse().ok()
    })
}

fn answer(artifact: Artifact) -> Result<Response, Failure> {
    let mut response = match artifact.bytes {
        Some(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        None => StatusCode::NOT_MODIFIED.into_response(),
    };
    let text = |text: String| HeaderValue::try_from(text).map_err(|error| Error::Internal(error.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::ETAG, text(format!("\"{}\"", artifact.digest))?);
    headers.insert(VERSION, text(artifact.version.to_string())?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_digests_in_quotes() {
        let digest = Digest::of(b"payload");
        let held = |text: String| held_digest(&HeaderValue::try_from(text).unwrap());
        assert_eq!(held(format!("\"{digest}\"")), Some(digest));
        assert_eq!(held(format!("\"other\", W/\"{digest}\"")), Some(digest));
        assert_eq!(held(digest.to_string()), None);
        assert_eq!(held("*".to_owned()), None);
    }
}
