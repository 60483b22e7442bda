use chainfire_core::{Failure, Halt, UserError};
use chainfire_raft::{ProposeError, ReadError, TransferError};
use iam_client::Refusal;
use tonic::{Code, Status, metadata::MetadataValue};

/// Every way a call of the etcd API can fail. Clients recognise an error by its exact text, so the texts are part of
/// the wire contract, and this is the only place that has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: value is provided")]
    ValueProvided,
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    #[error("etcdserver: too many operations in txn request")]
    TooManyOperations,
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    #[error("etcdserver: invalid client api version")]
    InvalidClientVersion,
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    #[error("etcdserver: given member URLs are invalid")]
    BadMemberUrls,
    #[error("etcdserver: user name is empty")]
    UserEmpty,
    #[error("etcdserver: authentication failed, invalid user ID or password")]
    LoginFailed,
    #[error("etcdserver: invalid auth management")]
    InvalidAuthManagement,
    #[error("etcdserver: role name is empty")]
    RoleEmpty,
    #[error("etcdserver: permission not given")]
    PermissionNotGiven,
    #[error("etcdserver: revision of auth store is old")]
    AuthOldRevision,
    #[error("etcdserver: root user does not exist")]
    RootUserMissing,
    #[error("etcdserver: root user does not have root role")]
    RootRoleMissing,
    #[error("etcdserver: user name already exists")]
    UserExists,
    #[error("etcdserver: user name not found")]
    UserNotFound,
    #[error("etcdserver: role name already exists")]
    RoleExists,
    #[error("etcdserver: role name not found")]
    RoleNotFound,
    #[error("etcdserver: role is not granted to the user")]
    RoleNotGranted,
    #[error("etcdserver: permission is not granted to the role")]
    PermissionNotGranted,
    #[error("etcdserver: invalid auth token")]
    InvalidAuthToken,
    /// In the words of Go's library, which etcd passes on.
    #[error("bcrypt: password length exceeds 72 bytes")]
    PasswordTooLong,
    #[error("etcdserver: this server has no private key to sign tokens with")]
    VerifiesOnly,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    #[error("etcdserver: too large lease TTL")]
    TtlTooLarge,
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    #[error("etcdserver: the answer is too large; ask for less at a time")]
    AnswerTooLarge,
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    #[error("etcdserver: wrong downgrade target version format")]
    DowngradeFormat,
    #[error("etcdserver: invalid downgrade target version")]
    DowngradeTarget,
    #[error("etcdserver: cluster version not found during downgrade")]
    ClusterVersionUnknown,
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    #[error("etcdserver: member not found")]
    MemberNotFound,
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    #[error("etcdserver: can only promote a learner member")]
    NotLearner,
    #[error("etcdserver: can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    #[error("etcdserver: rpc not supported for learner")]
    NotForLearner,
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    #[error("etcdserver: not leader")]
    NotLeader,
    #[error("etcdserver: not capable")]
    NotCapable,
    /// The members are those that the cluster began with; the answer says where to read on.
    #[error("etcdserver: not capable")]
    MembershipFixed,
    #[error("etcdserver: bad leader transferee")]
    BadTransferee,
    #[error("etcdserver: permission denied")]
    PermissionDenied,
    #[error("etcdserver: no leader")]
    NoLeader,
    #[error("etcdserver: server stopped")]
    Stopped,
    #[error("etcdserver: leader changed")]
    LeaderChanged,
    #[error("etcdserver: request timed out")]
    TimedOut,
    #[error("etcdserver: request timed out, waiting for the applied index took too long")]
    Behind,
    #[error("election: no leader")]
    NobodyElected,
    #[error("election: not leader")]
    NotElected,
    #[error("mutex: session is expired")]
    SessionExpired,
    #[error("\"leader\" field must be provided")]
    MissingLeader,
    /// The change may or may not have happened.
    #[error("etcdserver: request timed out, possibly due to previous leader failure")]
    Unknown,
    /// The change may or may not have happened.
    #[error("etcdserver: request timed out, possibly due to connection lost")]
    ConnectionLost,
    /// With the reason, which is in the hint.
    #[error("etcdserver: unhealthy cluster")]
    Unhealthy(String),
    #[error("etcdserver: watch canceled")]
    WatchCanceled,
    /// The time that the client gave is over; a change may or may not have happened.
    #[error("etcdserver: context deadline exceeded")]
    DeadlineExceeded,
    /// A command was committed, but its answer does not read: the change may or may not have happened. The text is for
    /// the log only; clients are told the same as for [`Error::Unknown`].
    #[error("{}", Self::Unknown)]
    Unreadable(String),
    /// The state on this server could not be read; the text is for the log only.
    #[error("etcdserver: storage of this member failed")]
    Storage(String),
    /// What this server does not offer, and what to use instead.
    #[error("{0}")]
    Unimplemented(&'static str),
}

