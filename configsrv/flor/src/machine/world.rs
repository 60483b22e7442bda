use configsrv_fleet::{Digest, Signer, Version, diff::Class};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Carried, Effect, Guard, Looked};

/// How many rejected contents are remembered.
const MOST_REJECTED: usize = 32;

/// A version and what it contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub version: Version,
    pub digest: Digest,
}

/// Everything durable: what is confirmed, what is under way, and where the pointer points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    pub state: AgentState,
    pub pending: Option<Pending>,
    /// The version that runs.
    pub current: Option<Version>,
}

/// What the agent knows for sure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentState {
    /// The last version that was confirmed or needed no confirmation. Nothing older is accepted: this is the
    /// high-water mark, which a version under guard does not move.
    pub confirmed: Option<Target>,
    /// Who signed that. It may be somebody whose signature does not count any more; absent in records of earlier releases.
    #[serde(default)]
    pub signed_by: Option<Signer>,
    /// What was confirmed before. Its set is kept, nothing else of it.
    #[serde(default)]
    pub previous: Option<Version>,
    /// Whose signatures count: pinned at enrolment or with the first artifact, moved by confirmed ones.
    #[serde(default)]
    pub signers: Vec<Signer>,
    /// The newest version that was offered and verified.
    #[serde(default)]
    pub offered: Option<Version>,
    /// Contents that this node went back from, the newest last.
    #[serde(default)]
    pub rejected: Vec<Rejected>,
    /// What was let in again last, after it had failed here.
    #[serde(default)]
    pub released: Option<Released>,
    /// What was refused last before anything was touched, until something is accepted.
    #[serde(default)]
    pub refused: Option<Refused>,
    /// Set when the way back failed too, until a version is confirmed.
    #[serde(default)]
    pub degraded: Option<String>,
    #[serde(default)]
    pub last: Option<LastChange>,
    /// How the last sync ended that somebody typed, or that changed something.
    #[serde(default, deserialize_with = "as_far_as_known")]
    pub looked: Option<Looked>,
    /// Files that are being written again, and whose programs are to be told.
    #[serde(default)]
    pub repairing: Vec<String>,
    /// When files were written again last, and how that ended.
    #[serde(default)]
    pub repaired: Option<Repaired>,
    /// What people brought here and the servers have not heard of yet, the newest last.
    #[serde(default)]
    pub carried: Vec<Carried>,
}

/// A content that was tried here and failed. Version numbers come and go; what failed is the content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rejected {
    pub target: Target,
    pub reason: String,
    pub at_ms: u64,
}

/// A version that failed here and was let in again. The moment tells one release from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Released {
    pub version: Version,
    pub at_ms: u64,
}

/// An artifact that is none for this node, or not a trusted one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// What it says it is; nothing of it is verified.
    pub version: Option<Version>,
    pub reason: String,
    pub at_ms: u64,
}

/// What the last sync came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastChange {
    pub result: String,
    pub version: Version,
    pub at_ms: u64,
}

/// Files that were written again, since somebody else had changed them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Repaired {
    pub paths: Vec<String>,
    pub at_ms: u64,
    /// Why not all of it came about.
    pub failure: Option<String>,
}

/// A change under way. It is on disk before anything is touched, and goes last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// What was confirmed before and is gone back to; nothing on a node's first sync.
    pub from: Option<Target>,
    pub to: Target,
    /// Who signed `to`; absent in records of earlier releases.
    #[serde(default)]
    pub signed_by: Option<Signer>,
    pub class: Class,
    /// Whose signatures count once this is confirmed.
    pub signers: Vec<Signer>,
    /// Absent when no confirmation is asked for.
    pub guard: Option<Guard>,
    /// A person brought it here, not the servers.
    #[serde(default)]
    pub carried: bool,
    pub phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Phase {
    Activating,
    /// Active, waiting for its confirmation.
    Guarded,
    /// On the way back, which nothing turns round. `reject` says whether the content is to blame.
    RollingBack {
        reason: String,
        reject: bool,
    },
}

