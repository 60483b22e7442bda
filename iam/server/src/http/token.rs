use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use http::request::Parts;
use serde_json::json;

use super::{
    exchange,
    oauth::{OauthError, authenticated, form, scope, unkept},
};
use crate::{Iam, peers::shown, recorder::Call, tokens::NewToken};

/// `client_credentials` with an access key (HTTP Basic or in the form) or with a signed assertion (RFC 7523). On a
/// connection with a client certificate the token is bound to that (RFC 8705 §3), and with a `scope` narrowed to these roles.
pub(super) async fn token(State(iam): State<Iam>, parts: Parts, body: Result<Bytes, BytesRejection>) -> Response {
    let call = Call::public(&parts.extensions);
    let granted = async { grant(&iam, &call, &parts, &body?).await };
    match granted.await {
        Ok(answer) => answer,
        Err(error) => error.into_response(),
    }
}

async fn grant(iam: &Iam, call: &Call, parts: &Parts, body: &[u8]) -> Result<Response, OauthError> {
    let form = form(&parts.headers, body)?;
    match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {}
        Some(exchange::GRANT) => return exchange::exchange(iam, call, parts, &form).await,
        Some(_) => return Err(OauthError::UnsupportedGrant),
        None => return Err(OauthError::InvalidRequest("grant_type is missing")),
    }
    let (principal, by) = authenticated(iam, call, &parts.headers, &form).await?;
    let call = Call { principal: principal.to_string(), authenticated_by: by.as_str(), ..call.clone() };
    let (ttl, shown) = (iam.0.ttl(0)?, shown(&parts.extensions));
    let wanted = scope(&form);
    let roles = match wanted.is_empty() {
        true => None,
        false => Some(iam.0.narrowed(None, &principal, &wanted)?),
    };
    let new = NewToken {
        principal: &principal,
        ttl,
        parent: None,
        scope: roles.as_deref(),
        certificate: shown.first().map(AsRef::as_ref),
    };
    let issued = iam.0.issue(&call, new).await?;
    let mut answer = json!({ "access_token": issued.token, "token_type": "Bearer", "expires_in": ttl.as_secs() });
    if roles.is_some() {
        answer["scope"] = json!(wanted.join(" "));
    }
    Ok(unkept(&answer))
}
