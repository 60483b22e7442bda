use configsrv_fleet::{Digest, Version};
use serde::{Deserialize, Serialize};

use super::{AgentState, Target};

/// How many are remembered until the servers know them.
const MOST: usize = 16;

/// An artifact that a person brought to this node, past the servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carried {
    pub version: Version,
    pub digest: Digest,
    pub at_ms: u64,
    /// Somebody kept it without showing that the servers are reached through it.
    #[serde(default)]
    pub unproven: bool,
}

impl AgentState {
    /// The servers are to know of it.
    pub(super) fn carry(&mut self, target: Target, unproven: bool, at_ms: u64) {
        self.carried.retain(|known| (known.version, known.digest) != (target.version, target.digest));
        self.carried.push(Carried { version: target.version, digest: target.digest, at_ms, unproven });
        let excess = self.carried.len().saturating_sub(MOST);
        self.carried.drain(..excess);
    }
}
