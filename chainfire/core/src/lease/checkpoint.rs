use holdfast_format::kind;
use holdfast_keyspace::{Read, Write};
use serde::{Deserialize, Serialize};

use super::{LeaseId, lease, store::lease_key};
use crate::{
    Halt,
    format::{decode_record, encode_record},
    table,
};

/// How long leases still run by the leader's clock, so that a successor need not give them their whole time again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseCheckpoint {
    /// The Raft term of the leader whose clock it is. In any other term the command does nothing.
    pub term: u64,
    pub leases: Vec<CheckpointedLease>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointedLease {
    pub id: LeaseId,
    /// [`Lease::granted_at`](super::Lease::granted_at) of the lease that is meant, not of a later one with the same id.
    pub granted_at: u64,
    /// Seconds; none where it has its whole time again.
    pub remaining: Option<i64>,
}

/// Seconds that a lease still ran at its last checkpoint; none if it had its whole time since.
pub fn remaining(read: &dyn Read, id: LeaseId) -> Result<Option<i64>, Halt> {
    let bytes = read.get(table::LEASE_REMAINING, &lease_key(id))?;
    bytes.map(|bytes| decode_record(kind::LEASE_REMAINING, &bytes)).transpose()
}

/// Applies a checkpoint in `term`; leases that are gone are skipped.
pub(crate) fn checkpoint(state: &mut dyn Write, term: u64, command: &LeaseCheckpoint) -> Result<(), Halt> {
    if command.term != term {
        return Ok(());
    }
    for one in &command.leases {
        if lease(&*state, one.id)?.is_none_or(|lease| lease.granted_at != one.granted_at) {
            continue;
        }
        let key = lease_key(one.id).to_vec();
        match one.remaining {
            Some(seconds) => {
                state.put(table::LEASE_REMAINING, key, encode_record(kind::LEASE_REMAINING, &seconds)?);
            }
            None => state.delete(table::LEASE_REMAINING, key),
        }
    }
    Ok(())
}
