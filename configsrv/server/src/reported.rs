//! What a report says, beside what was known.

use configsrv_fleet::{Digest, Version};

use crate::{
    Error,
    record::{Status, SyncResult},
};

/// Files of a drift that are named, and bytes of each and of the policy.
const MOST_FILES: usize = 16;
const LONGEST_FILE: usize = 1000;
/// How much is remembered of what people brought to a node.
const MOST_CARRIED: usize = 16;

impl Status {
    /// The newest version that the report names.
    pub(crate) fn newest(&self) -> Option<Version> {
        [self.offered, self.active, self.pending, self.confirmed, self.rolled_back].into_iter().flatten().max()
    }

    /// Whether this is what runs, or is about to.
    pub(crate) fn runs(&self, version: Version, digest: Digest) -> bool {
        self.pending.or(self.active) == Some(version) && self.digest == Some(digest)
    }

    /// Refuses what no node has a reason to send.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.carried.len() > MOST_CARRIED {
            return Err(Error::BadBody(format!("carried is limited to {MOST_CARRIED} artifacts")));
        }
        let long = |text: &String| text.len() > LONGEST_FILE;
        if self
            .drift
            .as_ref()
            .is_some_and(|drift| drift.first.len() > MOST_FILES || drift.first.iter().chain([&drift.policy]).any(long))
        {
            return Err(Error::BadBody(format!("drift is limited to {MOST_FILES} files of {LONGEST_FILE} bytes each")));
        }
        Ok(())
    }

    /// This report after `known`. What people brought is not forgotten with the report that told of it, and a repetition
    /// without its reason takes no reason away.
    pub(crate) fn on_top_of(mut self, known: Option<&Self>) -> Self {
        let Some(known) = known else { return self };
        if self.reason.is_none() && self.what_happened() == known.what_happened() {
            self.reason.clone_from(&known.reason);
        }
        let told = std::mem::take(&mut self.carried);
        let again = |version, digest| told.iter().any(|one| (one.version, one.digest) == (version, digest));
        self.carried = known.carried.iter().filter(|one| !again(one.version, one.digest)).cloned().collect();
        self.carried.extend(told);
        let excess = self.carried.len().saturating_sub(MOST_CARRIED);
        self.carried.drain(..excess);
        self
    }

    /// The transition that the report tells of, and the numbers that came of it.
    pub(crate) fn what_happened(&self) -> (Option<SyncResult>, [Option<Version>; 5]) {
        (self.result, [self.active, self.pending, self.confirmed, self.rolled_back, self.rejected])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Carried, Drift};

    fn version(number: u64) -> Version {
        Version::new(number).unwrap()
    }

    fn carried(number: u64, unproven: bool) -> Carried {
        Carried { version: version(number), digest: Digest::of(&number.to_be_bytes()), at_ms: number, unproven }
    }

    #[test]
    fn what_was_brought_stays_known() {
        let known = Status { carried: vec![carried(7, false), carried(8, false)], ..Status::default() };
        let numbers = |status: &Status| -> Vec<(u64, bool)> {
            status.carried.iter().map(|one| (one.version.get(), one.unproven)).collect()
        };
        assert_eq!(numbers(&Status::default().on_top_of(Some(&known))), [(7, false), (8, false)]);
        let kept = Status { carried: vec![carried(7, true)], ..Status::default() };
        assert_eq!(numbers(&kept.on_top_of(Some(&known))), [(8, false), (7, true)]);
        let many = Status { carried: (9..30).map(|number| carried(number, false)).collect(), ..Status::default() };
        assert!(many.check().is_err());
        let most = many.on_top_of(Some(&known)).carried;
        assert_eq!((most.len(), most.last()), (MOST_CARRIED, Some(&carried(29, false))));
    }

    #[test]
    fn what_drifted_is_bounded_and_no_older_than_the_report() {
        let drift =
            |first| Status { drift: Some(Drift { policy: "freeze".into(), files: 20, first }), ..Status::default() };
        let known = drift(vec!["/etc/shop: missing".into()]);
        assert!(known.check().is_ok());
        assert_eq!(Status::default().on_top_of(Some(&known)).drift, None);
        assert!(drift(vec![String::new(); MOST_FILES + 1]).check().is_err());
        assert!(drift(vec!["x".repeat(LONGEST_FILE + 1)]).check().is_err());
    }

    #[test]
    fn a_repetition_takes_no_reason_away() {
        let confirmed =
            Status { result: Some(SyncResult::Confirmed), confirmed: Some(version(7)), ..Status::default() };
        let known = Status { reason: Some("2 probes held".into()), ..confirmed.clone() };
        assert_eq!(confirmed.clone().on_top_of(Some(&known)), known);
        let next = Status { confirmed: Some(version(8)), ..confirmed };
        assert_eq!(next.clone().on_top_of(Some(&known)), next);
    }

    #[test]
    fn what_runs_is_version_and_content() {
        let (seven, eight) = (Digest::of(b"7"), Digest::of(b"8"));
        let status = Status { active: Some(version(8)), digest: Some(eight), ..Status::default() };
        assert!(status.runs(version(8), eight));
        assert!(!status.runs(version(8), seven) && !status.runs(version(7), eight));
        assert!(!Status { pending: Some(version(9)), ..status }.runs(version(8), eight));
    }
}
