//! What publishing a tree would do, for those who are about to: nodes with the same change together, the order in which
//! nodes should take it, and what is better done in two versions.

mod edits;
mod groups;
mod guard;
mod listed;
mod order;
mod two_steps;

use crate::{artifact::Payload, diff::TreeDiff};

pub use groups::Group;
pub use listed::listed;
pub use order::Turn;
pub use two_steps::TwoSteps;

/// How long a version waits on a node for its confirmation, if nobody says otherwise: `flor`'s `--commit-timeout`.
pub const COMMIT_TIMEOUT: &str = "5m";

/// What publishing a tree would do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub diff: TreeDiff,
    /// Nodes of the new tree.
    pub nodes: usize,
    /// Changed nodes, the same change together; the largest groups first.
    pub groups: Vec<Group>,
    /// Who should sync before whom, among changed and new nodes.
    pub order: Vec<Turn>,
    /// What breaks connections if it is published at once.
    pub two_steps: Vec<TwoSteps>,
}

impl Plan {
    pub fn between(old: &[Payload], new: &[Payload]) -> Self {
        let diff = TreeDiff::between(old, new);
        Self {
            nodes: new.len(),
            groups: groups::groups(old, new, &diff),
            order: order::order(old, new, &diff),
            two_steps: two_steps::two_steps(old, new),
            diff,
        }
    }

    /// Nodes that adopt the version's number and nothing else.
    pub fn unchanged(&self) -> usize {
        self.nodes - self.diff.changed.len() - self.diff.added.len()
    }

    /// When nodes go back by themselves.
    pub fn guard(&self) -> String {
        guard::sentence(self.diff.changed.len(), self.diff.added.len(), self.unchanged())
    }
}
