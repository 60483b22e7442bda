use std::collections::BTreeSet;

use crate::{RaftId, Slot, types::StoredMembership};

/// Who takes part in a group, as one membership entry of its log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    /// Index of that entry; none in an empty log.
    at: Option<u64>,
    /// More than one set while the voters change; the last one is what they change to.
    voters: Vec<BTreeSet<RaftId>>,
    learners: BTreeSet<RaftId>,
}

impl Roster {
    pub(crate) fn of(stored: &StoredMembership) -> Self {
        let membership = stored.membership();
        let ids = |set: &BTreeSet<u64>| set.iter().copied().map(RaftId::from_u64).collect();
        Self {
            at: stored.log_id().as_ref().map(|id| id.index),
            voters: membership.get_joint_config().iter().map(ids).collect(),
            learners: membership.learner_ids().map(RaftId::from_u64).collect(),
        }
    }

    /// Whether the entry is committed where `committed` is the last index that is.
    pub(crate) fn is_committed(&self, committed: u64) -> bool {
        self.at.is_some_and(|at| at <= committed)
    }

    /// Whether nobody takes part, as in an empty log.
    pub(crate) fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// Whether the voters are on their way from one set to another.
    pub(super) fn is_joint(&self) -> bool {
        self.voters.len() > 1
    }

    pub(crate) fn contains(&self, id: RaftId) -> bool {
        self.ids().any(|known| known == id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = RaftId> {
        self.voters.iter().flatten().chain(&self.learners).copied()
    }

    /// Whether those that are `counted` have the majority in every set of voters.
    pub(crate) fn are_majority(&self, counted: impl Fn(RaftId) -> bool) -> bool {
        let majority = |set: &BTreeSet<RaftId>| set.iter().filter(|id| counted(**id)).count() > set.len() / 2;
        !self.is_empty() && self.voters.iter().all(majority)
    }

    /// The voters of the newest set.
    pub(crate) fn voters(&self) -> impl Iterator<Item = RaftId> {
        self.voters.last().into_iter().flatten().copied()
    }

    pub(super) fn voter_in(&self, slot: Slot) -> Option<RaftId> {
        self.voters().find(|voter| voter.slot() == slot)
    }

    pub(super) fn learners(&self) -> impl Iterator<Item = RaftId> {
        self.learners.iter().copied()
    }

    pub(super) fn learner_in(&self, slot: Slot) -> Option<RaftId> {
        self.learners().find(|learner| learner.slot() == slot)
    }

    /// Slots of a cluster of `members` that have no voter, because their servers have lost their disks. None before
    /// there are voters at all.
    pub(crate) fn without_vote(&self, members: u16) -> impl Iterator<Item = Slot> {
        (0..members).map(Slot).filter(|slot| !self.is_empty() && self.voter_in(*slot).is_none())
    }
}

#[cfg(test)]
impl Roster {
    pub(crate) fn new(voters: &[&[RaftId]], learners: &[RaftId]) -> Self {
        let set = |ids: &&[RaftId]| ids.iter().copied().collect();
        Self { at: Some(1), voters: voters.iter().map(set).collect(), learners: learners.iter().copied().collect() }
    }
}
