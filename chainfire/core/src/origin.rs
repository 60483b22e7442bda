use serde::{Deserialize, Serialize};

/// Who asked for a change and how that was established. It travels in the command, so that every server's audit
/// journal says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `kind/name` as IAM knows it (`user/mira`, `node/pier2`), `system/<part>` for the servers' own work,
    /// `anonymous` where anonymous calls are allowed.
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
}

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
        }
    }
}
