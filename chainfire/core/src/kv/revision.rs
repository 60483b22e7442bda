use std::fmt;

use serde::{Deserialize, Serialize};

/// The user keyspace's logical clock: one step for each command that changed it. A fresh store is at 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub i64);

impl Revision {
    /// What a store has before its first change.
    pub const FRESH: Self = Self(1);
    /// After every revision that can exist: "as of now".
    pub const MAX: Self = Self(i64::MAX);

    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
