//! A backup of everything: the state of each Raft group of the process, as one file, while writes go on.

mod make;
mod stream;

use chainfire_raft::{StateDb, View};
use parking_lot::Mutex;

pub(crate) use stream::stream;

/// The states that belong into a backup, by the names of their groups, chainfire's first.
#[derive(Default)]
pub(crate) struct Sources(Mutex<Vec<(&'static str, StateDb)>>);

impl Sources {
    pub(crate) fn add(&self, name: &'static str, state: StateDb) {
        self.0.lock().push((name, state));
    }

    /// A view of each. The history's comes after chainfire's, so that it has everything that the journal has dropped.
    pub(crate) fn views(&self) -> Vec<(&'static str, View)> {
        self.0.lock().iter().map(|(name, state)| (*name, state.snapshot())).collect()
    }
}
