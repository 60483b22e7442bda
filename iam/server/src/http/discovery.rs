use axum::{
    Json,
    extract::State,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH},
    },
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::{Error, Iam};

/// The keys that verify tokens now. Verifiers may keep them for as long as rotation waits.
pub(super) async fn jwks(State(iam): State<Iam>, headers: HeaderMap) -> Result<Response, holdfast_rpc::Error> {
    iam.0.check_doors().map_err(Error::from)?;
    let revision = iam.key_ring()?.revision;
    let etag = HeaderValue::try_from(format!("\"{revision}\"")).map_err(|error| Error::Corrupt(error.to_string()))?;
    let mut response = if headers.get(IF_NONE_MATCH) == Some(&etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(iam.jwks()?).into_response()
    };
    response.headers_mut().insert(ETAG, etag);
    cached(&mut response, iam.0.settings.lifetimes.jwks_cache.as_secs());
    Ok(response)
}

/// OpenID Connect discovery.
pub(super) async fn configuration(State(iam): State<Iam>) -> Response {
    let issuer = iam.0.settings.issuer.trim_end_matches('/');
    let client_proofs = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
    let document = json!({
        "issuer": iam.0.settings.issuer,
        "jwks_uri": format!("{issuer}/jwks.json"),
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
        "grant_types_supported": ["client_credentials", super::exchange::GRANT],
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA", "ES256"],
        "token_endpoint_auth_methods_supported": client_proofs,
        "introspection_endpoint_auth_methods_supported": client_proofs,
        "revocation_endpoint_auth_methods_supported": client_proofs,
        "tls_client_certificate_bound_access_tokens": true,
        "token_endpoint_auth_signing_alg_values_supported": ["EdDSA", "ES256"],
        "claims_supported": ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "roles", "scope", "cnf"],
    });
    let mut response = Json(document).into_response();
    cached(&mut response, iam.0.settings.lifetimes.jwks_cache.as_secs());
    response
}

pub(super) fn cached(response: &mut Response, seconds: u64) {
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={seconds}")) {
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
}
