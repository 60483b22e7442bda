use std::collections::BTreeMap;

use configsrv_fleet::artifact::DriftPolicy;

use super::Drift;

/// A file that is changed again so often within an hour is somebody else's: two who write it in turns help nobody.
const MOST_REPAIRS: usize = 3;
const HOUR_MS: u64 = 3_600_000;

/// Which files were written again, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct Repairs(BTreeMap<String, Vec<u64>>);

/// What to do about a drift, apart from telling it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Nothing,
    /// These are written again.
    Repair(Vec<String>),
    /// These were written again in vain.
    LeaveAlone(Vec<String>),
}

/// Looks at nothing but its arguments; the time is since boot.
pub(super) fn decide(drift: &Drift, repairs: &Repairs, now_ms: u64) -> Decision {
    if drift.policy != DriftPolicy::Repair || drift.files.is_empty() {
        return Decision::Nothing;
    }
    let paths = drift.files.iter().map(|file| file.path.clone());
    let (vain, due): (Vec<_>, Vec<_>) = paths.partition(|path| repairs.lately(path, now_ms) >= MOST_REPAIRS);
    if due.is_empty() { Decision::LeaveAlone(vain) } else { Decision::Repair(due) }
}

impl Repairs {
    /// They were written again now, or that was tried.
    pub(super) fn note(&mut self, paths: &[String], now_ms: u64) {
        self.0.retain(|_, times| {
            times.retain(|at| now_ms.saturating_sub(*at) < HOUR_MS);
            !times.is_empty()
        });
        for path in paths {
            self.0.entry(path.clone()).or_default().push(now_ms);
        }
    }

    fn lately(&self, path: &str, now_ms: u64) -> usize {
        let times = self.0.get(path).into_iter().flatten();
        times.filter(|at| now_ms.saturating_sub(**at) < HOUR_MS).count()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{DriftedFile, compare::Fault},
        *,
    };

    fn drift(policy: DriftPolicy, paths: &[&str]) -> Drift {
        let file = |path: &&str| DriftedFile { path: (*path).to_owned(), faults: vec![Fault::Content] };
        Drift { policy, files: paths.iter().map(file).collect() }
    }

    fn owned(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|&path| path.to_owned()).collect()
    }

    #[test]
    fn only_one_policy_writes() {
        let none = Repairs::default();
        for (policy, paths, expected) in [
            (DriftPolicy::Report, &["/a"][..], Decision::Nothing),
            (DriftPolicy::Freeze, &["/a"], Decision::Nothing),
            (DriftPolicy::Repair, &[], Decision::Nothing),
            (DriftPolicy::Repair, &["/a", "/b"], Decision::Repair(owned(&["/a", "/b"]))),
        ] {
            assert_eq!(decide(&drift(policy, paths), &none, 0), expected, "{policy}");
        }
    }

    #[test]
    fn whoever_writes_it_again_and_again_wins_for_an_hour() {
        let mut repairs = Repairs::default();
        let both = drift(DriftPolicy::Repair, &["/a", "/b"]);
        for minute in 0..3 {
            assert!(matches!(decide(&both, &repairs, minute * 60_000), Decision::Repair(_)));
            repairs.note(&owned(&["/a"]), minute * 60_000);
        }
        assert_eq!(decide(&both, &repairs, 180_000), Decision::Repair(owned(&["/b"])));
        let one = drift(DriftPolicy::Repair, &["/a"]);
        assert_eq!(decide(&one, &repairs, 180_000), Decision::LeaveAlone(owned(&["/a"])));
        assert_eq!(decide(&one, &repairs, HOUR_MS), Decision::Repair(owned(&["/a"])));
        repairs.note(&owned(&["/b"]), 2 * HOUR_MS);
        assert_eq!(repairs.0.len(), 1, "what is long ago is forgotten");
    }
}
