//! A token for one with fewer roles (RFC 8693). The token itself is the proof: whoever has it may give away less of it.

use axum::response::Response;
use http::request::Parts;
use iam_client::{Authority as _, Presented, Refusal};
use serde_json::json;

use super::oauth::{Form, OauthError, authenticated, is_proof, scope, unkept};
use crate::{Error, Iam, peers::shown, recorder::Call, tokens::Wanted};

pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// Whatever is wrong with it: an error of the request, and not of the client (RFC 8693, section 2.2.2).
const NOT_ACCEPTED: OauthError = OauthError::InvalidRequest("the subject token is not accepted");

pub(super) async fn exchange(iam: &Iam, call: &Call, parts: &Parts, form: &Form) -> Result<Response, OauthError> {
    let text = |name: &str| form.get(name).map(String::as_str);
    if !matches!(text("subject_token_type"), Some(ACCESS_TOKEN | JWT))
        || !matches!(text("requested_token_type"), None | Some(ACCESS_TOKEN | JWT))
    {
        return Err(OauthError::InvalidRequest("only access tokens are exchanged, and for access tokens"));
    }
    if ["actor_token", "audience", "resource"].iter().any(|name| form.contains_key(*name)) {
        return Err(OauthError::InvalidRequest("actor_token, audience and resource are not supported"));
    }
    let subject = text("subject_token").ok_or(OauthError::InvalidRequest("subject_token is missing"))?;
    let certificates = shown(&parts.extensions);
    let presented = Presented {
        bearer: Some(subject.to_owned()),
        certificates: certificates.clone(),
        source: call.source,
        request_id: call.request_id.clone(),
        ..Presented::default()
    };
    let owner = iam.authenticate(presented).await.map_err(|refusal| not_accepted(refusal.into()))?;
    if owner.claims().is_none() {
        return Err(NOT_ACCEPTED);
    }
    // A client that proves who it is, which it need not, must be the token's owner.
    if is_proof(&parts.headers, form) {
        let (client, _) = authenticated(iam, call, &parts.headers, form).await?;
        if owner.principal.principal() != Some(&client) {
            return Err(NOT_ACCEPTED);
        }
    }
    let roles = scope(form);
    let scope = roles.join(" ");
    let issued = iam.exchange(&owner, Wanted { roles, ttl_s: 0 }, &certificates).await.map_err(not_accepted)?;
    Ok(unkept(&json!({
        "access_token": issued.token,
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": issued.expires_ms.saturating_sub(iam.0.now_ms()) / 1000,
        "scope": scope,
    })))
}

/// An error that is the subject token's fault is none of the client's.
fn not_accepted(error: Error) -> OauthError {
    match error {
        Error::Refused(Refusal::Unauthenticated | Refusal::Anonymous | Refusal::Denied { .. }) => NOT_ACCEPTED,
        error => error.into(),
    }
}
