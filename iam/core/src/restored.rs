use serde::{Deserialize, Serialize};

use crate::record::Record;

/// The last restore. A state that goes on under another lineage than this one was restored again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The lineage that it began.
    pub lineage: String,
    pub noticed_ms: u64,
    /// Absent while identities wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub at_ms: u64,
    pub by: String,
}

impl Record for Restored {}
