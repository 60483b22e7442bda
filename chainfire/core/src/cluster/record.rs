use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How the cluster began. Written once, by the first log entry that is not Raft's own; never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// Random; every peer handshake and every backup carries it.
    pub cluster: Uuid,
    pub members: Vec<Member>,
    /// The first lineage.
    pub lineage: Uuid,
    pub feature_level: u32,
    /// Unix time in milliseconds.
    pub time_ms: u64,
}

/// One place in the fixed membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub slot: u16,
    pub name: String,
    pub peer_urls: Vec<String>,
}

/// A history of the cluster without restores. A restore begins a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Random.
    pub id: Uuid,
    /// Counts lineages from 0, so that they can be ordered.
    pub ordinal: u32,
    /// The lineage that the restored backup was taken from.
    pub parent: Option<Uuid>,
    /// The parent's last log index that this lineage shares.
    pub cut: u64,
    /// Unix time in milliseconds.
    pub begun_ms: u64,
}

/// Bounds that every member must apply alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of keys and values in the system keyspace, locks included.
    pub system_bytes: u64,
    /// Bytes of unshipped audit records at which user writes that need one are refused.
    pub journal_bytes: u64,
    /// Further bytes of the journal that only system and cluster commands may use.
    pub journal_reserve: u64,
    /// Lock groups that exist only because somebody asked for a slot in them.
    pub lock_groups: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { system_bytes: 256 << 20, journal_bytes: 1 << 30, journal_reserve: 64 << 20, lock_groups: 1_000 }
    }
}

/// What every command is applied under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub lineage: Uuid,
    pub lineage_ordinal: u32,
    pub feature_level: u32,
    /// Whether changes are recorded in the journal at all.
    pub journal: bool,
    pub limits: Limits,
}
