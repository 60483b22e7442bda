use async_trait::async_trait;
use chainfire_core::{
    Answer, Halt, Origin,
    system::{LockGroup, Page, Record, SystemAnswer, SystemCommand},
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

    /// The lock group `group`; `None` if it has neither a stored policy nor a holder.
    fn lock_group(&self, group: &str) -> Result<Option<LockGroup>, StoreError>;

    /// Lock groups that have a stored policy or a holder, by name, after `after` if given, at most `limit`.
    fn lock_groups(&self, after: Option<&str>, limit: usize) -> Result<Vec<LockGroup>, StoreError>;

    /// How far this server has applied.
    fn applied(&self) -> Applied;

    /// Wakes at each change of the system keyspace; the value is its newest revision here. Readers re-read what they
    /// need: level-triggered, so that nothing can be missed.
    fn changes(&self) -> watch::Receiver<u64>;
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

impl StoreError {
    /// What a replicated answer says to the service that asked.
    pub fn from_answer(answer: Answer) -> Result<SystemAnswer, Self> {
        match answer {
            Answer::System(outcome) => outcome.map_err(|refused| Self::Refused(refused.to_string())),
            Answer::BeforeGenesis => Err(Self::Unavailable("the cluster has not begun yet".into())),
            Answer::LevelTooLow { needed, level } => {
                Err(Self::Refused(format!("this needs feature level {needed}; the cluster is at {level}")))
            }
            Answer::User(_) | Answer::Cluster(_) => Err(Self::Storage("the answer belongs to another command".into())),
        }
    }
}

impl From<Halt> for StoreError {
    fn from(halt: Halt) -> Self {
        Self::Storage(halt.to_string())
    }
}
