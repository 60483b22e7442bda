use configsrv_fleet::Version;

use super::{LastChange, Refused, World};

/// The transition that the server is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing happened; this is how things are.
    Unchanged,
    /// Before anything is touched, so that a lost network does not swallow it.
    Acknowledged,
    Pending,
    /// By somebody, or by what held.
    Confirmed {
        evidence: Option<String>,
    },
    Adopted,
    /// Refused before anything was touched.
    Rejected {
        version: Option<Version>,
        reason: String,
    },
    RolledBack {
        version: Version,
        reason: String,
    },
    Degraded {
        version: Version,
        reason: String,
    },
}

impl Told {
    /// The last transition, from what is durable; `None` on a node on which nothing has happened yet.
    pub(crate) fn now(world: &World) -> Option<Self> {
        let state = &world.state;
        if world.pending.is_some() {
            return Some(Self::Pending);
        }
        let last = state.last.as_ref();
        if let (Some(reason), Some(LastChange { version, .. })) = (&state.degraded, last) {
            return Some(Self::Degraded { version: *version, reason: reason.clone() });
        }
        // It is forgotten when something is accepted, so it is newer than the last change.
        if let Some(Refused { version, reason, .. }) = &state.refused {
            return Some(Self::Rejected { version: *version, reason: reason.clone() });
        }
        let LastChange { result, version, .. } = last?;
        Some(match result.as_str() {
            "rolled back" => {
                let rejected = state.rejected.iter().find(|rejected| rejected.target.version == *version);
                let reason = rejected.map(|rejected| rejected.reason.clone()).unwrap_or_default();
                Self::RolledBack { version: *version, reason }
            }
            "adopted" => Self::Adopted,
            _ => Self::Confirmed { evidence: None },
        })
    }
}
