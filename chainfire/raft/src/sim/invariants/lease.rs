use std::collections::BTreeMap;

use chainfire_core::lease::LeaseId;
use tokio::time::Instant;

use super::Verdict;

/// Lease never early: from the moment a client asks for a grant or a renewal that it is given, the lease lasts for its
/// whole time, whoever leads meanwhile.
#[derive(Debug, Default)]
pub(in crate::sim) struct LeaseNeverEarly {
    promised: BTreeMap<LeaseId, Instant>,
    ended: usize,
}

impl LeaseNeverEarly {
    pub(in crate::sim) fn promise(&mut self, id: LeaseId, until: Instant) {
        let promised = self.promised.entry(id).or_insert(until);
        *promised = until.max(*promised);
    }

    /// The first server has applied the end of the lease.
    pub(in crate::sim) fn ends(&mut self, id: LeaseId, now: Instant) -> Verdict {
        let Some(until) = self.promised.remove(&id) else { return Ok(()) };
        self.ended += 1;
        if now >= until {
            return Ok(());
        }
        Err(format!("lease: {} has ended {:?} before its time", id.0, until - now))
    }

    pub(in crate::sim) fn ended(&self) -> usize {
        self.ended
    }
}
