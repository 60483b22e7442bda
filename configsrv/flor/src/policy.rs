//! Who starts a sync, and who confirms.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    pub sync: SyncMode,
    pub confirm: ConfirmPolicy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SyncMode {
    /// Only `flor sync`.
    Manual,
    /// The servers say at once when there is something new.
    Watch,
    /// The servers are asked from time to time.
    Timer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConfirmPolicy {
    /// Only `flor sync --confirm`.
    Manual,
    /// The daemon, once the servers are reached through the new version and all of its probes have held.
    Health,
}

impl Policy {
    /// A machine that syncs by itself confirms by itself, unless somebody says otherwise: else each of its updates would
    /// be rolled back.
    pub(crate) fn new(sync: SyncMode, confirm: Option<ConfirmPolicy>) -> Self {
        let usual = if sync == SyncMode::Manual { ConfirmPolicy::Manual } else { ConfirmPolicy::Health };
        Self { sync, confirm: confirm.unwrap_or(usual) }
    }
}

impl fmt::Display for SyncMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Manual => "manual",
            Self::Watch => "watch",
            Self::Timer => "timer",
        })
    }
}

impl fmt::Display for ConfirmPolicy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Manual => "manual",
            Self::Health => "health",
        })
    }
}
