use chainfire_core::{AuthenticatedBy, Origin};
use holdfast_rpc::Connection;
use iam_client::{Evidence, Identity, Scope};
use tonic::Extensions;

use crate::{
    request::request_id,
    users::{AuthUser, Credentials, Session},
};

/// Who calls: whom IAM's layer has established, or a user of etcd's own authentication, or nobody in particular.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(super) identity: Identity,
    pub(super) credentials: Credentials,
    pub(super) user: Option<AuthUser>,
}

impl Caller {
    /// As the layer in front has noted it.
    pub(super) fn of(extensions: &Extensions) -> Self {
        let identity = extensions.get::<Identity>().cloned().unwrap_or_else(|| anonymous(extensions));
        let Session { credentials, user } = extensions.get::<Session>().cloned().unwrap_or_default();
        Self { identity, credentials, user }
    }

    /// For the calls that the server makes for this caller.
    pub(super) fn session(&self) -> Session {
        Session { credentials: self.credentials.clone(), user: self.user.clone() }
    }

    /// What a command carries of its sender.
    pub(crate) fn origin(&self) -> Origin {
        match &self.user {
            Some(user) => user.origin(self.source(), &self.identity.request_id),
            None => self.identity.origin(),
        }
    }

    pub(super) fn source(&self) -> Option<String> {
        self.identity.source.map(|source| source.to_string())
    }
}

/// IAM, or [`crate::Open`], has to judge a caller without identity like any other.
fn anonymous(extensions: &Extensions) -> Identity {
    Identity {
        principal: iam_client::Caller::Anonymous,
        authenticated_by: AuthenticatedBy::Nothing,
        evidence: Evidence::None,
        token_id: None,
        roles: Vec::new(),
        scope: Scope::System,
        source: extensions.get::<Connection>().map(|connection| connection.source),
        request_id: request_id(),
    }
}
