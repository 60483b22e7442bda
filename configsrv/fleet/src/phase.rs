use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a node is with what is published for it, in the words that servers and tools share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing has ever been published for it.
    Unpublished,
    /// It has not fetched what is published.
    Offered,
    /// Somebody on the node looked at it, without activating anything.
    LookedAt,
    /// Fetched, and nothing was said about it.
    Fetched,
    /// Verified and about to be activated, or in the middle of it.
    Activating,
    /// Active under the guard: the node goes back unless it is confirmed.
    Pending,
    /// What is published is what runs, for good.
    Confirmed,
    /// It was tried and failed, or nobody confirmed it: the node went back.
    RolledBack,
    /// The same content was rolled back under another number, so the node does not try it again by itself.
    Rejected,
    /// Refused before anything was touched.
    Refused,
    /// The way back failed, too.
    Degraded,
    /// The node has more than the servers know, as after a restore of theirs: it stays as it is.
    Paused,
    /// A phase that leads to another one has lasted longer than it may.
    Overdue,
    /// The current version has nothing for this node, which keeps what it has.
    Removed,
}

impl Phase {
    pub const ALL: [Self; 14] = [
        Self::Unpublished,
        Self::Offered,
        Self::LookedAt,
        Self::Fetched,
        Self::Activating,
        Self::Pending,
        Self::Confirmed,
        Self::RolledBack,
        Self::Rejected,
        Self::Refused,
        Self::Degraded,
        Self::Paused,
        Self::Overdue,
        Self::Removed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unpublished => "unpublished",
            Self::Offered => "offered",
            Self::LookedAt => "looked_at",
            Self::Fetched => "fetched",
            Self::Activating => "activating",
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::RolledBack => "rolled_back",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Degraded => "degraded",
            Self::Paused => "paused",
            Self::Overdue => "overdue",
            Self::Removed => "removed",
        }
    }

    /// The phase with this word; a newer server may have others.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word)
    }

    /// Whether something else has to follow. Such a phase has a deadline, and is [`Phase::Overdue`] after it.
    pub fn is_waiting(self) -> bool {
        match self {
            Self::Offered | Self::LookedAt | Self::Fetched | Self::Activating | Self::Pending => true,
            Self::Unpublished
            | Self::Confirmed
            | Self::RolledBack
            | Self::Rejected
            | Self::Refused
            | Self::Degraded
            | Self::Paused
            | Self::Overdue
            | Self::Removed => false,
        }
    }

    /// Whether nothing follows until somebody does something about it.
    pub fn is_failure(self) -> bool {
        match self {
            Self::RolledBack | Self::Rejected | Self::Refused | Self::Degraded | Self::Paused | Self::Overdue => true,
            Self::Unpublished
            | Self::Offered
            | Self::LookedAt
            | Self::Fetched
            | Self::Activating
            | Self::Pending
            | Self::Confirmed
            | Self::Removed => false,
        }
    }
}

impl fmt::Display for Phase {
    /// As people read it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.as_str().replace('_', " "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_everywhere() {
        for phase in Phase::ALL {
            assert_eq!(Phase::named(phase.as_str()), Some(phase));
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
            assert!(!(phase.is_waiting() && phase.is_failure()), "{phase}");
        }
        assert_eq!(Phase::named("rolled back"), None);
        assert_eq!(Phase::RolledBack.to_string(), "rolled back");
    }
}
