use std::{
    fmt::Display,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::Status;

/// Why a node or a group does not start. Of these, [`Error::Config`], [`Error::Membership`] and [`Error::Tls`] need
/// another configuration: starting again as it is cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("configuration: {0}")]
    Config(String),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    /// There may be nothing wrong with the data.
    #[error("{}: the disk is full; the server can start again when there is room", path.display())]
    Full { path: PathBuf },
    #[error("{}: another process uses this folder", path.display())]
    InUse { path: PathBuf },
    /// Stored bytes are damaged. Starting anyway could lose acknowledged writes.
    #[error("{}: {message}", path.display())]
    Corrupt { path: PathBuf, message: String },
    /// The stored membership is not the configured one.
    #[error(
        "the configured membership differs from the stored one: {0}. Membership is fixed when the cluster is formed: \
             restore the configuration"
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

/// Where an operator reads on.
pub(crate) const RUNBOOK: &str = "see deploy/runbooks/restore-and-rejoin.md";

/// What an operator can do about a folder that cannot be trusted.
pub(crate) const DAMAGED: &str = "This server must not run without what it has acknowledged: keep the folder aside, \
                                  delete nothing in it, and give the server an empty one and --rejoin-wiped while the \
                                  others are a majority; without them only a restore helps; see \
                                  deploy/runbooks/restore-and-rejoin.md";

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| match error.kind() {
            ErrorKind::StorageFull => Self::Full { path },
            _ => Self::Io { path, error },
        }
    }

    /// Something of this server's that is not there, or cannot be what was written.
    pub(crate) fn damaged(path: &Path, found: &dyn Display) -> Self {
        Self::Corrupt { path: path.to_owned(), message: format!("damaged: {found}. {DAMAGED}") }
    }

    /// Why `what`, a database in the folder `path`, does not open.
    pub(crate) fn database(what: &'static str, path: &Path) -> impl FnOnce(rocksdb::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::unopened(what, path, error.as_ref())
    }

    /// RocksDB tells causes apart only in its text.
    fn unopened(what: &str, path: PathBuf, found: &str) -> Self {
        if found.contains("While lock file") || found.contains("lock hold by current process") {
            return Self::InUse { path };
        }
        if found.contains("No space left on device") {
            return Self::Full { path };
        }
        Self::Corrupt { path, message: format!("{what} cannot be opened: {found}. {DAMAGED}") }
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
    #[error("no quorum answered in time")]
    Timeout,
    /// Whoever was asked first leads no more, and the next has not answered either.
    #[error("another server has taken over, and has not answered in time")]
    LeaderChanged,
    /// What has to be readable is known, but not in this server's state.
    #[error("this server did not catch up with the leader in time")]
    Behind,
    #[error("this server is stopping")]
    Stopped,
}

impl ReadError {
    /// The same for a reader who began to wait in `term`, as things are `now`.
    pub(crate) fn since(self, term: u64, now: &Status) -> Self {
        match self {
            Self::NoLeader(_) | Self::Timeout if now.leader.is_some() && now.term != term => Self::LeaderChanged,
            error => error,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slot;

    /// §1.5: *leader changed* is said where somebody else has come to lead, not where nobody does.
    #[test]
    fn a_read_that_outlived_its_leader_says_so() {
        let now = |term, leader| Status {
            slot: Slot(0),
            term,
            leader,
            is_leader: false,
            learners: Vec::new(),
            last_log: 9,
            committed: 9,
            applied: 9,
            failed: None,
        };
        let gone = || ReadError::NoLeader("it is gone".into());
        let another = now(4, Some(Slot(1)));
        for error in [ReadError::Timeout, gone()] {
            assert_eq!(error.clone().since(3, &another), ReadError::LeaderChanged);
            assert_eq!(error.clone().since(4, &another), error);
            assert_eq!(error.clone().since(3, &now(4, None)), error);
        }
        for error in [ReadError::Behind, ReadError::Stopped] {
            assert_eq!(error.clone().since(3, &another), error);
        }
    }

    #[test]
    fn a_database_that_does_not_open_is_not_always_damaged() {
        let told = |found: &str| Error::unopened("the Raft log", "/d/log".into(), found).to_string();
        let full = told("IO error: No space left on device: While appending to file: /d/log/000009.log");
        assert!(full.contains("/d/log: the disk is full"), "{full}");
        let damaged = told("Corruption: checksum mismatch");
        assert!(damaged.contains("/d/log: the Raft log cannot be opened: Corruption"), "{damaged}");
        assert!(damaged.contains("restore-and-rejoin.md"), "{damaged}");
    }
}
