use async_trait::async_trait;
use chainfire_core::{
    Origin,
    cluster::Lineage,
    system::{LockGroup, Page, Record, SystemAnswer, SystemCommand},
};
use tokio::sync::watch;

use crate::StoreError;

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

    /// The history that this state belongs to: each restore begins another one. None before the genesis.
    fn lineage(&self) -> Result<Option<Lineage>, StoreError>;

    /// How far this server has applied.
    fn applied(&self) -> Applied;

    /// Wakes when entries have been applied; the value is the last one's index. What they changed can be read before, and
    /// [`SystemStore::changes`] knows it.
    fn progress(&self) -> watch::Receiver<u64>;

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
