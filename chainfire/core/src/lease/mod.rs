//! Leases: what was granted and which keys hang on it. Clocks are the leader's business; the state machine only
//! learns of grants, revocations, and the leader's decision that leases have expired.

mod checkpoint;
mod clock;
mod store;

use serde::{Deserialize, Serialize};

pub(crate) use checkpoint::checkpoint;
pub use checkpoint::{CheckpointedLease, LeaseCheckpoint, remaining};
pub use clock::{Clock, Inherited, Renewal};
pub use store::{Lease, import, keys, lease, leases};
pub(crate) use store::{attach, detach, end, grant};

/// The longest time to live, in seconds.
pub const MAX_TTL: i64 = 9_000_000_000;

/// 0 is no lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId(pub i64);

impl LeaseId {
    pub const NONE: Self = Self(0);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseGrant {
    /// Never [`LeaseId::NONE`]: where the client left the choice open, the proposer has drawn an id.
    pub id: LeaseId,
    /// Seconds, as asked for.
    pub ttl: i64,
    /// Seconds: a shorter `ttl` is raised to this.
    pub min_ttl: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRevoke {
    pub id: LeaseId,
}

/// The leader's clock says that these leases are over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseExpire {
    /// The Raft term of the leader that decided. In any other term the command does nothing: a leader that was
    /// deposed meanwhile cannot end leases that its successor has renewed.
    pub term: u64,
    pub leases: Vec<ExpiredLease>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiredLease {
    pub id: LeaseId,
    /// [`Lease::granted_at`] of the lease that is meant, not of a later one with the same id.
    pub granted_at: u64,
}
