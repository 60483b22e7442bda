use std::time::Duration;

use chainfire_server::{AutoCompaction, Limits};

use super::{
    Finding,
    fragment::{AutoCompactionFragment, ChainfireFragment},
    settings::Chainfire,
};

/// A smaller quota would be reached by what is written around the first keys.
const SMALLEST_QUOTA: u64 = 16 << 20;
/// What IAM and the fleet write has to fit, too.
const SMALLEST_REQUEST: u32 = 64 << 10;
const MOST_OPERATIONS: u32 = 4_096;
/// More often, members would do little else than compare themselves.
const SHORTEST_CHECK: u64 = 60;

pub(super) fn validate(file: &ChainfireFragment, findings: &mut Vec<Finding>) -> Chainfire {
    let mut wrong =
        |setting: &str, problem: String| findings.push(Finding::new(format!("chainfire.{setting}"), problem));
    let defaults = Limits::default();

    let quota_bytes = file.quota_bytes.map_or(defaults.quota_bytes, |bytes| Some(bytes).filter(|bytes| *bytes > 0));
    if let Some(bytes) = quota_bytes.filter(|bytes| *bytes < SMALLEST_QUOTA) {
        wrong("quota_bytes", format!("{bytes} is less than {SMALLEST_QUOTA}; 0 is no limit"));
    }
    let request_bytes = file.max_request_bytes.map_or(defaults.request_bytes, |bytes| bytes as usize);
    let requests = SMALLEST_REQUEST as usize..=Limits::LARGEST_REQUEST;
    if !requests.contains(&request_bytes) {
        let (least, most) = requests.into_inner();
        wrong("max_request_bytes", format!("{request_bytes} is not between {least} and {most}"));
    }
    let txn_ops = file.max_txn_ops.map_or(defaults.txn_ops, |operations| operations as usize);
    if txn_ops == 0 || txn_ops > MOST_OPERATIONS as usize {
        wrong("max_txn_ops", format!("{txn_ops} is not between 1 and {MOST_OPERATIONS}"));
    }
    let corrupt_check = file.integrity_check_s.filter(|seconds| *seconds > 0);
    if let Some(seconds) = corrupt_check.filter(|seconds| *seconds < SHORTEST_CHECK) {
        wrong("integrity_check_s", format!("{seconds} is less than {SHORTEST_CHECK}; 0 is never"));
    }
    let progress = file.watch_progress_s.unwrap_or(600);
    if progress == 0 {
        wrong("watch_progress_s", "0 would leave no time for anything else; 1 is the least".to_owned());
    }
    let auto_compaction = auto_compaction(file.auto_compaction, &mut wrong);
    Chainfire {
        limits: Limits { request_bytes, txn_ops, quota_bytes },
        quota_auto_disarm: file.quota_auto_disarm,
        integrity_check: corrupt_check.map(Duration::from_secs),
        watch_progress: Duration::from_secs(progress),
        lease_checkpoints: file.lease_checkpoints,
        auto_compaction,
    }
}

fn auto_compaction(file: AutoCompactionFragment, wrong: &mut impl FnMut(&str, String)) -> Option<AutoCompaction> {
    let revisions = file.keep_revisions.filter(|keep| *keep > 0);
    let hours = file.keep_hours.filter(|keep| *keep > 0);
    match (revisions, hours) {
        (None, None) => None,
        (Some(keep), None) => Some(AutoCompaction::Revisions(keep)),
        (None, Some(keep)) => Some(AutoCompaction::Period(Duration::from_secs(u64::from(keep) * 3_600))),
        (Some(_), Some(_)) => {
            wrong("auto_compaction", "choose one of keep_revisions and keep_hours".to_owned());
            None
        }
    }
}

impl From<&Chainfire> for ChainfireFragment {
    fn from(settings: &Chainfire) -> Self {
        let (keep_revisions, keep_hours) = match settings.auto_compaction {
            None => (None, None),
            Some(AutoCompaction::Revisions(keep)) => (Some(keep), None),
            Some(AutoCompaction::Period(keep)) => (None, u32::try_from(keep.as_secs() / 3_600).ok()),
        };
        Self {
            quota_bytes: Some(settings.limits.quota_bytes.unwrap_or(0)),
            quota_auto_disarm: settings.quota_auto_disarm,
            max_request_bytes: u32::try_from(settings.limits.request_bytes).ok(),
            max_txn_ops: u32::try_from(settings.limits.txn_ops).ok(),
            integrity_check_s: Some(settings.integrity_check.map_or(0, |check| check.as_secs())),
            watch_progress_s: Some(settings.watch_progress.as_secs()),
            lease_checkpoints: settings.lease_checkpoints,
            auto_compaction: AutoCompactionFragment { keep_revisions, keep_hours },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Chainfire, Vec<String>) {
        let mut findings = Vec::new();
        let settings = validate(&serde_saphyr::from_str(text).unwrap(), &mut findings);
        (settings, findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_left_out_is_as_in_etcd() {
        let (settings, findings) = read("{}");
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(settings.limits, Limits::default());
        assert_eq!((settings.integrity_check, settings.auto_compaction), (None, None));
        assert!(!settings.quota_auto_disarm && !settings.lease_checkpoints);
    }

    #[test]
    fn every_key_is_taken() {
        let (settings, findings) = read(
            "{quota_bytes: 8589934592, quota_auto_disarm: true, max_request_bytes: 4194304, max_txn_ops: 512,
              integrity_check_s: 14400, watch_progress_s: 60, lease_checkpoints: true, auto_compaction: {keep_hours: 2}}",
        );
        assert!(findings.is_empty(), "{findings:?}");
        let limits = Limits { request_bytes: 4 << 20, txn_ops: 512, quota_bytes: Some(8 << 30) };
        assert_eq!(settings.limits, limits);
        assert_eq!(settings.integrity_check, Some(Duration::from_secs(14_400)));
        assert_eq!(settings.watch_progress, Duration::from_secs(60));
        assert_eq!(settings.auto_compaction, Some(AutoCompaction::Period(Duration::from_secs(7_200))));
        assert!(settings.quota_auto_disarm && settings.lease_checkpoints);
    }

    #[test]
    fn zero_is_no_quota_and_no_check() {
        let (settings, findings) = read("{quota_bytes: 0, integrity_check_s: 0, auto_compaction: {keep_revisions: 0}}");
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!((settings.limits.quota_bytes, settings.integrity_check), (None, None));
        assert_eq!(settings.auto_compaction, None);
    }

    #[test]
    fn what_cannot_work_is_told_with_what_can() {
        let (_, findings) = read(
            "{quota_bytes: 2, max_request_bytes: 16777216, max_txn_ops: 0, integrity_check_s: 1, watch_progress_s: 0,
              auto_compaction: {keep_revisions: 5, keep_hours: 1}}",
        );
        assert_eq!(
            findings,
            [
                "chainfire.quota_bytes: 2 is less than 16777216; 0 is no limit",
                "chainfire.max_request_bytes: 16777216 is not between 65536 and 7340032",
                "chainfire.max_txn_ops: 0 is not between 1 and 4096",
                "chainfire.integrity_check_s: 1 is less than 60; 0 is never",
                "chainfire.watch_progress_s: 0 would leave no time for anything else; 1 is the least",
                "chainfire.auto_compaction: choose one of keep_revisions and keep_hours",
            ]
        );
    }
}
