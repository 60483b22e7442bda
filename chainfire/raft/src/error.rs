use std::path::PathBuf;

/// Why a node or a group does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("configuration: {0}")]
    Config(String),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{what}: {error}")]
    Storage { what: &'static str, error: rocksdb::Error },
    /// Stored bytes are damaged. Starting anyway could lose acknowledged writes.
    #[error("{}: {message}", path.display())]
    Corrupt { path: PathBuf, message: String },
    /// The stored membership is not the configured one.
    #[error(
        "the configured membership differs from the stored one: {0}. Membership is fixed at the first start: \
             restore the configuration, or restore a backup into a new cluster"
    )]
    Membership(String),
    /// This server may not take part; the message says what to do.
    #[error("{0}")]
    Refused(String),
    #[error("certificates of the peer port: {0}")]
    Tls(String),
    #[error("raft: {0}")]
    Raft(String),
    #[error("stopped")]
    Stopped,
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }

    pub(crate) fn storage(what: &'static str) -> impl FnOnce(rocksdb::Error) -> Self {
        move |error| Self::Storage { what, error }
    }
}

/// Why a proposal has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was proposed; the caller may try again.
    #[error("no leader: {0}")]
    NoLeader(String),
    /// The command may or may not take effect.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// Nothing was proposed.
    #[error("the command has {size} bytes, {limit} are allowed")]
    TooLarge { size: usize, limit: usize },
    /// Nothing was proposed; this server is shutting down or has failed.
    #[error("this server is stopping")]
    Stopped,
}

/// Why a read index could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("no leader: {0}")]
    NoLeader(String),
    #[error("no quorum, or the local state did not catch up in time")]
    Timeout,
    #[error("this server is stopping")]
    Stopped,
}

/// Why leadership did not move.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    #[error("this server does not lead the group")]
    NotLeader,
    #[error("no voter has slot {0}")]
    NoSuchMember(crate::Slot),
    #[error("the new leader did not take over in time")]
    Timeout,
    #[error("this server is stopping")]
    Stopped,
}
