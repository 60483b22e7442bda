use chainfire_core::{AuthenticatedBy, Origin, system::LockAsker};
use http::Extensions;
use iam_client::{Identity, RequestId};

use super::{refusal::Refusal, request::Claim};
use crate::{ConfigService, settings::ClientAuth};

/// Who sent a request.
#[derive(Clone, Debug)]
pub(super) enum Client {
    /// Nobody has to prove anything; where it came from is all that is known.
    Anybody {
        source: Option<String>,
        request_id: String,
    },
    Known(Identity),
}

impl Client {
    /// The sender of a request for `claim`, if it proved itself as this server demands and may use the group's locks.
    pub(super) fn new(service: &ConfigService, extensions: &Extensions, claim: &Claim) -> Result<Self, Refusal> {
        let demanded: &[AuthenticatedBy] = match service.settings().fleetlock.client_auth {
            ClientAuth::None => return Ok(Self::anybody(extensions)),
            ClientAuth::Basic => &[AuthenticatedBy::Credential, AuthenticatedBy::BootstrapToken],
            ClientAuth::Token => &[AuthenticatedBy::Token, AuthenticatedBy::BootstrapToken],
            ClientAuth::Mtls => &[AuthenticatedBy::Certificate],
        };
        let Some(identity) = extensions.get::<Identity>() else {
            let refused = extensions.get::<iam_client::Refusal>();
            return Err(refused.map_or(Refusal::Unauthorized, |refused| refused.clone().into()));
        };
        if !demanded.contains(&identity.authenticated_by) {
            return Err(Refusal::Unauthorized);
        }
        service.authorize(identity, "lock.Use", &format!("lock/{}", claim.group))?;
        Ok(Self::Known(identity.clone()))
    }

    /// As the listener and the layer noted it.
    fn anybody(extensions: &Extensions) -> Self {
        let source = extensions.get::<holdfast_rpc::Connection>().map(|connection| connection.source.to_string());
        let request_id = extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        Self::Anybody { source, request_id }
    }

    pub(super) fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Known(identity) => Some(identity),
            Self::Anybody { .. } => None,
        }
    }

    /// On whose behalf it asks, as long as it is not known to be an admin of locks.
    pub(super) fn asker(&self) -> LockAsker {
        self.identity().map_or(LockAsker::Anybody, |identity| LockAsker::Principal(identity.principal.to_string()))
    }

    /// For the audit journal.
    pub(super) fn origin(&self) -> Origin {
        match self {
            Self::Known(identity) => identity.origin(),
            Self::Anybody { source, request_id } => Origin {
                principal: iam_client::Caller::Anonymous.to_string(),
                authenticated_by: AuthenticatedBy::Nothing,
                source: source.clone(),
                token_id: None,
                request_id: request_id.clone(),
            },
        }
    }
}
