use holdfast_passphrase::Encryption;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a backup holds, readable without its passphrase. Fields are only added, each with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the server that made it.
    pub release: String,
    /// Unix time in milliseconds.
    pub created_ms: u64,
    /// The cluster's id at its birth.
    pub cluster: Uuid,
    pub members: Vec<Member>,
    pub lineage: Uuid,
    /// Restores before this lineage.
    pub lineage_ordinal: u32,
    /// Of the user keyspace.
    pub revision: i64,
    pub compacted: Option<i64>,
    pub system_revision: u64,
    /// Raft groups in the order in which they follow.
    pub groups: Vec<Group>,
    /// How the parts are sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub peer_urls: Vec<String>,
}

/// One Raft group's part of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// The last log entry that is in it.
    pub term: u64,
    pub index: u64,
}
