use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::RaftId;

/// Up to where the other voters have acknowledged a group's log to this server, as the leader of a term. It outlives
/// connections, so that a voter whose disk went back in time can be told.
#[derive(Debug, Default)]
pub(super) struct Acknowledged(Mutex<BTreeMap<RaftId, Mark>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    term: u64,
    index: u64,
}

impl Acknowledged {
    pub(super) fn note(&self, voter: RaftId, term: u64, index: u64) {
        let next = Mark { term, index };
        self.0.lock().entry(voter).and_modify(|mark| *mark = next.max(*mark)).or_insert(next);
    }

    /// What was acknowledged to an earlier leader may have been replaced since.
    pub(super) fn of(&self, voter: RaftId, term: u64) -> Option<u64> {
        self.0.lock().get(&voter).filter(|mark| mark.term == term).map(|mark| mark.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_of_the_term_counts() {
        let (marks, voter) = (Acknowledged::default(), RaftId::from_u64(7));
        marks.note(voter, 3, 10);
        marks.note(voter, 3, 9);
        assert_eq!(marks.of(voter, 3), Some(10));
        marks.note(voter, 4, 5);
        assert_eq!((marks.of(voter, 3), marks.of(voter, 4)), (None, Some(5)));
    }
}
