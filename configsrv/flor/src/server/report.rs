use configsrv_fleet::{Digest, Version, artifact::DriftPolicy};
use serde::Serialize;

use crate::{
    drift::Drift,
    machine::{Carried, Released, Told, World},
};

/// Characters of a reason that servers take.
const LONGEST_REASON: usize = 500;
/// Files of a drift that are named, and characters of each.
const MOST_FILES: usize = 8;
const LONGEST_FILE: usize = 200;

/// A report on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<Version>,
    /// What was refused before anything was touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Version>,
    /// What was let in again last, after it had failed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// The same moment, in a form that a clock which is wrong does not spoil.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// What people brought here, past the servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
    /// Files that somebody else changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<ReportedDrift>,
}

/// Which files drifted, as far as a report has room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ReportedDrift {
    pub policy: DriftPolicy,
    pub files: usize,
    /// The first of them, and what is the matter.
    pub first: Vec<String>,
}

impl ReportedDrift {
    pub(crate) fn of(drift: &Drift) -> Self {
        let shortened = |text: String| text.chars().take(LONGEST_FILE).collect();
        let first = drift.files.iter().take(MOST_FILES).map(|file| shortened(file.to_string())).collect();
        Self { policy: drift.policy, files: drift.files.len(), first }
    }
}

impl Report {
    /// What `world` is after a transition.
    pub(crate) fn of(world: &World, told: &Told) -> Self {
        let (result, reason) = match told {
            Told::Unchanged => (None, None),
            Told::Acknowledged => (Some("acknowledged"), None),
            Told::Pending => (Some("pending"), None),
            Told::Confirmed { evidence } => (Some("confirmed"), evidence.clone()),
            Told::Adopted => (Some("adopted"), None),
            Told::Rejected { reason, .. } => (Some("rejected"), Some(reason.clone())),
            Told::RolledBack { reason, .. } => (Some("rolled_back"), Some(reason.clone())),
            Told::Degraded { reason, .. } => (Some("degraded"), Some(reason.clone())),
        };
        let rejected = match told {
            Told::Rejected { version, .. } => *version,
            _ => None,
        };
        let pending = world.pending.as_ref();
        Self {
            offered: world.state.offered,
            active: world.active().map(|active| active.version),
            pending: pending.map(|pending| pending.to.version),
            confirmed: world.state.confirmed.map(|confirmed| confirmed.version),
            rejected,
            released: world.state.released,
            rolled_back: world.state.rejected.last().map(|rejected| rejected.target.version),
            digest: pending.map(|pending| pending.to.digest).or(world.active().map(|active| active.digest)),
            deadline_ms: pending.and_then(|pending| pending.guard.as_ref()).map(|guard| guard.deadline_wall_ms),
            left_ms: None,
            result,
            reason: reason.map(|reason| reason.chars().take(LONGEST_REASON).collect()),
            nonce: None,
            carried: world.state.carried.clone(),
            drift: None,
        }
    }
}
