use std::sync::Arc;

use chainfire_core::kv::{Revision, RevisionEvents};

use super::Verdict;

/// Watch: gap-free and duplicate-free. A watcher of everything sees every revision once, in order, across all the
/// servers that it asks one after the other, and what it sees is what stays.
#[derive(Debug, Default)]
pub(in crate::sim) struct GaplessWatch {
    seen: Vec<Vec<Arc<RevisionEvents>>>,
}

impl GaplessWatch {
    /// A new watcher's number.
    pub(in crate::sim) fn add(&mut self) -> usize {
        self.seen.push(Vec::new());
        self.seen.len() - 1
    }

    /// The revision that the watcher must see next.
    pub(in crate::sim) fn next(&self, watcher: usize) -> Revision {
        Revision(self.seen[watcher].last().map_or(Revision::FRESH, |last| last.revision).0 + 1)
    }

    pub(in crate::sim) fn sees(&mut self, watcher: usize, events: Arc<RevisionEvents>) -> Verdict {
        let (next, seen) = (self.next(watcher), events.revision);
        self.seen[watcher].push(events);
        if seen == next {
            return Ok(());
        }
        Err(format!("watch: revision {} came where {} was due", seen.0, next.0))
    }

    /// Compares what the watchers have seen with what has happened.
    pub(in crate::sim) fn compare(&self, history: &[RevisionEvents]) -> Verdict {
        for seen in self.seen.iter().flatten() {
            let at = usize::try_from(seen.revision.0 - Revision::FRESH.0 - 1).unwrap_or(usize::MAX);
            let kept = history.get(at).filter(|kept| {
                let mut pairs = kept.events.iter().zip(&seen.events);
                kept.events.len() == seen.events.len() && pairs.all(|(a, b)| a.kind == b.kind && a.kv == b.kv)
            });
            if kept.is_none() {
                return Err(format!("watch: revision {} is not what a watcher has seen", seen.revision.0));
            }
        }
        Ok(())
    }

    pub(in crate::sim) fn events(&self) -> usize {
        self.seen.iter().map(Vec::len).sum()
    }
}