impl Error {
    /// The answer to a command is of another kind than the command.
    pub(crate) fn mismatch() -> Self {
        Self::Unreadable("the answer belongs to another command".to_owned())
    }

    fn code(&self) -> Code {
        match self {
            Self::EmptyKey
            | Self::KeyNotFound
            | Self::ValueProvided
            | Self::LeaseProvided
            | Self::TooManyOperations
            | Self::DuplicateKey
            | Self::InvalidClientVersion
            | Self::InvalidSortOption
            | Self::RequestTooLarge
            | Self::BadMemberUrls
            | Self::UserEmpty
            | Self::LoginFailed
            | Self::InvalidAuthManagement
            | Self::RoleEmpty
            | Self::PermissionNotGiven
            | Self::AuthOldRevision
            | Self::DowngradeFormat
            | Self::DowngradeTarget => Code::InvalidArgument,
            Self::Compacted | Self::FutureRevision | Self::TtlTooLarge => Code::OutOfRange,
            Self::TooManyRequests | Self::NoSpace | Self::AnswerTooLarge => Code::ResourceExhausted,
            Self::LeaseNotFound | Self::MemberNotFound => Code::NotFound,
            Self::LeaseExists
            | Self::NotLearner
            | Self::LearnerNotReady
            | Self::NotForLearner
            | Self::AuthNotEnabled
            | Self::NotLeader
            | Self::NotCapable
            | Self::BadTransferee
            | Self::RootUserMissing
            | Self::RootRoleMissing
            | Self::UserExists
            | Self::UserNotFound
            | Self::RoleExists
            | Self::RoleNotFound
            | Self::RoleNotGranted
            | Self::PermissionNotGranted
            | Self::VerifiesOnly
            | Self::MembershipFixed
            | Self::ClusterVersionUnknown => Code::FailedPrecondition,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::InvalidAuthToken => Code::Unauthenticated,
            Self::PasswordTooLong => Code::Unknown,
            // All of these may be tried again for reads; clients never retry a write on them by themselves.
            Self::NoLeader
            | Self::LeaderChanged
            | Self::Stopped
            | Self::TimedOut
            | Self::Behind
            | Self::Unknown
            | Self::ConnectionLost
            | Self::Unreadable(_)
            | Self::Unhealthy(_) => Code::Unavailable,
            Self::Corrupt => Code::DataLoss,
            Self::NobodyElected | Self::NotElected | Self::SessionExpired | Self::MissingLeader => Code::Unknown,
            Self::WatchCanceled => Code::Cancelled,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Storage(_) => Code::Internal,
            Self::Unimplemented(_) => Code::Unimplemented,
        }
    }
}

/// Where an answer says more than the text that clients compare.
const HINT: &str = "holdfast-hint";
const MEMBERSHIP_HINT: &str = "membership is fixed when the cluster is formed; to replace a failed server or to move \
                               to another membership, see deploy/runbooks/restore-and-rejoin.md";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if let Error::Storage(detail) = &error {
            tracing::error!(detail, "the state could not be read");
        }
        if let Error::Unreadable(detail) = &error {
            tracing::error!(detail, "the answer to a committed command does not read");
        }
        let mut status = Self::new(error.code(), error.to_string());
        let hint = match error {
            Error::MembershipFixed => Some(MetadataValue::from_static(MEMBERSHIP_HINT)),
            Error::Unhealthy(reason) => MetadataValue::try_from(reason).ok(),
            _ => None,
        };
        if let Some(hint) = hint {
            status.metadata_mut().insert(HINT, hint);
        }
        status
    }
}

impl From<ProposeError> for Error {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NoLeader(_) => Self::NoLeader,
            ProposeError::Unknown(_) => Self::Unknown,
            ProposeError::TooLarge { .. } => Self::RequestTooLarge,
            ProposeError::Stopped => Self::Stopped,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Anonymous => Self::UserEmpty,
            Refusal::Unauthenticated => Self::InvalidAuthToken,
            Refusal::Denied { .. } => Self::PermissionDenied,
            Refusal::SlowDown { .. } => Self::TooManyRequests,
            Refusal::Unavailable(reason) => Self::Unhealthy(reason),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoLeader(_) => Self::NoLeader,
            ReadError::LeaderChanged => Self::LeaderChanged,
            ReadError::Timeout => Self::TimedOut,
            ReadError::Behind => Self::Behind,
            ReadError::Stopped => Self::Stopped,
        }
    }
}

