//! What this process has counted since it began: how syncs ended, and what was started anew for them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::machine::SyncResult;

/// More workloads than these are counted together: their names come with artifacts, and that has no bound.
const MOST_WORKLOADS: usize = 256;
const OTHERS: &str = "others";

/// The data plane among the workloads. The others are units and programs.
pub(crate) const PLANE: &str = "plane";

/// Why something was started anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// A version became active.
    Sync,
    /// What ran before came back.
    Rollback,
    /// Files were written again that somebody else had changed.
    Repair,
    /// It did not run although it should.
    Crash,
}

/// The counters. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    syncs: BTreeMap<SyncResult, u64>,
    restarts: BTreeMap<(String, Cause), u64>,
}

/// The counters, for whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TallyView {
    /// Every result, also those that never came.
    pub syncs: Vec<SyncCount>,
    pub restarts: Vec<RestartCount>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SyncCount {
    pub result: SyncResult,
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RestartCount {
    pub workload: String,
    pub cause: Cause,
    pub count: u64,
}

impl Cause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Rollback => "rollback",
            Self::Repair => "repair",
            Self::Crash => "crash",
        }
    }
}

impl Tally {
    pub(crate) fn ended(&self, result: SyncResult) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.syncs.entry(result).or_default() += 1;
    }

    pub(crate) fn restarted(&self, workload: &str, cause: Cause) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (workload.to_owned(), cause);
        if counts.restarts.len() >= MOST_WORKLOADS && !counts.restarts.contains_key(&key) {
            key.0 = OTHERS.to_owned();
        }
        *counts.restarts.entry(key).or_default() += 1;
    }

    pub(crate) fn view(&self) -> TallyView {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sync = |result| SyncCount { result, count: counts.syncs.get(&result).copied().unwrap_or_default() };
        let restart = |((workload, cause), count): (&(String, Cause), &u64)| RestartCount {
            workload: workload.clone(),
            cause: *cause,
            count: *count,
        };
        TallyView {
            syncs: SyncResult::ALL.into_iter().map(sync).collect(),
            restarts: counts.restarts.iter().map(restart).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_bound_and_series_do() {
        let tally = Tally::default();
        for number in 0..MOST_WORKLOADS + 10 {
            tally.restarted(&format!("unit-{number}.service"), Cause::Sync);
        }
        tally.restarted("unit-0.service", Cause::Sync);
        let view = tally.view();
        let count = |name: &str| view.restarts.iter().find(|series| series.workload == name).unwrap().count;
        assert_eq!((view.restarts.len(), count(OTHERS), count("unit-0.service")), (MOST_WORKLOADS + 1, 10, 2));
    }

    #[test]
    fn every_result_has_a_number() {
        let tally = Tally::default();
        tally.clone().ended(SyncResult::Failed);
        let counts: Vec<_> = tally.view().syncs.iter().map(|sync| (sync.result.as_str(), sync.count)).collect();
        let expected = [("unchanged", 0), ("applied", 0), ("failed", 1), ("confirmed", 0), ("rolled_back", 0)];
        assert_eq!(counts, expected);
    }
}
