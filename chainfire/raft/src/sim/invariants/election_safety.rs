use std::collections::BTreeMap;

use super::Verdict;
use crate::RaftId;

/// Election safety: a term has one leader at most.
#[derive(Debug, Default)]
pub(in crate::sim) struct ElectionSafety {
    leaders: BTreeMap<u64, RaftId>,
}

impl ElectionSafety {
    pub(in crate::sim) fn leads(&mut self, term: u64, id: RaftId) -> Verdict {
        match *self.leaders.entry(term).or_insert(id) {
            leader if leader == id => Ok(()),
            other => Err(format!("election safety: {other} and {id} lead in term {term}")),
        }
    }

    pub(in crate::sim) fn terms(&self) -> usize {
        self.leaders.len()
    }
}