impl From<TransferError> for Error {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::NotLeader => Self::NotLeader,
            TransferError::NoSuchMember(_) => Self::BadTransferee,
            TransferError::Timeout => Self::TimedOut,
            TransferError::Stopped => Self::Stopped,
        }
    }
}

impl From<holdfast_keyspace::Error> for Error {
    fn from(error: holdfast_keyspace::Error) -> Self {
        Self::Storage(error.0)
    }
}

impl From<UserError> for Error {
    fn from(error: UserError) -> Self {
        match error {
            UserError::KeyNotProvided => Self::EmptyKey,
            UserError::KeyNotFound => Self::KeyNotFound,
            UserError::ValueProvided => Self::ValueProvided,
            UserError::LeaseProvided => Self::LeaseProvided,
            UserError::TooManyOps => Self::TooManyOperations,
            UserError::DuplicateKey => Self::DuplicateKey,
            UserError::Compacted => Self::Compacted,
            UserError::FutureRevision => Self::FutureRevision,
            UserError::LeaseNotFound => Self::LeaseNotFound,
            UserError::LeaseExists => Self::LeaseExists,
            UserError::LeaseTtlTooLarge => Self::TtlTooLarge,
            UserError::InvalidSortOption => Self::InvalidSortOption,
            UserError::TooManyRequests => Self::TooManyRequests,
            UserError::UserEmpty => Self::UserEmpty,
            UserError::RoleEmpty => Self::RoleEmpty,
            UserError::InvalidAuthManagement => Self::InvalidAuthManagement,
            UserError::AuthOldRevision => Self::AuthOldRevision,
            UserError::RootUserMissing => Self::RootUserMissing,
            UserError::RootRoleMissing => Self::RootRoleMissing,
            UserError::UserExists => Self::UserExists,
            UserError::UserNotFound => Self::UserNotFound,
            UserError::RoleExists => Self::RoleExists,
            UserError::RoleNotFound => Self::RoleNotFound,
            UserError::RoleNotGranted => Self::RoleNotGranted,
            UserError::PermissionNotGranted => Self::PermissionNotGranted,
            UserError::AuthNotEnabled => Self::AuthNotEnabled,
            UserError::LoginFailed => Self::LoginFailed,
            UserError::PermissionDenied => Self::PermissionDenied,
            UserError::NoSpace => Self::NoSpace,
            UserError::Corrupt => Self::Corrupt,
            UserError::AnswerTooLarge => Self::AnswerTooLarge,
        }
    }
}