/// What is only shown must not keep an older release from reading the rest.
fn as_far_as_known<'de, D: Deserializer<'de>>(given: D) -> Result<Option<Looked>, D::Error> {
    let value = serde_json::Value::deserialize(given)?;
    Ok(serde_json::from_value(value).ok())
}

impl World {
    /// What `effect` makes of the world, once it is done.
    pub(crate) fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::SaveState(state) => self.state = state.clone(),
            Effect::SavePending(pending) => self.pending = Some(pending.clone()),
            Effect::ClearPending => self.pending = None,
            Effect::Point(version) => self.current = *version,
            Effect::Activate { .. }
            | Effect::Restore { .. }
            | Effect::Rewrite { .. }
            | Effect::DropOriginals
            | Effect::Sweep { .. }
            | Effect::Tell(_) => {}
        }
    }

    /// The sets that something still refers to.
    pub(crate) fn retained(&self) -> Vec<Version> {
        let pending = self.pending.as_ref();
        let of_pending = pending.into_iter().flat_map(|pending| [Some(pending.to), pending.from]);
        let targets = of_pending.chain([self.state.confirmed]).flatten().map(|target| target.version);
        targets.chain(self.state.previous).chain(self.current).collect()
    }

    /// What is known to be in a staged set, from when it was verified.
    pub(crate) fn digest(&self, version: Version) -> Option<Digest> {
        let pending = self.pending.as_ref();
        let of_pending = pending.into_iter().flat_map(|pending| [Some(pending.to), pending.from]);
        let mut targets = of_pending.chain([self.state.confirmed]).flatten();
        targets.find(|target| target.version == version).map(|target| target.digest)
    }

    /// Who signed a staged set, from when it was verified: whose signatures count may have changed since.
    pub(crate) fn signer(&self, version: Version) -> Option<&Signer> {
        if self.state.confirmed.is_some_and(|confirmed| confirmed.version == version) {
            return self.state.signed_by.as_ref();
        }
        let pending = self.pending.as_ref().filter(|pending| pending.to.version == version)?;
        pending.signed_by.as_ref()
    }

    /// The newest version that failed here, if nothing newer was confirmed since.
    pub(crate) fn failed(&self) -> Option<&Rejected> {
        let newest = self.state.rejected.iter().max_by_key(|rejected| rejected.target.version)?;
        let confirmed = self.state.confirmed.map(|confirmed| confirmed.version);
        Some(newest).filter(|newest| Some(newest.target.version) > confirmed)
    }

    /// What runs now, under guard or not.
    pub(crate) fn active(&self) -> Option<Target> {
        let pending = self.pending.as_ref().filter(|pending| self.current == Some(pending.to.version));
        pending.map(|pending| pending.to).or(self.state.confirmed)
    }
}

impl AgentState {
    pub(crate) fn rejection(&self, target: &Target) -> Option<&Rejected> {
        self.rejected.iter().find(|rejected| rejected.target.digest == target.digest)
    }

    pub(super) fn reject(&mut self, target: Target, reason: &str, at_ms: u64) {
        self.rejected.retain(|rejected| rejected.target.digest != target.digest);
        self.rejected.push(Rejected { target, reason: reason.to_owned(), at_ms });
        let excess = self.rejected.len().saturating_sub(MOST_REJECTED);
        self.rejected.drain(..excess);
    }

    /// Lets a content in again that failed here.
    pub(super) fn release(&mut self, target: &Target, at_ms: u64) {
        if let Some(rejected) = self.rejection(target) {
            self.released = Some(Released { version: rejected.target.version, at_ms });
            self.rejected.retain(|rejected| rejected.target.digest != target.digest);
        }
    }

    pub(super) fn note(&mut self, result: &str, version: Version, at_ms: u64) {
        self.last = Some(LastChange { result: result.to_owned(), version, at_ms });
    }
}
