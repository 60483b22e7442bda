//! What a node's report makes of what is known about it, and what the history calls it.

use configsrv_fleet::{Digest, Version, artifact::DriftPolicy};

use crate::{
    Error,
    record::{Drift, Failed, Status, SyncResult},
};

/// A node went back to an earlier version, or could not.
pub(crate) const ROLLBACK: &str = "config.Rollback";
/// Something that failed is tried again.
const RELEASE: &str = "config.ReleaseRejected";

/// Files of a drift that are named, and bytes of each and of the policy.
const MOST_FILES: usize = 16;
const LONGEST_FILE: usize = 1000;
/// Two moments that are closer are one: what is left of a window is told by reports that take their time.
const SAME_DEADLINE_MS: u64 = 5000;
/// How much is remembered of what people brought to a node.
const MOST_CARRIED: usize = 16;
/// How many contents that failed on a node are remembered: as many as it remembers itself.
const MOST_FAILED: usize = 32;

impl Status {
    /// The newest version that the node has had. What it refused may be anybody's forgery, and says nothing.
    pub(crate) fn newest(&self) -> Option<Version> {
        [self.offered, self.active, self.pending, self.confirmed, self.rolled_back].into_iter().flatten().max()
    }

    /// When what it tells of happened, as far as servers know.
    pub(crate) fn since(&self) -> u64 {
        // Reports of earlier releases have one time only.
        if self.since_ms == 0 { self.reported_ms } else { self.since_ms }
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
    fn on_top_of(mut self, known: &Self) -> Self {
        if self.reason.is_none() && self.what_happened() == known.what_happened() {
            self.reason.clone_from(&known.reason);
        }
        self.failed.clone_from(&known.failed);
        let told = std::mem::take(&mut self.carried);
        let again = |version, digest| told.iter().any(|one| (one.version, one.digest) == (version, digest));
        self.carried = known.carried.iter().filter(|one| !again(one.version, one.digest)).cloned().collect();
        self.carried.extend(told);
        let excess = self.carried.len().saturating_sub(MOST_CARRIED);
        self.carried.drain(..excess);
        self
    }

    /// Brings what is known of failures up to date with a report after `known`; `named` is the content that it says the
    /// node went back from last. A content is let in again by a release, or by a node that forgot its failure and
    /// begins with it anew; nothing else makes it unknown, whatever the node confirms.
    pub(crate) fn remember_failures(&mut self, known: Option<&Self>, named: Option<Failed>) {
        let released_before = known.and_then(|known| known.released);
        if let Some(released) = self.released.filter(|released| Some(*released) != released_before) {
            self.failed.retain(|failed| failed.version != released.version);
        }
        self.failed.retain(|failed| Some(failed.digest) != self.digest);
        if let Some(named) = named {
            match self.failed.iter_mut().find(|failed| failed.digest == named.digest) {
                Some(failed) => *failed = named,
                None => self.failed.push(named),
            }
        }
        let excess = self.failed.len().saturating_sub(MOST_FAILED);
        self.failed.drain(..excess);
    }

    /// The transition that the report tells of, and the numbers that came of it.
    fn what_happened(&self) -> (Option<SyncResult>, [Option<Version>; 5]) {
        (self.result, [self.active, self.pending, self.confirmed, self.rolled_back, self.rejected])
    }
}

impl Drift {
    /// Whether the node takes nothing newer until somebody has decided.
    pub(crate) fn freezes(&self) -> bool {
        self.files > 0 && self.policy == DriftPolicy::Freeze.as_str()
    }
}

/// What is stored of a report: failures are remembered until the node moves on or somebody releases them, also where a
/// node that lost its own memory does not name them any more.
pub(crate) fn remember(known: Option<&Status>, mut said: Status) -> Status {
    let Some(known) = known else { return said };
    said = said.on_top_of(known);
    let released = said.released.map(|released| released.version);
    let accepted = [said.offered, said.active, said.pending, said.confirmed].into_iter().flatten().max();
    if said.rolled_back.is_none() {
        said.rolled_back =
            known.rolled_back.filter(|failed| released != Some(*failed) && said.confirmed < Some(*failed));
    }
    if said.rejected.is_none() && said.result != Some(SyncResult::Rejected) {
        said.rejected = known.rejected.filter(|refused| released != Some(*refused) && accepted < Some(*refused));
    }
    // Numbers alone, which nothing has happened to, take nothing away from what was said about them.
    if said.result.is_none() && numbers(&said) == numbers(known) {
        said.result = known.result;
        said.reason.clone_from(&known.reason);
        said.deadline_ms = known.deadline_ms;
    }
    if said.what_happened() == known.what_happened() {
        said.since_ms = known.since();
        if let (Some(before), Some(now)) = (known.deadline_ms, said.deadline_ms)
            && before.abs_diff(now) < SAME_DEADLINE_MS
        {
            said.deadline_ms = Some(before);
        }
    }
    said
}

/// Whether a report says what is known already.
pub(crate) fn is_known(known: &Status, said: &Status) -> bool {
    Status { reported_ms: said.reported_ms, since_ms: said.since_ms, ..known.clone() } == *said
}

/// What the history calls a report, by what changed. The permission is `config.ReportStatus` for all of them.
pub(crate) fn action(known: Option<&Status>, said: &Status) -> &'static str {
    let nothing = Status::default();
    let known = known.unwrap_or(&nothing);
    let moved = said.what_happened() != known.what_happened() || said.released != known.released;
    match said.result {
        // What went past the servers has a name of its own.
        _ if !moved && said.carried != known.carried => "config.ReportCarried",
        // A node says how it is also when only its files are not as they were.
        _ if !moved => "config.ReportStatus",
        // A release that the servers first hear of now has come to nothing.
        Some(SyncResult::RolledBack | SyncResult::Degraded) => ROLLBACK,
        _ if said.released.is_some() && said.released != known.released => RELEASE,
        // A node that forgot its failure cannot say that it is let in again.
        Some(SyncResult::Pending | SyncResult::Acknowledged) | None if said.failed.len() < known.failed.len() => {
            RELEASE
        }
        _ if said.carried != known.carried => "config.ReportCarried",
        Some(SyncResult::Rejected) => "config.Reject",
        Some(SyncResult::Confirmed | SyncResult::Adopted) => "config.Confirm",
        Some(SyncResult::Pending) => "config.Activate",
        // The report of a transition that came before may have been lost.
        Some(SyncResult::Acknowledged) | None => {
            if said.rolled_back > known.rolled_back {
                ROLLBACK
            } else if said.confirmed > known.confirmed {
                "config.Confirm"
            } else if said.active > known.active {
                "config.Activate"
            } else {
                "config.ReportStatus"
            }
        }
    }
}

