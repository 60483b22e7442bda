use serde::{Deserialize, Serialize};

/// Who asked for a change and how that was established. It travels in the command, so that every server's audit
/// journal says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `kind/name` as IAM knows it (`user/mira`, `node/pier2`), `system/<part>` for the servers' own work, `etcd/name`
    /// for a user of etcd's own authentication, `anonymous` where anonymous calls are allowed.
    pub principal: String,
    pub authenticated_by: AuthenticatedBy,
    /// The caller's socket address, if the call came over a network.
    pub source: Option<String>,
    /// `jti` of the token that was used.
    pub token_id: Option<String>,
    /// Ties this change to logs and traces; unique per request.
    pub request_id: String,
}

/// How a principal proved itself. Order is part of the stored format: new ways are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthenticatedBy {
    Nothing,
    System,
    BootstrapToken,
    Token,
    Credential,
    Certificate,
    JoinToken,
    /// A user of etcd's own authentication, as users and roles were at this revision of theirs.
    EtcdUser {
        revision: u64,
    },
}

/// Who asks, as far as etcd's own authentication has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim<'a> {
    /// IAM has judged the call, or it is the servers' own.
    Elsewhere,
    Nobody,
    User {
        name: &'a str,
        revision: u64,
    },
}

/// How the principals begin that are users of etcd's own authentication.
const ETCD_USER: &str = "etcd/";

impl Origin {
    /// The servers' own work: lease expiry, shipping, genesis.
    pub fn system(part: &str, request_id: impl Into<String>) -> Self {
        Self {
            principal: format!("system/{part}"),
            authenticated_by: AuthenticatedBy::System,
            source: None,
            token_id: None,
            request_id: request_id.into(),
        }
    }

    /// A user of etcd's own authentication, as users and roles were at `revision`.
    pub fn etcd_user(name: &str, revision: u64, source: Option<String>, request_id: impl Into<String>) -> Self {
        Self {
            principal: format!("{ETCD_USER}{name}"),
            authenticated_by: AuthenticatedBy::EtcdUser { revision },
            source,
            token_id: None,
            request_id: request_id.into(),
        }
    }

    pub(crate) fn claim(&self) -> Claim<'_> {
        match self.authenticated_by {
            AuthenticatedBy::Nothing => Claim::Nobody,
            AuthenticatedBy::EtcdUser { revision } => {
                self.principal.strip_prefix(ETCD_USER).map_or(Claim::Nobody, |name| Claim::User { name, revision })
            }
            AuthenticatedBy::System
            | AuthenticatedBy::BootstrapToken
            | AuthenticatedBy::Token
            | AuthenticatedBy::Credential
            | AuthenticatedBy::Certificate
            | AuthenticatedBy::JoinToken => Claim::Elsewhere,
        }
    }
}

impl AuthenticatedBy {
    /// The word that audit rows show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::System => "system",
            Self::BootstrapToken => "bootstrap-token",
            Self::Token => "token",
            Self::Credential => "credential",
            Self::Certificate => "certificate",
            Self::JoinToken => "join-token",
            Self::EtcdUser { .. } => "etcd-user",
        }
    }
}
