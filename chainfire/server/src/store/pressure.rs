//! When a server refuses to take on more.

use std::sync::atomic::{AtomicUsize, Ordering};

use chainfire_core::UserCommand;
use chainfire_raft::Status;

use crate::Error;

/// Entries that may be committed and not applied yet.
const GAP: u64 = 5_000;

/// The same for what makes room, so that an overload does not keep itself alive.
const GAP_FOR_RELIEF: u64 = 10_000;

/// Bytes of proposals that wait for their end on this server.
const PENDING_BYTES: usize = 256 << 20;

/// Whether `command` may make room.
fn relieves(command: &UserCommand) -> bool {
    match command {
        UserCommand::LeaseRevoke(_) | UserCommand::LeaseExpire(_) | UserCommand::Compact(_) => true,
        UserCommand::Put(_)
        | UserCommand::DeleteRange(_)
        | UserCommand::Txn(_)
        | UserCommand::LeaseGrant(_)
        | UserCommand::Auth(_)
        | UserCommand::Login(_) => false,
    }
}

/// Refuses `command` while applying lags too far behind.
pub(super) fn check(status: &Status, command: &UserCommand) -> Result<(), Error> {
    let gap = if relieves(command) { GAP_FOR_RELIEF } else { GAP };
    if status.committed > status.applied.saturating_add(gap) { Err(Error::TooManyRequests) } else { Ok(()) }
}

/// Proposals of this server that have no answer yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    proposals: AtomicUsize,
    bytes: AtomicUsize,
}

/// One of them, until it is dropped.
pub(super) struct Waiting<'a> {
    pending: &'a Pending,
    bytes: usize,
}

impl Pending {
    pub(crate) fn proposals(&self) -> usize {
        self.proposals.load(Ordering::Relaxed)
    }

    /// Counts a proposal in, unless too many bytes wait already. One always may.
    pub(super) fn enter(&self, bytes: usize) -> Result<Waiting<'_>, Error> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.proposals.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting { pending: self, bytes };
        if before > 0 && before.saturating_add(bytes) > PENDING_BYTES {
            Err(Error::TooManyRequests)
        } else {
            Ok(waiting)
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pending.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.pending.proposals.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use chainfire_core::{
        kv::{Compact, Put, Revision},
        lease::{LeaseId, LeaseRevoke},
    };
    use chainfire_raft::Slot;

    use super::*;

    /// §2.9: 5,000 entries, and 10,000 for what makes room.
    #[test]
    fn a_server_that_lags_refuses_writes_before_it_refuses_relief() {
        let status = |gap: u64| Status {
            slot: Slot(0),
            term: 1,
            leader: Some(Slot(0)),
            is_leader: true,
            learners: Vec::new(),
            last_log: 100 + gap,
            committed: 100 + gap,
            applied: 100,
            failed: None,
        };
        let put = UserCommand::Put(Put::default());
        let revoke = UserCommand::LeaseRevoke(LeaseRevoke { id: LeaseId(1) });
        let compact = UserCommand::Compact(Compact { revision: Revision(1) });
        assert_eq!(check(&status(5_000), &put), Ok(()));
        assert_eq!(check(&status(5_001), &put), Err(Error::TooManyRequests));
        for relief in [revoke, compact] {
            assert_eq!(check(&status(10_000), &relief), Ok(()));
            assert_eq!(check(&status(10_001), &relief), Err(Error::TooManyRequests));
        }
    }

    #[test]
    fn waiting_proposals_are_bounded_in_bytes() {
        let pending = Pending::default();
        let large = pending.enter(PENDING_BYTES + 1).unwrap();
        assert!(pending.enter(1).is_err());
        assert_eq!(pending.proposals(), 1);
        drop(large);
        let _small = pending.enter(1).unwrap();
        assert_eq!(pending.proposals(), 1);
    }
}
