use async_trait::async_trait;
use chainfire_core::{
    Origin,
    system::{SystemAnswer, SystemCommand},
};
use tokio::sync::watch;

/// The system keyspace as services see it. Reads are local and never block on the network; a caller that needs
/// everything acknowledged before its call waits for [`SystemStore::barrier`] first.
#[async_trait]
pub trait SystemStore: Send + Sync + 'static {
    /// Replicates `command` and returns its answer after it is applied on this server, so that the caller's next
    /// local read sees it. Any server accepts it; followers forward to the leader.
    async fn submit(&self, origin: Origin, command: SystemCommand) -> Result<SystemAnswer, StoreError>;

    /// Waits until local reads show everything that was acknowledged anywhere before this call (a read index).
    async fn barrier(&self) -> Result<Applied, StoreError>;

    /// The record at `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError>;

    /// Records whose key starts with `prefix`, in key order, after `after` if given, at most `limit`.
    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, StoreError>;

    /// How far this server has applied.
    fn applied(&self) -> Applied;

    /// Wakes at each change of the system keyspace; the value is its newest revision here. Readers re-read what they
    /// need: level-triggered, so that nothing can be missed.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// A stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// The system revision of its last change.
    pub revision: u64,
}

/// A part of a listing; `more` says that records follow the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub records: Vec<Record>,
    pub more: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Raft log index of the last applied entry.
    pub index: u64,
    /// Revision counter of the system keyspace.
    pub system_revision: u64,
}

/// Why the store did not answer. A command that may have been proposed is `Unknown`, never `Unavailable`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was proposed: no leader, no quorum, or this server is stopping.
    #[error("the control plane has no quorum: {0}")]
    Unavailable(String),
    /// The command may or may not take effect.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The server or the command is not allowed to do this (size, feature level).
    #[error("refused: {0}")]
    Refused(String),
    /// The local state could not be read.
    #[error("storage: {0}")]
    Storage(String),
}