/// Everything of a report but the transition that it tells of.
fn numbers(status: &Status) -> Status {
    Status { result: None, reason: None, deadline_ms: None, reported_ms: 0, since_ms: 0, ..status.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Carried, Released};

    fn numbered(number: u64) -> Version {
        Version::new(number).unwrap()
    }

    fn version(at: u64) -> Option<Version> {
        Some(numbered(at))
    }

    /// A node that has confirmed 7.
    fn settled() -> Status {
        let digest = Some(Digest::of(b"7"));
        Status { active: version(7), confirmed: version(7), digest, reported_ms: 1, ..Status::default() }
    }

    fn released(number: u64, at_ms: u64) -> Option<Released> {
        version(number).map(|version| Released { version, at_ms })
    }

    #[test]
    fn each_transition_has_a_word() {
        use SyncResult::{Acknowledged, Adopted, Confirmed, Degraded, Pending, Rejected, RolledBack};
        let word = |result| action(Some(&settled()), &Status { result, pending: version(8), ..settled() });
        assert_eq!(word(Some(Acknowledged)), "config.ReportStatus");
        assert_eq!(word(Some(Pending)), "config.Activate");
        assert_eq!(word(Some(Confirmed)), "config.Confirm");
        assert_eq!(word(Some(Adopted)), "config.Confirm");
        assert_eq!(word(Some(RolledBack)), "config.Rollback");
        assert_eq!(word(Some(Degraded)), "config.Rollback");
        assert_eq!(word(Some(Rejected)), "config.Reject");
        assert_eq!(word(None), "config.ReportStatus");
    }

    #[test]
    fn what_is_said_again_beside_news_is_no_transition() {
        let known = Status { result: Some(SyncResult::Confirmed), ..settled() };
        let drift = Some(Drift { policy: "report".into(), files: 1, first: Vec::new() });
        assert_eq!(action(Some(&known), &Status { drift, ..known.clone() }), "config.ReportStatus");
        assert_eq!(action(Some(&known), &Status { confirmed: version(8), ..known.clone() }), "config.Confirm");
        let back = Status { rolled_back: version(8), result: Some(SyncResult::RolledBack), ..settled() };
        let drift = Some(Drift { policy: "report".into(), files: 1, first: Vec::new() });
        assert_eq!(action(Some(&back), &Status { drift, ..back.clone() }), "config.ReportStatus");
    }

    #[test]
    fn what_got_lost_is_seen_by_what_changed() {
        let known = settled();
        let word = |said: Status| action(Some(&known), &said);
        assert_eq!(word(Status { rolled_back: version(8), ..settled() }), "config.Rollback");
        assert_eq!(word(Status { confirmed: version(8), active: version(8), ..settled() }), "config.Confirm");
        assert_eq!(word(Status { active: version(8), ..settled() }), "config.Activate");
        assert_eq!(action(None, &settled()), "config.Confirm");
        assert_eq!(action(None, &Status::default()), "config.ReportStatus");
    }

    #[test]
    fn a_release_is_told_once_each_time() {
        let known = Status { rolled_back: version(8), ..settled() };
        let said = Status {
            pending: version(8),
            result: Some(SyncResult::Acknowledged),
            released: released(8, 5),
            ..settled()
        };
        assert_eq!(action(Some(&known), &said), "config.ReleaseRejected");
        let stored = remember(Some(&known), said.clone());
        assert_eq!((stored.rolled_back, stored.released), (None, released(8, 5)));
        let next = Status { result: Some(SyncResult::Pending), ..said.clone() };
        assert_eq!(action(Some(&stored), &next), "config.Activate");
        // Its first report was lost.
        assert_eq!(action(Some(&known), &next), "config.ReleaseRejected");

        let failed = Status {
            rolled_back: version(8),
            result: Some(SyncResult::RolledBack),
            released: released(8, 5),
            ..settled()
        };
        assert_eq!(action(Some(&stored), &failed), "config.Rollback");
        let stored = remember(Some(&stored), failed);
        assert_eq!(stored.rolled_back, version(8));
        let again = Status { released: released(8, 9), ..said };
        assert_eq!(action(Some(&stored), &again), "config.ReleaseRejected");
        assert_eq!(remember(Some(&stored), again).rolled_back, None);
    }

    fn failed(number: u64) -> Failed {
        Failed { version: numbered(number), digest: Digest::of(&number.to_be_bytes()) }
    }

    /// What is stored of a report, with what it is called.
    fn stored(known: &Status, said: Status, named: Option<Failed>) -> (Status, &'static str) {
        let mut stored = remember(Some(known), said);
        stored.remember_failures(Some(known), named);
        let word = action(Some(known), &stored);
        (stored, word)
    }

    #[test]
    fn contents_that_failed_are_known_until_they_are_let_in_again() {
        let back = |number| Status { rolled_back: version(number), result: Some(SyncResult::RolledBack), ..settled() };
        let (known, _) = stored(&settled(), back(8), Some(failed(8)));
        let (known, word) = stored(&known, back(9), Some(failed(9)));
        assert_eq!((known.failed.as_slice(), word), ([failed(8), failed(9)].as_slice(), "config.Rollback"));
        let again = Status { reported_ms: 99, ..back(9) };
        assert!(is_known(&known, &stored(&known, again, Some(failed(9))).0));
        // A node that was set up anew goes on with another content.
        let digest = Some(Digest::of(b"10"));
        let moved = Status { confirmed: version(10), active: version(10), digest, ..Status::default() };
        let (wiped, word) = stored(&known, moved, None);
        assert_eq!((wiped.failed.len(), wiped.rolled_back, word), (2, None, "config.Confirm"));

        // One that remembers says which is let in again, and which is not.
        let result = Some(SyncResult::Acknowledged);
        let said = Status { rolled_back: version(8), released: released(9, 5), result, ..settled() };
        let (known, word) = stored(&known, said, Some(failed(8)));
        assert_eq!((known.failed.as_slice(), word), ([failed(8)].as_slice(), "config.ReleaseRejected"));
        // The release is repeated with every report; it does not excuse what fails afterwards.
        let said = Status { released: released(9, 5), ..back(9) };
        let (known, word) = stored(&known, said, Some(failed(9)));
        assert_eq!((known.failed.len(), word), (2, "config.Rollback"));

        // One that forgot says nothing, and the history does.
        let begins = |result| Status {
            pending: version(11),
            digest: Some(failed(8).digest),
            result: Some(result),
            ..wiped.clone()
        };
        let (known, word) = stored(&wiped, begins(SyncResult::Acknowledged), None);
        assert_eq!((known.failed.as_slice(), word), ([failed(9)].as_slice(), "config.ReleaseRejected"));
        assert_eq!(stored(&known, begins(SyncResult::Pending), None).1, "config.Activate");
    }

    #[test]
    fn failures_are_known_once_each_and_not_without_end() {
        let mut known = Status::default();
        for number in 1..=40 {
            known.remember_failures(None, Some(failed(number)));
        }
        assert_eq!((known.failed.len(), known.failed.last()), (MOST_FAILED, Some(&failed(40))));
        let renumbered = Failed { version: numbered(41), ..failed(20) };
        known.remember_failures(None, Some(renumbered));
        assert_eq!(known.failed.len(), MOST_FAILED);
        assert!(known.failed.contains(&renumbered) && !known.failed.contains(&failed(20)));
    }

    #[test]
    fn failures_stay_until_the_node_moves_on() {
        let known = Status { rolled_back: version(8), rejected: version(9), ..settled() };
        // A node that was set up anew remembers nothing.
        let wiped = Status { offered: version(7), result: Some(SyncResult::Acknowledged), ..settled() };
        let stored = remember(Some(&known), wiped);
        assert_eq!((stored.rolled_back, stored.rejected), (version(8), version(9)));
        let moved = Status { confirmed: version(9), active: version(9), ..settled() };
        let stored = remember(Some(&known), moved);
        assert_eq!((stored.rolled_back, stored.rejected), (None, None));
        let other = Status { rejected: version(10), result: Some(SyncResult::Rejected), ..settled() };
        assert_eq!(remember(Some(&known), other).rejected, version(10));
        let unnamed = Status { result: Some(SyncResult::Rejected), ..settled() };
        assert_eq!(remember(Some(&known), unnamed).rejected, None);
        let let_in = Status { released: released(9, 1), ..settled() };
        assert_eq!(remember(Some(&known), let_in).rejected, None);
    }

    #[test]
    fn the_same_numbers_again_are_no_news() {
        let known = Status { result: Some(SyncResult::Confirmed), reason: Some("2 probes held".into()), ..settled() };
        let again = remember(Some(&known), Status { reported_ms: 99, ..settled() });
        assert!(is_known(&known, &again), "{again:?}");
        let other = remember(Some(&known), Status { active: version(8), ..settled() });
        assert!(!is_known(&known, &other) && other.result.is_none(), "{other:?}");
    }

    #[test]
    fn a_transition_is_as_old_as_its_first_report() {
        let stored = |known: &Status, said: Status| remember(Some(known), said).since();
        let known = Status { result: Some(SyncResult::Confirmed), reported_ms: 5, ..settled() };
        assert_eq!(known.since(), 5, "a report of an earlier release");
        let at = |now| Status { reported_ms: now, since_ms: now, ..known.clone() };
        let drift = Some(Drift { policy: "report".into(), files: 1, first: Vec::new() });
        assert_eq!(stored(&known, Status { drift, ..at(9) }), 5);
        assert_eq!(stored(&known, Status { result: None, ..at(9) }), 5, "numbers alone");
        assert_eq!(stored(&known, Status { confirmed: version(8), active: version(8), ..at(9) }), 9);
    }

    #[test]
    fn a_window_that_is_told_again_ends_when_it_did() {
        let until = |deadline_ms| Status {
            result: Some(SyncResult::Pending),
            pending: version(8),
            deadline_ms: Some(deadline_ms),
            ..settled()
        };
        let stored = |said| remember(Some(&until(300_000)), said).deadline_ms;
        assert_eq!((stored(until(300_090)), stored(until(299_900))), (Some(300_000), Some(300_000)));
        assert_eq!(stored(until(600_000)), Some(600_000), "it began anew");
        let next = Status { result: Some(SyncResult::Acknowledged), ..until(300_090) };
        assert_eq!(stored(next), Some(300_090));
    }

    fn carried(number: u64, unproven: bool) -> Carried {
        Carried { version: numbered(number), digest: Digest::of(&number.to_be_bytes()), at_ms: number, unproven }
    }

    #[test]
    fn what_was_brought_stays_known() {
        let known = Status { carried: vec![carried(7, false), carried(8, false)], ..Status::default() };
        let numbers = |status: &Status| -> Vec<(u64, bool)> {
            status.carried.iter().map(|one| (one.version.get(), one.unproven)).collect()
        };
        assert_eq!(numbers(&Status::default().on_top_of(&known)), [(7, false), (8, false)]);
        let kept = Status { carried: vec![carried(7, true)], ..Status::default() };
        assert_eq!(numbers(&kept.on_top_of(&known)), [(8, false), (7, true)]);
        let many = Status { carried: (9..30).map(|number| carried(number, false)).collect(), ..Status::default() };
        assert!(many.check().is_err());
        let most = many.on_top_of(&known).carried;
        assert_eq!((most.len(), most.last()), (MOST_CARRIED, Some(&carried(29, false))));
    }

    #[test]
    fn what_drifted_is_bounded_and_no_older_than_the_report() {
        let drift =
            |first| Status { drift: Some(Drift { policy: "freeze".into(), files: 20, first }), ..Status::default() };
        let known = drift(vec!["/etc/shop: missing".into()]);
        assert!(known.check().is_ok());
        assert_eq!(Status::default().on_top_of(&known).drift, None);
        assert!(drift(vec![String::new(); MOST_FILES + 1]).check().is_err());
        assert!(drift(vec!["x".repeat(LONGEST_FILE + 1)]).check().is_err());
    }

    #[test]
    fn a_repetition_takes_no_reason_away() {
        let confirmed =
            Status { result: Some(SyncResult::Confirmed), confirmed: Some(numbered(7)), ..Status::default() };
        let known = Status { reason: Some("2 probes held".into()), ..confirmed.clone() };
        assert_eq!(confirmed.clone().on_top_of(&known), known);
        let next = Status { confirmed: Some(numbered(8)), ..confirmed };
        assert_eq!(next.clone().on_top_of(&known), next);
    }

    #[test]
    fn what_runs_is_version_and_content() {
        let (seven, eight) = (Digest::of(b"7"), Digest::of(b"8"));
        let status = Status { active: Some(numbered(8)), digest: Some(eight), ..Status::default() };
        assert!(status.runs(numbered(8), eight));
        assert!(!status.runs(numbered(8), seven) && !status.runs(numbered(7), eight));
        assert!(!Status { pending: Some(numbered(9)), ..status }.runs(numbered(8), eight));
    }
}
