//! Whether a token is good (RFC 7662), for services that do not verify tokens themselves.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use http::{header::AUTHORIZATION, request::Parts};
use iam_client::{Authority as _, Caller, Presented};
use serde_json::{Value, json};

use super::oauth::{Form, OauthError, authenticated, claimed_access_key, form, unkept};
use crate::{Iam, peers::shown, recorder::Call, tokens::roles_of};

pub(super) async fn introspect(State(iam): State<Iam>, parts: Parts, body: Result<Bytes, BytesRejection>) -> Response {
    let call = Call::public(&parts.extensions);
    let answered = async {
        iam.introspection_from(call.source)?;
        let form = form(&parts.headers, &body?)?;
        let client = known(&iam, &call, &parts, &form).await?;
        iam.introspection_by(&client)?;
        let token = form.get("token").ok_or(OauthError::InvalidRequest("token is missing"))?;
        Ok::<_, OauthError>(unkept(&state(&iam, token)?))
    };
    answered.await.unwrap_or_else(IntoResponse::into_response)
}

/// A client proves itself as for a token, or shows a token of its own, which costs no record in the decision log.
async fn known(iam: &Iam, call: &Call, parts: &Parts, form: &Form) -> Result<Caller, OauthError> {
    let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let presented = Presented {
                bearer: Some(token.trim().to_owned()),
                certificates: shown(&parts.extensions),
                source: call.source,
                request_id: call.request_id.clone(),
                ..Presented::default()
            };
            Ok(iam.authenticate(presented).await.map_err(crate::Error::Refused)?.principal)
        }
        _ => {
            if let Some(access_key) = claimed_access_key(&parts.headers, form) {
                iam.introspection_claimed_by(&access_key)?;
            }
            Ok(authenticated(iam, call, &parts.headers, form).await?.0.into())
        }
    }
}

/// Of a token that is not good, nobody hears why.
fn state(iam: &Iam, token: &str) -> Result<Value, OauthError> {
    let Some((verified, principal)) = iam.introspect(token)? else { return Ok(json!({ "active": false })) };
    let claims = &verified.claims;
    let mut state = json!({
        "active": true,
        "token_type": "Bearer",
        "username": principal.to_string(),
        "iss": claims.iss,
        "sub": claims.sub,
        "aud": claims.aud,
        "iat": claims.iat,
        "nbf": claims.nbf,
        "exp": claims.exp,
        "jti": claims.jti,
        "roles": roles_of(claims, &iam.0.holdings(&principal)?.unwrap_or_default()),
    });
    if let Some(bound) = &claims.cnf {
        state["cnf"] = json!(bound);
    }
    let (org, project) = (claims.within.org(), claims.within.project());
    for (claim, value) in [("scope", claims.scope.as_deref()), ("org", org), ("project", project)] {
        if let Some(value) = value {
            state[claim] = json!(value);
        }
    }
    Ok(state)
}
