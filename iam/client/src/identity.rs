use std::{fmt, net::SocketAddr};

use chainfire_core::{AuthenticatedBy, Origin};
use http::Extensions;

use crate::Refusal;

/// The kinds of principals; the SPIFFE path segment is the lower-case name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    User,
    Service,
    Node,
    /// The bootstrap admin token.
    Bootstrap,
    /// A caller without identity, where a door allows that.
    Anonymous,
}

/// `kind/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalId {
    pub kind: Kind,
    pub name: String,
}

/// Who calls, established by the layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub principal: PrincipalId,
    pub authenticated_by: AuthenticatedBy,
    /// `jti` of the bearer token, if one was used.
    pub token_id: Option<String>,
    /// Names of the roles in force for this call, expanded through groups and bindings.
    pub roles: Vec<String>,
    pub source: Option<SocketAddr>,
    /// Unique per request; in every log line, audit row and answer about it.
    pub request_id: String,
}

/// Who calls, for a handler of a route that is not public.
pub fn identity(extensions: &Extensions) -> Result<&Identity, Refusal> {
    extensions.get::<Identity>().ok_or(Refusal::Anonymous)
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Node => "node",
            Self::Bootstrap => "bootstrap",
            Self::Anonymous => "anonymous",
        }
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.kind.as_str(), self.name)
    }
}

impl Identity {
    /// What the audit journal keeps of this caller.
    pub fn origin(&self) -> Origin {
        Origin {
            principal: self.principal.to_string(),
            authenticated_by: self.authenticated_by,
            source: self.source.map(|source| source.to_string()),
            token_id: self.token_id.clone(),
            request_id: self.request_id.clone(),
        }
    }

    pub fn is_node(&self, name: &str) -> bool {
        self.principal.kind == Kind::Node && self.principal.name == name
    }
}
