use std::{fmt, net::SocketAddr, sync::Arc};

use chainfire_core::{AuthenticatedBy, Origin};
use http::Extensions;
use iam_ca::Grant;
use iam_core::{
    Kind, PrincipalId, Scope,
    signing::{Claims, Verified},
};

use crate::Refusal;

/// Who a call comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    Principal(PrincipalId),
    /// Whoever holds the bootstrap admin token.
    Bootstrap,
    /// Whoever holds a grant that operators signed for an emergency.
    BreakGlass(Arc<Grant>),
    /// A caller without identity, where a door allows that.
    Anonymous,
}

/// What established an identity. A session or a stream may outlive it, so whoever decides looks at it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing that ends before the call does.
    #[default]
    None,
    Token(Arc<Verified>),
    /// The id of an access key whose secret was shown.
    AccessKey(String),
    /// The client's certificate chain as the connection has it: leaf first, DER.
    Certificate(Arc<[Arc<[u8]>]>),
}

/// Who calls, established by the layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub principal: Caller,
    pub authenticated_by: AuthenticatedBy,
    pub evidence: Evidence,
    /// `jti` of the bearer token, if one was used.
    pub token_id: Option<String>,
    /// Names of the roles that count everywhere for this call, expanded through groups and bindings.
    pub roles: Vec<String>,
    /// Where the caller is; what it creates is there, too.
    pub scope: Scope,
    pub source: Option<SocketAddr>,
    /// Unique per request; in every log line, audit row and answer about it.
    pub request_id: String,
}

/// Who calls, for a handler of a route that is not public.
pub fn identity(extensions: &Extensions) -> Result<&Identity, Refusal> {
    extensions.get::<Identity>().ok_or(Refusal::Anonymous)
}

impl Caller {
    /// The stored principal that calls.
    pub fn principal(&self) -> Option<&PrincipalId> {
        match self {
            Self::Principal(id) => Some(id),
            Self::Bootstrap | Self::BreakGlass(_) | Self::Anonymous => None,
        }
    }
}

impl From<PrincipalId> for Caller {
    fn from(id: PrincipalId) -> Self {
        Self::Principal(id)
    }
}

/// As the history names it.
impl fmt::Display for Caller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(id) => id.fmt(out),
            Self::Bootstrap => out.write_str("bootstrap/admin"),
            Self::BreakGlass(grant) => write!(out, "break-glass/{}", grant.id),
            Self::Anonymous => out.write_str("anonymous"),
        }
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

    /// The claims of the bearer token that established this caller, if one did.
    pub fn claims(&self) -> Option<&Claims> {
        match &self.evidence {
            Evidence::Token(verified) => Some(&verified.claims),
            Evidence::None | Evidence::AccessKey(_) | Evidence::Certificate(_) => None,
        }
    }

    /// The roles to which its token is narrowed.
    pub fn narrowed_to(&self) -> Option<Vec<&str>> {
        self.claims().and_then(Claims::narrowed_to)
    }

    /// Whether it is `principal` with all that is its own: a token that was narrowed is for what its roles permit.
    pub fn is_itself(&self, principal: &PrincipalId) -> bool {
        self.principal.principal() == Some(principal) && self.narrowed_to().is_none()
    }

    pub fn is_node(&self, name: &str) -> bool {
        self.principal.principal().is_some_and(|id| id.kind() == Kind::Node && id.name() == name)
    }
}
