//! The end of a token before its time (RFC 7009).

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use iam_client::{Evidence, Identity};

use super::oauth::{OauthError, authenticated, form};
use crate::{Iam, recorder::Call, tokens::Revocation};

pub(super) async fn revoke(State(iam): State<Iam>, parts: Parts, body: Result<Bytes, BytesRejection>) -> Response {
    let call = Call::public(&parts.extensions);
    let answered = async {
        let form = form(&parts.headers, &body?)?;
        let (principal, authenticated_by) = authenticated(&iam, &call, &parts.headers, &form).await?;
        let token = form.get("token").ok_or(OauthError::InvalidRequest("token is missing"))?;
        let client = Identity {
            scope: iam.0.scope_of(&principal)?,
            principal: principal.into(),
            roles: Vec::new(),
            authenticated_by,
            evidence: Evidence::None,
            token_id: None,
            source: call.source,
            request_id: call.request_id.clone(),
        };
        end(&iam, &client, token).await
    };
    answered.await.map_or_else(IntoResponse::into_response, IntoResponse::into_response)
}

/// A client's own token ends by itself; anybody else's for those who may revoke it. One that is not good has ended.
async fn end(iam: &Iam, client: &Identity, token: &str) -> Result<StatusCode, OauthError> {
    let Some((verified, owner)) = iam.introspect(token)? else { return Ok(StatusCode::OK) };
    let jti = verified.claims.jti.clone();
    // Its owner need not be where the token is good.
    let own = (client.principal.principal() == Some(&owner)).then(|| Identity {
        token_id: Some(jti.clone()),
        evidence: Evidence::Token(verified),
        ..client.clone()
    });
    iam.revoke(own.as_ref().unwrap_or(client), Revocation::Token(jti), Duration::ZERO).await?;
    Ok(StatusCode::OK)
}
