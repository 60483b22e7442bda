use std::fmt;

use configsrv_fleet::Version;
use serde::{Deserialize, Serialize};

use crate::Error;

/// What the servers were last asked for, and what came of it. A dry run is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Looked {
    pub at_ms: u64,
    pub result: SyncResult,
    /// The version that it was about, as far as that is known.
    pub version: Option<Version>,
    /// Why it failed: a word and a sentence.
    #[serde(default)]
    pub failure: Option<Error>,
}

/// How syncs end, and what becomes of what they applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SyncResult {
    Unchanged,
    /// Active, confirmed or not; or its number adopted.
    Applied,
    /// Nobody answered, or what came was refused before anything was touched.
    Failed,
    Confirmed,
    RolledBack,
}

impl SyncResult {
    pub(crate) const ALL: [Self; 5] = [Self::Unchanged, Self::Applied, Self::Failed, Self::Confirmed, Self::RolledBack];

    /// The word in metrics and JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Confirmed => "confirmed",
            Self::RolledBack => "rolled_back",
        }
    }
}

impl fmt::Display for SyncResult {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::RolledBack => "rolled back",
            Self::Unchanged | Self::Applied | Self::Failed | Self::Confirmed => self.as_str(),
        })
    }
}
