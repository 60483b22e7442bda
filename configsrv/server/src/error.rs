use chainfire_client::{Refused, StoreError};
use configsrv_fleet::{
    Version,
    revocation::{RevocationError, RevocationErrorKind},
};
use holdfast_rpc::Kind;
use iam_client::Refusal;

/// Why a request about configuration is not answered. Every case has one machine word and one status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the tree is malformed: {0}")]
    MalformedTree(String),
    #[error("the query is not understood: {0}")]
    BadQuery(String),
    #[error("the body is not understood: {0}")]
    BadBody(String),
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: usize },
    #[error("the published tree has no artifact for node {0}")]
    UnknownNode(String),
    #[error("version {0} was never published")]
    UnknownVersion(Version),
    #[error("the artifacts of version {0} are no longer kept")]
    Pruned(Version),
    #[error("{0}")]
    VersionConflict(String),
    #[error("the tree is not signed by a key that is trusted here: {0}")]
    UntrustedSignature(String),
    #[error(transparent)]
    Revocations(#[from] RevocationError),
    #[error("{0}")]
    RevocationConflict(String),
    /// A node says that it has what nobody can have published.
    #[error("{0}")]
    ImplausibleReport(String),
    #[error("nobody has been revoked yet")]
    NoRevocations,
    #[error("nothing has been published yet")]
    NotPublished,
    #[error("asked too often; try again in {retry_after_s} s")]
    TooOften { retry_after_s: u32 },
    #[error("{most} requests of this node wait for news already; end one of them first")]
    TooManyWaiting { most: usize },
    /// What the layer in front would have said as well; in its words, so that a caller meets one word for one thing.
    #[error(transparent)]
    Caller(#[from] Refusal),
    #[error("the control plane has no quorum")]
    NoQuorum(String),
    #[error("the outcome of the change is unknown; ask again before repeating it")]
    OutcomeUnknown(String),
    #[error("the control plane does not accept this now: {0}")]
    Refused(String),
    #[error("stored configuration does not read back")]
    Corrupt(String),
    #[error("internal error")]
    Internal(String),
}

impl Error {
    pub fn kind(&self) -> Kind {
        match self {
            Self::MalformedTree(_) | Self::BadQuery(_) | Self::BadBody(_) => Kind::Invalid,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::UnknownNode(_) | Self::UnknownVersion(_) | Self::NoRevocations => Kind::NotFound,
            Self::Pruned(_) => Kind::Gone,
            Self::VersionConflict(_) | Self::RevocationConflict(_) | Self::ImplausibleReport(_) => Kind::Conflict,
            Self::Revocations(error) => match error.kind() {
                RevocationErrorKind::Malformed | RevocationErrorKind::Schema | RevocationErrorKind::Addressee => {
                    Kind::Invalid
                }
                RevocationErrorKind::Trust => Kind::Denied,
                RevocationErrorKind::Lockout | RevocationErrorKind::Order => Kind::Conflict,
            },
            Self::UntrustedSignature(_) | Self::Caller(Refusal::Denied { .. }) => Kind::Denied,
            Self::NotPublished
            | Self::NoQuorum(_)
            | Self::OutcomeUnknown(_)
            | Self::Caller(Refusal::Unavailable(_)) => Kind::Unavailable,
            Self::Caller(Refusal::Anonymous | Refusal::Unauthenticated) => Kind::Unauthenticated,
            Self::TooOften { .. }
            | Self::TooManyWaiting { .. }
            | Self::Caller(Refusal::SlowDown { .. })
            | Self::Refused(_) => Kind::Exhausted,
            Self::Corrupt(_) => Kind::Corrupt,
            Self::Internal(_) => Kind::Internal,
        }
    }

    /// The `error` member of the answer: stable, for machines.
    pub fn word(&self) -> &'static str {
        match self {
            Self::MalformedTree(_) => "malformed_tree",
            Self::BadQuery(_) => "bad_query",
            Self::BadBody(_) => "bad_body",
            Self::TooLarge { .. } => "too_large",
            Self::UnknownNode(_) => "unknown_node",
            Self::UnknownVersion(_) => "unknown_version",
            Self::Pruned(_) => "pruned",
            Self::VersionConflict(_) => "version_conflict",
            Self::UntrustedSignature(_) => "untrusted_signature",
            Self::Revocations(error) => match error.kind() {
                RevocationErrorKind::Malformed => "malformed_revocations",
                RevocationErrorKind::Schema => "newer_schema",
                RevocationErrorKind::Addressee => "foreign_revocations",
                RevocationErrorKind::Trust => "untrusted_signature",
                RevocationErrorKind::Lockout => "lockout",
                RevocationErrorKind::Order => "revocation_conflict",
            },
            Self::RevocationConflict(_) => "revocation_conflict",
            Self::ImplausibleReport(_) => "implausible_report",
            Self::NoRevocations => "no_revocations",
            Self::NotPublished => "not_published",
            Self::TooOften { .. } => "slow_down",
            Self::TooManyWaiting { .. } => "too_many_waiting",
            Self::Caller(refusal) => refusal.word(),
            Self::NoQuorum(_) => "no_leader",
            Self::OutcomeUnknown(_) => "outcome_unknown",
            Self::Refused(_) => "refused",
            Self::Corrupt(_) => "corrupt",
            Self::Internal(_) => "internal",
        }
    }

    /// What only the log may see.
    fn detail(&self) -> Option<&str> {
        match self {
            Self::NoQuorum(detail) | Self::OutcomeUnknown(detail) | Self::Corrupt(detail) | Self::Internal(detail) => {
                Some(detail)
            }
            Self::MalformedTree(_)
            | Self::BadQuery(_)
            | Self::BadBody(_)
            | Self::TooLarge { .. }
            | Self::UnknownNode(_)
            | Self::UnknownVersion(_)
            | Self::Pruned(_)
            | Self::VersionConflict(_)
            | Self::UntrustedSignature(_)
            | Self::Revocations(_)
            | Self::RevocationConflict(_)
            | Self::ImplausibleReport(_)
            | Self::NoRevocations
            | Self::NotPublished
            | Self::TooOften { .. }
            | Self::TooManyWaiting { .. }
            | Self::Caller(_)
            | Self::Refused(_) => None,
        }
    }
}

impl From<Error> for holdfast_rpc::Error {
    fn from(error: Error) -> Self {
        let public = Self::new(error.kind(), error.word(), error.to_string());
        let public = match error {
            Error::TooOften { retry_after_s } | Error::Caller(Refusal::SlowDown { retry_after_s }) => {
                public.retry_after(retry_after_s)
            }
            _ => public,
        };
        match error.detail() {
            Some(detail) => public.internal(detail),
            None => public,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(detail) => Self::NoQuorum(detail),
            StoreError::Unknown(detail) => Self::OutcomeUnknown(detail),
            StoreError::Refused(refused) => match refused {
                Refused::TooLarge { limit, .. } => Self::TooLarge { what: "the change", limit },
                Refused::Invalid(why) => Self::BadBody(why),
                Refused::Full(_) | Refused::Level { .. } => Self::Refused(refused.to_string()),
            },
            StoreError::Storage(detail) => Self::Internal(detail),
        }
    }
}
