use std::collections::BTreeMap;

use chainfire_core::kv::{Revision, RevisionEvents};

use super::Verdict;

/// No lost acknowledged write: what a client was told is done stays done, at the revision that it was told, and every
/// linearizable read that begins afterwards sees it.
#[derive(Debug, Default)]
pub(in crate::sim) struct NoLostWrite {
    acknowledged: BTreeMap<Revision, Vec<u8>>,
}

impl NoLostWrite {
    /// A put of `value` was answered with `revision`.
    pub(in crate::sim) fn acknowledge(&mut self, revision: Revision, value: &[u8]) -> Verdict {
        match self.acknowledged.insert(revision, value.to_vec()) {
            None => Ok(()),
            Some(_) => Err(format!("lost write: revision {} was given to two writes", revision.0)),
        }
    }

    /// Compares everything that was acknowledged up to `upto` with a server's whole history.
    pub(in crate::sim) fn compare(&self, upto: Revision, history: &[RevisionEvents]) -> Verdict {
        let history: BTreeMap<Revision, &RevisionEvents> =
            history.iter().map(|revision| (revision.revision, revision)).collect();
        for (revision, value) in self.acknowledged.range(..=upto) {
            let written = |events: &&RevisionEvents| events.events.iter().any(|event| event.kv.value == *value);
            if history.get(revision).is_none_or(|events| !written(events)) {
                let value = String::from_utf8_lossy(value);
                return Err(format!("lost write: {value}, acknowledged at revision {}, is gone", revision.0));
            }
        }
        Ok(())
    }

    pub(in crate::sim) fn newest(&self) -> Revision {
        self.acknowledged.last_key_value().map_or(Revision::FRESH, |(revision, _)| *revision)
    }

    pub(in crate::sim) fn count(&self) -> usize {
        self.acknowledged.len()
    }
}
