use chainfire_core::kv::Revision;

use super::Verdict;

/// Monotonic revision: whoever asks after an answer with a revision was given sees at least that revision, and a write
/// gets a greater one.
#[derive(Debug, Default)]
pub(in crate::sim) struct MonotonicRevision {
    answered: Revision,
}

/// The greatest revision that any client knew when a request began.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct Floor(Revision);

impl MonotonicRevision {
    pub(in crate::sim) fn begin(&self) -> Floor {
        Floor(self.answered)
    }

    pub(in crate::sim) fn written(&mut self, floor: Floor, revision: Revision) -> Verdict {
        self.answered = self.answered.max(revision);
        if revision > floor.0 {
            return Ok(());
        }
        Err(format!("monotonic revision: a write got {}, after {} was given", revision.0, floor.0.0))
    }

    pub(in crate::sim) fn read(&mut self, floor: Floor, revision: Revision) -> Verdict {
        self.answered = self.answered.max(revision);
        if revision >= floor.0 {
            return Ok(());
        }
        Err(format!("monotonic revision: a read saw {}, after {} was given", revision.0, floor.0.0))
    }
}
