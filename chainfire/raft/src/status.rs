use crate::Slot;

/// A group as this server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This server.
    pub slot: Slot,
    pub term: u64,
    /// Who leads; none where nobody is known to: as a follower that has heard nothing, or as the leader that has reached
    /// no quorum, for the longest time-out of an election.
    pub leader: Option<Slot>,
    /// This server is the leader of its term. Whether it still has a quorum only a proof tells.
    pub is_leader: bool,
    /// Slots without a vote, because their servers have lost their disks and are not all back yet.
    pub learners: Vec<Slot>,
    /// Last entry of the local log.
    pub last_log: u64,
    /// Last entry known to be committed.
    pub committed: u64,
    /// Last entry in the local state.
    pub applied: u64,
    /// Set once the group cannot go on here: why.
    pub failed: Option<String>,
}
