use std::sync::Arc;

use crate::{
    journal::JournalPosition,
    kv::{Revision, RevisionEvents},
    lease::LeaseId,
};

/// What a server has to tell its clients and tasks once a command is in the state. Not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A user revision, complete: watchers get it whole.
    Revision(Arc<RevisionEvents>),
    Compacted(Revision),
    /// A restored state begins here; everything before is compacted.
    Restored(Revision),
    /// Start (or, on another server than the leader, remember) the lease's clock. Seconds.
    LeaseGranted {
        id: LeaseId,
        ttl: i64,
    },
    LeaseRevoked {
        id: LeaseId,
    },
    /// The system keyspace has this revision now.
    SystemChanged {
        revision: u64,
    },
    /// Records up to this one are in the journal now.
    JournalAppended {
        last: JournalPosition,
    },
    JournalTruncated,
    /// Genesis, lineage, limits, audit policy or feature level changed: read them again.
    ClusterChanged,
    /// A token whose secret part has this SHA-256 is the user's.
    TokenIssued {
        token: [u8; 32],
        user: String,
        /// Of the log entry; the token ends in it.
        index: u64,
        /// Unix time in milliseconds, as the proposer's clock said.
        issued_ms: u64,
    },
    /// Tokens of the user, or of everybody, are worth nothing any more.
    TokensEnded {
        user: Option<String>,
    },
    /// An alarm was raised or cleared.
    AlarmsChanged,
}
