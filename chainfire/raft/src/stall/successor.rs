use std::collections::BTreeMap;

use openraft::RaftMetrics;

use crate::{RaftId, rejoin::Roster, types::TypeConfig};

/// How far each member's log goes on its disk, as the leader knows; without those of whom it knows nothing.
pub(crate) type Matched = BTreeMap<RaftId, u64>;

pub(crate) fn matched(seen: &RaftMetrics<TypeConfig>) -> Matched {
    let known = seen.replication.iter().flatten();
    known.filter_map(|(id, last)| Some((RaftId::from_u64(*id), last.as_ref()?.index))).collect()
}

/// Whom a leader whose disk hangs hands its group to: of the voters that have put something on disk since, which is
/// behind the entry `written` by then, the one that has most. None unless these are a majority, because nobody else can
/// give a vote that is on disk. So disks that all hang at once change nothing: no server is better off than the leader.
pub(super) fn successor(roster: &Roster, own: RaftId, matched: &Matched, written: u64) -> Option<RaftId> {
    let works = |id: RaftId| id != own && matched.get(&id).is_some_and(|index| *index > written);
    if roster.are_majority(works) { furthest(roster, works, matched) } else { None }
}

/// The one of the voters that are `eligible` whose log goes furthest.
pub(crate) fn furthest(roster: &Roster, eligible: impl Fn(RaftId) -> bool, matched: &Matched) -> Option<RaftId> {
    roster.voters().filter(|id| eligible(*id)).max_by_key(|id| matched.get(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> RaftId {
        RaftId::from_u64(number)
    }

    /// The leader is 1, and entry 5 was written when its disk began to hang; positions are of the members from 1 on.
    fn after(voters: &[&[u64]], positions: &[Option<u64>]) -> Option<u64> {
        let voters: Vec<Vec<RaftId>> = voters.iter().map(|set| set.iter().copied().map(id).collect()).collect();
        let sets: Vec<&[RaftId]> = voters.iter().map(Vec::as_slice).collect();
        let known = (1..).zip(positions).filter_map(|(number, position)| Some((id(number), (*position)?)));
        successor(&Roster::new(&sets, &[id(9)]), id(1), &known.collect(), 5).map(RaftId::to_u64)
    }

    #[test]
    fn it_goes_to_whom_has_most_where_a_majority_works() {
        assert_eq!(after(&[&[1, 2, 3]], &[Some(4), Some(7), Some(6)]), Some(2));
        assert_eq!(after(&[&[1, 2, 3]], &[Some(4), Some(6), Some(7)]), Some(3));
        // Nothing of its own is on disk at all.
        assert_eq!(after(&[&[1, 2, 3]], &[None, Some(6), Some(7)]), Some(3));
        assert_eq!(after(&[&[1, 2, 3, 4, 5]], &[Some(4), Some(6), Some(6), Some(8), Some(5)]), Some(4));
    }

    #[test]
    fn disks_that_hang_together_change_nothing() {
        assert_eq!(after(&[&[1, 2, 3]], &[Some(4), Some(4), Some(4)]), None);
        assert_eq!(after(&[&[1, 2, 3]], &[Some(4), Some(5), Some(5)]), None, "faster than this one by a moment");
        assert_eq!(after(&[&[1, 2, 3]], &[Some(4), Some(7), Some(5)]), None, "one vote of three");
        assert_eq!(after(&[&[1, 2, 3]], &[Some(4), Some(7), None]), None);
        assert_eq!(after(&[&[1, 2, 3, 4, 5]], &[Some(4), Some(6), Some(6), Some(5), Some(5)]), None);
    }

    #[test]
    fn one_alone_waits() {
        assert_eq!(after(&[&[1]], &[Some(4)]), None);
        assert_eq!(after(&[&[1]], &[None]), None);
    }

    #[test]
    fn only_voters_count_and_in_every_set_of_them() {
        let nine = [Some(4), Some(6), Some(5), None, None, None, None, None, Some(9)];
        assert_eq!(after(&[&[1, 2, 3]], &nine), None, "a learner has no vote");
        let positions = [Some(4), Some(7), Some(8), Some(5)];
        assert_eq!(after(&[&[1, 2, 3], &[1, 2, 3]], &positions), Some(3));
        assert_eq!(after(&[&[1, 2, 3], &[1, 2, 4]], &positions), None);
    }
}
