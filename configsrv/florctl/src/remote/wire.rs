//! The JSON of the HTTP interface. Unknown members are ignored: newer servers may say more.

use std::collections::BTreeMap;

use configsrv_fleet::{AccessDelta, Change, Digest, NodeName, Sequence, Version};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: String,
    pub(super) message: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct VersionPage {
    pub(crate) current: Version,
    pub(crate) versions: Vec<Published>,
    #[serde(default)]
    pub(crate) more: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Published {
    pub(crate) version: Version,
    pub(crate) tree_digest: Digest,
    pub(crate) nodes: u32,
    pub(crate) published_ms: u64,
    pub(crate) published_by: String,
    pub(crate) note: Option<String>,
    pub(crate) git_commit: Option<String>,
    #[serde(default)]
    pub(crate) pruned: bool,
}

/// What changed from one published version to another.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Changes {
    pub(crate) from: Version,
    pub(crate) to: Version,
    pub(crate) access: AccessDelta,
    pub(crate) changed: BTreeMap<NodeName, Change>,
    pub(crate) added: Vec<NodeName>,
    pub(crate) removed: Vec<NodeName>,
    pub(crate) restarts: Vec<NodeName>,
    #[serde(default)]
    pub(crate) unreadable: Vec<NodeName>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct NodePage {
    pub(crate) version: Version,
    pub(crate) nodes: Vec<Node>,
    pub(crate) more: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) published: bool,
    pub(crate) stale: bool,
    /// A word; newer servers may have others.
    #[serde(default)]
    pub(crate) phase: String,
    /// What the phase is about.
    #[serde(default)]
    pub(crate) version: Version,
    #[serde(default)]
    pub(crate) since_ms: u64,
    pub(crate) deadline_ms: Option<u64>,
    #[serde(default)]
    pub(crate) reason: String,
    /// The phase whose time is over.
    pub(crate) was: Option<String>,
    pub(crate) fetched: Option<Fetch>,
    pub(crate) looked_at: Option<Fetch>,
    pub(crate) reported: Option<Status>,
    /// When it spoke to the server that answered last, since that server started.
    pub(crate) seen_ms: Option<u64>,
    pub(crate) revocations: Option<Reached>,
}

/// The revocations that count on a node.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Reached {
    pub(crate) sequence: Sequence,
    pub(crate) at_ms: u64,
}

/// A version, and when something happened to it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Fetch {
    pub(crate) version: Version,
    pub(crate) at_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Status {
    pub(crate) offered: Option<Version>,
    pub(crate) active: Option<Version>,
    pub(crate) pending: Option<Version>,
    pub(crate) confirmed: Option<Version>,
    pub(crate) rolled_back: Option<Version>,
    pub(crate) rejected: Option<Version>,
    /// What failed there and was let in again.
    pub(crate) released: Option<Fetch>,
    pub(crate) digest: Option<Digest>,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) result: Option<String>,
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) carried: Vec<Carried>,
    pub(crate) drift: Option<Drift>,
    #[serde(default)]
    pub(crate) reported_ms: u64,
}

/// An artifact that a person brought to a node, past the servers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Carried {
    pub(crate) version: Version,
    pub(crate) digest: Digest,
    pub(crate) at_ms: u64,
    #[serde(default)]
    pub(crate) unproven: bool,
}

/// Files of a node that are not as its version wrote them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Drift {
    pub(crate) policy: String,
    pub(crate) files: u32,
    #[serde(default)]
    pub(crate) first: Vec<String>,
}

impl Status {
    /// The newest version that the node names: one that is admitted next has to be newer.
    pub(crate) fn newest(&self) -> Option<Version> {
        [self.offered, self.active, self.pending, self.confirmed, self.rolled_back].into_iter().flatten().max()
    }
}

/// The answer to a publish.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Admitted {
    pub(crate) version: Version,
    pub(crate) tree_digest: Digest,
    pub(crate) nodes: usize,
    pub(crate) unchanged: bool,
}

/// The answer to revocations.
#[derive(Debug, Deserialize)]
pub(crate) struct Taken {
    pub(crate) sequence: Sequence,
}

/// Rows of the history, the oldest first, by column.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Events {
    pub(crate) events: Vec<Map<String, Value>>,
    pub(crate) more: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LockGroups {
    pub(crate) groups: Vec<LockGroup>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct LockGroup {
    pub(crate) group: String,
    pub(crate) slots_in_force: u32,
    pub(crate) frozen: Option<String>,
    pub(crate) holders: Vec<LockHolder>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct LockHolder {
    pub(crate) id: String,
    pub(crate) owner: Option<String>,
    pub(crate) granted_at_ms: u64,
    pub(crate) last_seen_ms: u64,
    pub(crate) grant: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Released {
    pub(crate) held: bool,
}
