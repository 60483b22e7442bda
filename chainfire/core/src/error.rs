use holdfast_format as format;
use holdfast_keyspace as keyspace;
use serde::{Deserialize, Serialize};

/// Why the user keyspace refused a call. Refusals are replicated answers: every server computes the same one. The
/// server maps them to the etcd API's codes and texts. Order is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum UserError {
    #[error("the key is empty")]
    KeyNotProvided,
    #[error("the key does not exist")]
    KeyNotFound,
    #[error("a value is given and to be ignored")]
    ValueProvided,
    #[error("a lease is given and to be ignored")]
    LeaseProvided,
    #[error("the transaction has too many operations")]
    TooManyOps,
    #[error("the transaction writes a key twice")]
    DuplicateKey,
    #[error("the revision is compacted")]
    Compacted,
    #[error("the revision is in the future")]
    FutureRevision,
    #[error("the lease does not exist")]
    LeaseNotFound,
    #[error("the lease exists")]
    LeaseExists,
    #[error("the lease's time to live is too large")]
    LeaseTtlTooLarge,
    #[error("the sort option is unknown")]
    InvalidSortOption,
    /// The audit journal is full and this write would need a record in it.
    #[error("the audit journal is full")]
    TooManyRequests,
    #[error("no user is named")]
    UserEmpty,
    #[error("no role is named")]
    RoleEmpty,
    #[error("users and roles cannot be changed like this")]
    InvalidAuthManagement,
    #[error("users or roles have changed since the caller was authenticated")]
    AuthOldRevision,
    #[error("there is no root user")]
    RootUserMissing,
    #[error("the root user does not have the root role")]
    RootRoleMissing,
    #[error("the user exists")]
    UserExists,
    #[error("the user does not exist")]
    UserNotFound,
    #[error("the role exists")]
    RoleExists,
    #[error("the role does not exist")]
    RoleNotFound,
    #[error("the user does not have the role")]
    RoleNotGranted,
    #[error("the role does not have the permission")]
    PermissionNotGranted,
    #[error("authentication is off")]
    AuthNotEnabled,
    #[error("the user does not exist or cannot log in")]
    LoginFailed,
    #[error("permission denied")]
    PermissionDenied,
    /// A member's quota is reached, and its alarm is not cleared.
    #[error("there is no space")]
    NoSpace,
    /// Members' data differ.
    #[error("the members' data differ")]
    Corrupt,
    /// The request would read more than one request may.
    #[error("the answer would be too large")]
    AnswerTooLarge,
}

/// Why a system command was refused although its guards may hold. Order is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum SystemError {
    #[error("the audit journal is full, its reserve for system writes included")]
    JournalFull,
    #[error("the system keyspace's reserved quota is spent")]
    QuotaExceeded,
    #[error("a name is empty, too long, or has control characters")]
    InvalidName,
}

/// Why a command about the cluster itself was refused. Order is part of the stored format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ClusterError {
    #[error("the cluster exists already, as {cluster}")]
    GenesisExists { cluster: uuid::Uuid },
    #[error("the current lineage is {current}")]
    WrongParent { current: uuid::Uuid },
    #[error("lineage {0} is unknown")]
    UnknownLineage(uuid::Uuid),
    #[error("the feature level is {current} and never falls")]
    LevelTooLow { current: u32 },
    #[error("the audit journal is full")]
    JournalFull,
}

/// This server cannot go on: its state is unreadable, or the log holds what this release does not know. Applying
/// stops before anything is written, and the process ends with this text.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    #[error(transparent)]
    Storage(#[from] keyspace::Error),
    #[error("the stored state is damaged: {0}")]
    Damaged(String),
    #[error("the log entry cannot be read: {0}")]
    Command(format::Error),
    #[error("a stored record cannot be read: {0}")]
    Record(format::Error),
    #[error("the cluster was raised to feature level {level}; this release supports {supported}: upgrade this server")]
    FeatureLevel { level: u32, supported: u32 },
}

impl Halt {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}

/// A call ended without its effect: refused, for everybody to see, or because this server has to stop.
#[derive(Debug, thiserror::Error)]
pub enum Failure<R = UserError> {
    #[error("{0}")]
    Refused(R),
    #[error(transparent)]
    Halt(Halt),
}

impl<R> From<Halt> for Failure<R> {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl<R> From<keyspace::Error> for Failure<R> {
    fn from(error: keyspace::Error) -> Self {
        Self::Halt(Halt::Storage(error))
    }
}

impl From<UserError> for Failure<UserError> {
    fn from(refused: UserError) -> Self {
        Self::Refused(refused)
    }
}

impl From<SystemError> for Failure<SystemError> {
    fn from(refused: SystemError) -> Self {
        Self::Refused(refused)
    }
}

impl From<ClusterError> for Failure<ClusterError> {
    fn from(refused: ClusterError) -> Self {
        Self::Refused(refused)
    }
}
