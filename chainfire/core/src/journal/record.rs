use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Origin;

/// Where a record is: ordered within a lineage, unique over the life of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JournalPosition {
    pub lineage: Uuid,
    /// Raft log index of the entry that made the change.
    pub index: u64,
    /// Counts the records of one entry from 0.
    pub sub: u32,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRecord {
    pub position: JournalPosition,
    /// Unix time in milliseconds, as the proposer stamped the command.
    pub time_ms: u64,
    pub origin: Origin,
    /// E.g. `kv.Put`, `kv.Delete`, `lease.Expire`, `iam.SigningKeyActivate`, `lock.Acquire`.
    pub action: String,
    /// E.g. `key/<printable key>`, `lease/<id>`, `lock/<group>/<id>`; control bytes are escaped.
    pub resource: String,
    pub outcome: Outcome,
    /// What the caller gave as its reason, where the call asks for one.
    pub reason: Option<String>,
    /// The user or system revision that the change created, if it created one.
    pub revision: Option<u64>,
    /// SHA-256 of the value before and after, at audit level `digest`.
    pub before: Option<[u8; 32]>,
    pub after: Option<[u8; 32]>,
}

/// How the change ended. Order is part of the stored format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Done,
    /// Refused by the state machine, and why.
    Refused(String),
}
