use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::invariants::{
    ElectionSafety, GaplessWatch, LeaseNeverEarly, LogMatching, MonotonicRevision, NoLostWrite, Verdict,
};

/// Everything that a run has shown: the invariants, what was done, and what went wrong first. Clones share it.
#[derive(Clone)]
pub(super) struct Record(Arc<Mutex<Inner>>);

pub(super) struct Inner {
    began: Instant,
    pub(super) elections: ElectionSafety,
    pub(super) logs: LogMatching,
    pub(super) writes: NoLostWrite,
    pub(super) revisions: MonotonicRevision,
    pub(super) watches: GaplessWatch,
    pub(super) leases: LeaseNeverEarly,
    pub(super) rejoins: usize,
    pub(super) snapshots: usize,
    /// Leaders that gave up for their disks.
    pub(super) step_downs: usize,
    trace: Vec<String>,
    violation: Option<String>,
}

impl Record {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            began: Instant::now(),
            elections: ElectionSafety::default(),
            logs: LogMatching::default(),
            writes: NoLostWrite::default(),
            revisions: MonotonicRevision::default(),
            watches: GaplessWatch::default(),
            leases: LeaseNeverEarly::default(),
            rejoins: 0,
            snapshots: 0,
            step_downs: 0,
            trace: Vec::new(),
            violation: None,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    pub(super) fn note(&self, what: impl Into<String>) {
        self.lock().note(&what.into());
    }

    /// Keeps the first thing that went wrong.
    pub(super) fn judge(&self, verdict: impl FnOnce(&mut Inner) -> Verdict) {
        let mut inner = self.lock();
        if let Err(reason) = verdict(&mut inner) {
            inner.note(&format!("VIOLATION: {reason}"));
            inner.violation.get_or_insert(reason);
        }
    }

    pub(super) fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }
}

impl Inner {
    fn note(&mut self, what: &str) {
        let at = self.began.elapsed().as_millis();
        self.trace.push(format!("{at:>7} ms  {what}"));
    }
}
