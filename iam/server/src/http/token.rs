use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use chainfire_core::AuthenticatedBy;
use http::{HeaderMap, request::Parts};
use iam_core::PrincipalId;
use serde_json::json;

use super::oauth::{OauthError, authenticated, form, unkept};
use crate::{Iam, recorder::Call};

/// `client_credentials` with an access key (HTTP Basic or in the form) or with a signed assertion (RFC 7523).
pub(super) async fn token(State(iam): State<Iam>, parts: Parts, body: Result<Bytes, BytesRejection>) -> Response {
    let call = Call::public(&parts.extensions);
    let granted = async { grant(&iam, &call, &parts.headers, &body?).await };
    match granted.await {
        Ok(answer) => answer,
        Err(error) => error.into_response(),
    }
}

async fn grant(iam: &Iam, call: &Call, headers: &HeaderMap, body: &[u8]) -> Result<Response, OauthError> {
    let form = form(headers, body)?;
    match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {}
        Some(_) => return Err(OauthError::UnsupportedGrant),
        None => return Err(OauthError::InvalidRequest("grant_type is missing")),
    }
    let (principal, by) = authenticated(iam, call, headers, &form).await?;
    issue(iam, &principal, by, call).await
}

async fn issue(iam: &Iam, principal: &PrincipalId, by: AuthenticatedBy, call: &Call) -> Result<Response, OauthError> {
    let call = Call { principal: principal.to_string(), authenticated_by: by.as_str(), ..call.clone() };
    let ttl = iam.0.ttl(0)?;
    let issued = iam.0.issue(&call, principal, ttl, None).await?;
    Ok(unkept(&json!({ "access_token": issued.token, "token_type": "Bearer", "expires_in": ttl.as_secs() })))
}
