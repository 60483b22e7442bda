use crate::Slot;

/// A group as this server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This server.
    pub slot: Slot,
    pub term: u64,
    pub leader: Option<Slot>,
    pub is_leader: bool,
    /// Last entry of the local log.
    pub last_log: u64,
    /// Last entry known to be committed.
    pub committed: u64,
    /// Last entry in the local state.
    pub applied: u64,
    /// Set once the group cannot go on here: why.
    pub failed: Option<String>,
}
