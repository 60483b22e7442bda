//! What leases have left, in the state: without it long leases live for ever where leaders change often.

use std::time::Duration;

use chainfire_core::{
    Origin,
    cluster::ClusterCommand,
    lease::{self, CheckpointedLease, LeaseCheckpoint, LeaseId},
};

use crate::{request::request_id, store::Store};

/// Leases of one log entry.
const ENTRY_LEASES: usize = 1_000;

/// Writes down what `leases` have left by the clock of the leader of `term`.
pub(super) async fn write(store: &Store, term: u64, leases: &[(LeaseId, Duration)]) {
    for part in leases.chunks(ENTRY_LEASES) {
        let seconds = |left: Duration| i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        let left = part.iter().map(|(id, left)| (*id, Some(seconds(*left))));
        if let Err(error) = propose(store, term, left).await {
            tracing::warn!(error, leases = part.len(), "what leases have left is not written down");
            return;
        }
    }
}

/// Forgets a checkpoint before the lease gets its whole time again, so that no successor goes on from it.
pub(super) async fn forget(store: &Store, term: u64, id: LeaseId) -> Result<(), String> {
    match lease::remaining(store.group().state(), id) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => propose(store, term, std::iter::once((id, None))).await,
        Err(halt) => Err(halt.to_string()),
    }
}

async fn propose(store: &Store, term: u64, leases: impl Iterator<Item = (LeaseId, Option<i64>)>) -> Result<(), String> {
    let view = store.view();
    let mut checkpointed = Vec::new();
    for (id, remaining) in leases {
        if let Some(stored) = lease::lease(&view, id).map_err(|halt| halt.to_string())? {
            checkpointed.push(CheckpointedLease { id, granted_at: stored.granted_at, remaining });
        }
    }
    // A view is not kept over an await.
    drop(view);
    let command = ClusterCommand::LeaseCheckpoint(LeaseCheckpoint { term, leases: checkpointed });
    let origin = Origin::system("lease-checkpoint", request_id());
    store.govern(origin, command).await.map(|_| ()).map_err(|error| error.to_string())
}