impl From<Halt> for Error {
    fn from(halt: Halt) -> Self {
        Self::Storage(halt.to_string())
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refused) => refused.into(),
            Failure::Halt(halt) => halt.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §1.5, row by row. Of its texts these are never said, and have no error here: whether members or peer URLs exist,
    /// too few members are started or too many are learners, because membership is fixed; *cluster ID mismatch*, for
    /// the same reason; *cluster has a downgrade job in progress*, because none begins; *leader changed*, because a
    /// read asks the next leader by itself; *waiting for the applied index took too long*, in whose place the request
    /// only timed out; *request canceled* and *context deadline exceeded*, because clients keep their own time.
    #[test]
    fn every_error_has_etcds_code_and_words() {
        #[rustfmt::skip]
        let table: [(Code, &[Error], &str); 9] = [
            (
                Code::InvalidArgument,
                &[
                    Error::EmptyKey, Error::KeyNotFound, Error::ValueProvided, Error::LeaseProvided,
                    Error::TooManyOperations, Error::DuplicateKey, Error::InvalidClientVersion,
                    Error::InvalidSortOption, Error::BadMemberUrls, Error::RequestTooLarge, Error::UserEmpty,
                    Error::RoleEmpty, Error::LoginFailed, Error::PermissionNotGiven, Error::InvalidAuthManagement,
                    Error::AuthOldRevision, Error::DowngradeFormat, Error::DowngradeTarget,
                ],
                "key is not provided · key not found · value is provided · lease is provided · \
                 too many operations in txn request · duplicate key given in txn request · \
                 invalid client api version · invalid sort option · given member URLs are invalid · \
                 request is too large · user name is empty · role name is empty · \
                 authentication failed, invalid user ID or password · permission not given · \
                 invalid auth management · revision of auth store is old · \
                 wrong downgrade target version format · invalid downgrade target version",
            ),
            (
                Code::OutOfRange,
                &[Error::Compacted, Error::FutureRevision, Error::TtlTooLarge],
                "mvcc: required revision has been compacted · mvcc: required revision is a future revision · \
                 too large lease TTL",
            ),
            (
                Code::ResourceExhausted,
                &[Error::NoSpace, Error::TooManyRequests],
                "mvcc: database space exceeded · too many requests",
            ),
            (
                Code::NotFound,
                &[Error::LeaseNotFound, Error::MemberNotFound],
                "requested lease not found · member not found",
            ),
            (
                Code::FailedPrecondition,
                &[
                    Error::LeaseExists, Error::NotLearner, Error::LearnerNotReady, Error::RootUserMissing,
                    Error::RootRoleMissing, Error::UserExists, Error::UserNotFound, Error::RoleExists,
                    Error::RoleNotFound, Error::RoleNotGranted, Error::PermissionNotGranted, Error::AuthNotEnabled,
                    Error::NotLeader, Error::NotCapable, Error::MembershipFixed, Error::NotForLearner,
                    Error::BadTransferee, Error::ClusterVersionUnknown,
                ],
                "lease already exists · can only promote a learner member · \
                 can only promote a learner member which is in sync with leader · root user does not exist · \
                 root user does not have root role · user name already exists · user name not found · \
                 role name already exists · role name not found · role is not granted to the user · \
                 permission is not granted to the role · authentication is not enabled · not leader · \
                 not capable · not capable · rpc not supported for learner · bad leader transferee · \
                 cluster version not found during downgrade",
            ),
            (
                Code::Unavailable,
                &[
                    Error::NoLeader, Error::LeaderChanged, Error::Stopped, Error::TimedOut, Error::Unknown,
                    Error::ConnectionLost, Error::Behind,
                    Error::Unhealthy("no quorum".to_owned()),
                ],
                "no leader · leader changed · server stopped · request timed out · \
                 request timed out, possibly due to previous leader failure · \
                 request timed out, possibly due to connection lost · \
                 request timed out, waiting for the applied index took too long · unhealthy cluster",
            ),
            (Code::PermissionDenied, &[Error::PermissionDenied], "permission denied"),
            (Code::Unauthenticated, &[Error::InvalidAuthToken], "invalid auth token"),
            (Code::DataLoss, &[Error::Corrupt], "corrupt cluster"),
        ];
        for (code, errors, texts) in table {
            let said: Vec<_> = errors.iter().cloned().map(Status::from).collect();
            let expected: Vec<_> = texts.split(" · ").map(|text| format!("etcdserver: {text}")).collect();
            assert_eq!(said.iter().map(Status::message).collect::<Vec<_>>(), expected);
            assert!(said.iter().all(|status| status.code() == code), "{code:?}");
        }
        let canceled = Status::from(Error::WatchCanceled);
        assert_eq!((canceled.code(), canceled.message()), (Code::Cancelled, "etcdserver: watch canceled"));
        // Without the prefix, and unmapped in etcd.
        for (error, text) in
            [(Error::NobodyElected, "election: no leader"), (Error::MissingLeader, "\"leader\" field must be provided")]
        {
            let status = Status::from(error);
            assert_eq!((status.code(), status.message()), (Code::Unknown, text));
        }
    }

    /// §1.5: "a write that may have been proposed must never be answered by a message the client would take as 'not
    /// sent'".
    #[test]
    fn a_write_that_may_have_happened_is_never_safe_to_retry() {
        let status = Status::from(Error::from(ProposeError::Unknown("the leader is gone".into())));
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "etcdserver: request timed out, possibly due to previous leader failure");
    }

    #[test]
    fn an_applied_command_whose_answer_does_not_read_is_of_unknown_outcome() {
        let status = Status::from(Error::mismatch());
        assert_eq!((status.code(), status.message()), (Code::Unavailable, Error::Unknown.to_string().as_str()));
    }

    /// §1.5, §2.9: what a read is told that could not be answered in time. Clients repeat it on all of these.
    #[test]
    fn a_read_without_an_answer_says_what_it_waited_for() {
        for (error, text) in [
            (ReadError::NoLeader("it is gone".into()), "no leader"),
            (ReadError::LeaderChanged, "leader changed"),
            (ReadError::Timeout, "request timed out"),
            (ReadError::Behind, "request timed out, waiting for the applied index took too long"),
            (ReadError::Stopped, "server stopped"),
        ] {
            let status = Status::from(Error::from(error));
            assert_eq!((status.code(), status.message()), (Code::Unavailable, format!("etcdserver: {text}").as_str()));
        }
    }

    #[test]
    fn storage_details_stay_here() {
        let status = Status::from(Error::Storage("/var/lib/holdfast: checksum".into()));
        assert!(!status.message().contains("checksum"));
    }
}
