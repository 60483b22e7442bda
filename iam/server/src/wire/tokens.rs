use std::time::Duration;

use holdfast_proto::iam::{
    ExchangeTokenRequest, IntrospectRequest, IntrospectResponse, IssueTokenRequest, IssueTokenResponse,
    RevokeTokenRequest, RevokeTokenResponse, revoke_token_request::What, tokens_server::Tokens,
};
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{
    Error, Iam,
    peers::shown,
    tokens::{Revocation, Wanted, roles_of},
};

#[async_trait]
impl Tokens for Iam {
    async fn issue(&self, request: Request<IssueTokenRequest>) -> Result<Response<IssueTokenResponse>, Status> {
        let by = convert::caller(&request)?;
        let shown = shown(request.extensions());
        let IssueTokenRequest { principal, ttl_s } = request.into_inner();
        let principal = convert::principal_or_caller(&principal, &by)?;
        let issued = self.issue_token(&by, &principal, ttl_s, &shown).await?;
        Ok(Response::new(IssueTokenResponse { token: issued.token, jti: issued.jti, expires_ms: issued.expires_ms }))
    }

    async fn exchange(&self, request: Request<ExchangeTokenRequest>) -> Result<Response<IssueTokenResponse>, Status> {
        let by = convert::caller(&request)?;
        let shown = shown(request.extensions());
        let ExchangeTokenRequest { roles, ttl_s } = request.into_inner();
        let issued = self.exchange(&by, Wanted { roles, ttl_s }, &shown).await?;
        Ok(Response::new(IssueTokenResponse { token: issued.token, jti: issued.jti, expires_ms: issued.expires_ms }))
    }

    async fn introspect(&self, request: Request<IntrospectRequest>) -> Result<Response<IntrospectResponse>, Status> {
        self.introspection_by(&convert::caller(&request)?.principal)?;
        let Some((verified, principal)) = self.introspect(&request.into_inner().token)? else {
            return Ok(Response::new(IntrospectResponse::default()));
        };
        let claims = &verified.claims;
        let (org, project) = convert::names(&claims.within);
        Ok(Response::new(IntrospectResponse {
            active: true,
            roles: roles_of(claims, &self.0.holdings(&principal)?.unwrap_or_default()),
            principal: principal.to_string(),
            spiffe_id: claims.sub.clone(),
            jti: claims.jti.clone(),
            kid: verified.kid.clone(),
            issued_ms: claims.iat.saturating_mul(1000),
            expires_ms: claims.exp.saturating_mul(1000),
            scope: claims.scope.clone().unwrap_or_default(),
            org,
            project,
            x5t_s256: claims.cnf.as_ref().map(|bound| bound.x5t_s256.clone()).unwrap_or_default(),
        }))
    }

    async fn revoke(&self, request: Request<RevokeTokenRequest>) -> Result<Response<RevokeTokenResponse>, Status> {
        let by = convert::caller(&request)?;
        let RevokeTokenRequest { what, wait_s } = request.into_inner();
        let what = match what {
            Some(What::Jti(jti)) => Revocation::Token(jti),
            Some(What::Principal(principal)) => Revocation::Principal(principal.parse().map_err(Error::from)?),
            Some(What::Kid(kid)) => Revocation::Key(kid),
            None => return Err(Error::Invalid("name a token, a principal or a signing key".to_owned()).into()),
        };
        let receipt = self.revoke(&by, what, Duration::from_secs(wait_s.into())).await?;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Response::new(RevokeTokenResponse {
            revision: receipt.revision,
            enforced: count(receipt.servers - receipt.stragglers.len()),
            servers: count(receipt.servers),
            stragglers: receipt.stragglers.into_iter().map(convert::last_word).collect(),
            servers_until_ms: receipt.servers_until_ms.unwrap_or_default(),
            outside_until_ms: receipt.outside_until_ms,
        }))
    }
}
