use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    alarm::Alarm,
    cluster::{Genesis, Limits, Member},
    journal::{AuditPolicy, JournalPosition},
    lease::LeaseCheckpoint,
};

/// A command of the servers themselves or of an administrator of the cluster. Variants are appended, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterCommand {
    Genesis(GenesisCommand),
    NewLineage(NewLineage),
    RaiseFeatureLevel {
        level: u32,
    },
    SetLimits(Limits),
    AuditPolicySet(AuditPolicy),
    /// Every record up to this one is safe in the history: drop them.
    AuditShipped {
        upto: JournalPosition,
    },
    /// Remove compacted rows, looking at no more than this many. Proposed by the leader until nothing is left.
    CompactStep {
        rows: u32,
    },
    AlarmRaise(Alarm),
    AlarmClear(Alarm),
    LeaseCheckpoint(LeaseCheckpoint),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenesisCommand {
    pub cluster: Uuid,
    pub members: Vec<Member>,
    pub lineage: Uuid,
    pub feature_level: u32,
    /// Whether changes are recorded in the audit journal. False only for a store that stands alone: nothing would
    /// ever ship its records.
    pub journal: bool,
    pub limits: Limits,
    pub audit: AuditPolicy,
}

/// A restored state goes on under a new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLineage {
    pub id: Uuid,
    /// Must be the current lineage, so that a repeated command does nothing.
    pub parent: Uuid,
    /// The last log index of `parent` that the restored state holds.
    pub cut: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterAnswer {
    Done,
    Genesis(Genesis),
    /// Bytes of records that the journal still holds.
    AuditShipped {
        used: u64,
    },
    /// `finished`: nothing below the compacted revision is left to remove.
    CompactStep {
        removed: u64,
        finished: bool,
    },
    /// The alarm that was raised, also if it was active before, or that was cleared; nothing if there was none.
    Alarm(Option<Alarm>),
}
