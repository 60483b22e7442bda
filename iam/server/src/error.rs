use chainfire_client::{Refused, StoreError};
use holdfast_rpc::Kind;
use iam_ca::{AuthorityError, RequestError};
use iam_client::Refusal;
use iam_core::{
    NameError, ScopeError,
    credential::CredentialError,
    mapping::MappingError,
    policy::PolicyError,
    rotation::StepError,
    seal::SealError,
    signing::{IssueError, KeyError, RingError},
};

use crate::{clock::EntropyError, spool::SpoolError};

/// Why IAM does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Mapping(#[from] MappingError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Precondition(String),
    #[error("there is no {0}")]
    NotFound(String),
    #[error("{0} exists already")]
    Exists(String),
    #[error("somebody else changed it at the same time (revision {found:?}); look and try again")]
    Conflict { found: Option<u64> },
    #[error(transparent)]
    Step(#[from] StepError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the role {0:?} is not the token's to hand on")]
    RoleNotHeld(String),
    #[error("asked too often; ask again in {retry_after_s} s")]
    TooOften { retry_after_s: u32 },
    #[error(
        "the join token admits nobody: it was used, has ended, or is not one of these servers; florctl iam join-token create makes another"
    )]
    JoinToken,
    #[error("the system keyspace is full")]
    Quota,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("a stored record does not read back")]
    Corrupt(String),
    #[error("a sealed secret does not open: {0}")]
    Seal(#[from] SealError),
    #[error("the token could not be signed")]
    Issue(#[from] IssueError),
    #[error("the certificate could not be issued")]
    Certificate(String),
    #[error("a file in the data folder: {0}")]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Error {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused(refusal) => match refusal {
                Refusal::Anonymous | Refusal::Unauthenticated => Kind::Unauthenticated,
                Refusal::Denied { .. } => Kind::Denied,
                Refusal::SlowDown { .. } => Kind::Exhausted,
                Refusal::Unavailable(_) => Kind::Unavailable,
            },
            Self::Name(_)
            | Self::Mapping(_)
            | Self::Scope(_)
            | Self::Invalid(_)
            | Self::RoleNotHeld(_)
            | Self::Key(_)
            | Self::Request(_)
            | Self::Policy(PolicyError::Invalid { .. }) => Kind::Invalid,
            Self::Precondition(_) => Kind::Precondition,
            Self::NotFound(_) => Kind::NotFound,
            Self::Exists(_) | Self::Conflict { .. } => Kind::Conflict,
            Self::Step(error) => match error {
                StepError::NotFound { .. } => Kind::NotFound,
                StepError::Duplicate { .. } => Kind::Conflict,
                StepError::Full { .. }
                | StepError::WrongState { .. }
                | StepError::NotYet(_)
                | StepError::InUse { .. } => Kind::Precondition,
            },
            Self::Credential(error) => match error {
                CredentialError::NotFound(_) => Kind::NotFound,
                CredentialError::TooMany | CredentialError::LastLive(_) => Kind::Precondition,
            },
            Self::JoinToken => Kind::Unauthenticated,
            Self::TooOften { .. } | Self::Quota | Self::Spool(SpoolError::Full { .. }) => Kind::Exhausted,
            Self::Store(error) => match error {
                StoreError::Unavailable(_) | StoreError::Unknown(_) => Kind::Unavailable,
                StoreError::Refused(refused) => match refused {
                    Refused::Full(_) => Kind::Exhausted,
                    Refused::TooLarge { .. } => Kind::TooLarge,
                    Refused::Invalid(_) => Kind::Invalid,
                    Refused::Level { .. } => Kind::Precondition,
                },
                StoreError::Storage(_) => Kind::Internal,
            },
            Self::Spool(SpoolError::Failed(_) | SpoolError::Io { .. } | SpoolError::NoSuchRecord { .. }) => {
                Kind::Unavailable
            }
            Self::Corrupt(_) => Kind::Corrupt,
            Self::Seal(_)
            | Self::Issue(_)
            | Self::Certificate(_)
            | Self::File(_)
            | Self::Entropy(_)
            | Self::Policy(PolicyError::Schema(_)) => Kind::Internal,
        }
    }

    /// The machine-readable word.
    fn word(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.word(),
            Self::Name(_) | Self::Scope(_) => "bad_name",
            Self::Mapping(_) => "bad_mapping",
            Self::Invalid(_) | Self::Request(_) => "invalid_request",
            Self::RoleNotHeld(_) => "invalid_scope",
            Self::Key(_) => "bad_key",
            Self::Policy(PolicyError::Invalid { .. }) => "bad_policy",
            Self::Precondition(_) => "precondition",
            Self::NotFound(_) => "not_found",
            Self::Exists(_) => "exists",
            Self::Conflict { .. } => "conflict",
            Self::Step(_) => "rotation_step",
            Self::Credential(_) => "credential",
            Self::TooOften { .. } => "too_often",
            Self::JoinToken => "join_token",
            Self::Quota => "quota",
            Self::Store(_) => "store",
            Self::Spool(_) => "decision_log",
            Self::Corrupt(_) => "corrupt",
            Self::Seal(_)
            | Self::Issue(_)
            | Self::Certificate(_)
            | Self::File(_)
            | Self::Entropy(_)
            | Self::Policy(PolicyError::Schema(_)) => "internal",
        }
    }
}

impl From<RingError> for Error {
    fn from(error: RingError) -> Self {
        match error {
            RingError::Key(error) => error.into(),
            RingError::Step(error) => error.into(),
        }
    }
}

impl From<AuthorityError> for Error {
    fn from(error: AuthorityError) -> Self {
        Self::Certificate(error.to_string())
    }
}

impl From<Error> for holdfast_rpc::Error {
    fn from(error: Error) -> Self {
        let public = Self::new(error.kind(), error.word(), error.to_string());
        match error {
            Error::Corrupt(detail) | Error::Certificate(detail) => public.internal(detail),
            _ => public,
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        let retry_after_s = match &error {
            Error::TooOften { retry_after_s } => Some(*retry_after_s),
            _ => None,
        };
        let mut status = Self::from(holdfast_rpc::Error::from(error));
        if let Some(seconds) = retry_after_s {
            status.metadata_mut().insert("retry-after", seconds.into());
        }
        status
    }
}

/// For doors that answer with a refusal: what is not about the caller is a service that is not available.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refusal,
            error => {
                tracing::warn!(error = %error, "identity is not available");
                Self::Unavailable(error.to_string())
            }
        }
    }
}
