//! Every row, and every combination of records.

use super::*;
use crate::record::{Carried, Drift, Failed, Fetch, Released};

const PUBLISHED_MS: u64 = 1_000_000;
const SOON: u64 = PUBLISHED_MS + 1_000;
const WAITS: Waits = Waits { fetched: Duration::from_secs(100), reported: Duration::from_secs(10) };
/// When what was published is to have been fetched.
const FETCH_UNTIL: u64 = PUBLISHED_MS + 100_000;

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn content(of: u64) -> Digest {
    Digest::of(&of.to_be_bytes())
}

/// What is known of a node, soon after version 8 was published.
#[derive(Clone)]
struct Case {
    now_ms: u64,
    current: u64,
    published: Option<Digest>,
    fetched: Fetched,
    reported: Option<Status>,
    failed: Option<Digest>,
}

impl Case {
    fn new() -> Self {
        let (fetched, published) = (Fetched::default(), Some(content(8)));
        Self { now_ms: SOON, current: 8, published, fetched, reported: None, failed: None }
    }

    fn reported(status: Status) -> Self {
        Self { reported: Some(status), ..Self::new() }
    }

    fn fetched(self, number: u64, at_ms: u64) -> Self {
        let sync = Some(Fetch { version: version(number), at_ms });
        Self { fetched: Fetched { sync, ..self.fetched }, ..self }
    }

    fn looked_at(self, number: u64, at_ms: u64) -> Self {
        let dry_run = Some(Fetch { version: version(number), at_ms });
        Self { fetched: Fetched { dry_run, ..self.fetched }, ..self }
    }

    fn at(self, now_ms: u64) -> Self {
        Self { now_ms, ..self }
    }

    fn standing(&self) -> Standing {
        let known = Known {
            now_ms: self.now_ms,
            current: version(self.current),
            published: self.published,
            offered_ms: PUBLISHED_MS,
            fetched: &self.fetched,
            reported: self.reported.as_ref(),
            failed: self.failed,
        };
        Standing::of(&known, &WAITS)
    }
}

/// A report soon after the publish, by a node that has confirmed this version.
fn confirmed(number: u64) -> Status {
    let has = Some(version(number));
    Status { active: has, confirmed: has, digest: Some(content(number)), reported_ms: SOON, ..Status::default() }
}

/// The same node, with version 8 under way.
fn under_way(result: SyncResult, deadline_ms: Option<u64>) -> Status {
    Status { pending: Some(version(8)), result: Some(result), deadline_ms, ..confirmed(7) }
}

#[track_caller]
fn is(case: &Case, phase: Phase, since_ms: u64, deadline_ms: Option<u64>, reason: &str) {
    let standing = case.standing();
    assert_eq!(
        (standing.phase, standing.since_ms, standing.deadline_ms),
        (phase, since_ms, deadline_ms),
        "{standing:?}"
    );
    assert!(standing.reason.contains(reason), "{standing:?}");
    assert_eq!(standing.was.is_some(), phase == Phase::Overdue, "{standing:?}");
}

#[test]
fn on_the_way() {
    let offered = Case::new();
    is(&offered, Phase::Offered, PUBLISHED_MS, Some(FETCH_UNTIL), "has not fetched it");
    is(&Case::reported(confirmed(7)).fetched(7, 5), Phase::Offered, PUBLISHED_MS, Some(FETCH_UNTIL), "version 8");
    let looked = Case::reported(confirmed(7)).looked_at(8, SOON);
    is(&looked, Phase::LookedAt, SOON, Some(FETCH_UNTIL), "looked at version 8");
    let fetched = looked.fetched(8, SOON + 1);
    is(&fetched, Phase::Fetched, SOON + 1, Some(SOON + 10_001), "has not said what became of it");
    let acknowledged = Case::reported(under_way(SyncResult::Acknowledged, Some(SOON + 300)));
    is(&acknowledged, Phase::Activating, SOON, Some(SOON + 300), "about to activate version 8");
    let unguarded = Case::reported(under_way(SyncResult::Acknowledged, None));
    is(&unguarded, Phase::Activating, SOON, Some(SOON + 10_000), "about to activate");
    let pending = Case::reported(under_way(SyncResult::Pending, Some(SOON + 300)));
    is(&pending, Phase::Pending, SOON, Some(SOON + 300), "waits for its confirmation");
    is(&Case::reported(confirmed(8)), Phase::Confirmed, SOON, None, "version 8 is what runs");
}

/// Another version is out already; the node is busy with the one before it.
#[test]
fn what_is_under_way_comes_first() {
    let case = Case { current: 9, ..Case::reported(under_way(SyncResult::Pending, Some(SOON + 300))) };
    is(&case, Phase::Pending, SOON, Some(SOON + 300), "version 8");
    assert_eq!(case.standing().version, version(8));
}

#[test]
fn what_the_node_has_against_it() {
    let because = |text: &str| Some(text.to_owned());
    let result = Some(SyncResult::RolledBack);
    let rolled_back = Status { rolled_back: Some(version(8)), result, reason: because("it hung"), ..confirmed(7) };
    is(&Case::reported(rolled_back.clone()), Phase::RolledBack, SOON, None, "it hung");
    // The reason of a later report is another one.
    let later = Status { result: Some(SyncResult::Rejected), ..rolled_back.clone() };
    is(&Case::reported(later), Phase::RolledBack, SOON, None, "it was tried and failed");
    let result = Some(SyncResult::Rejected);
    let refused = Status { rejected: Some(version(8)), result, reason: because("forged"), ..confirmed(7) };
    is(&Case::reported(refused.clone()).fetched(8, SOON), Phase::Refused, SOON, None, "forged");
    let unreadable = Status { rejected: None, ..refused };
    is(&Case::reported(unreadable).fetched(8, SOON), Phase::Refused, SOON, None, "forged");
    let degraded = Status { result: Some(SyncResult::Degraded), ..rolled_back.clone() };
    is(&Case::reported(degraded), Phase::Degraded, SOON, None, "it hung");

    let again = Case { current: 9, failed: Some(content(8)), ..Case::reported(rolled_back.clone()).fetched(9, SOON) };
    is(&again, Phase::Rejected, SOON, None, "the content that failed here as version 8");
    let other = Case { failed: Some(content(0)), ..again };
    is(&other, Phase::Fetched, SOON, Some(SOON + 10_000), "version 9");
    // It failed before the last failure, and the node has confirmed something since.
    let earlier = vec![Failed { version: version(5), digest: content(8) }];
    let forgotten = Case::reported(Status { failed: earlier, ..confirmed(7) }).fetched(8, SOON);
    is(&forgotten, Phase::Rejected, SOON, None, "the content that failed here as version 5");
    // Let in again, and about to be tried.
    let released = Some(Released { version: version(8), at_ms: 1 });
    let retried = Status { rolled_back: None, released, ..under_way(SyncResult::Acknowledged, Some(SOON + 300)) };
    is(&Case::reported(retried), Phase::Activating, SOON, Some(SOON + 300), "version 8");
}

/// Nobody has to guess why a node does not come whose policy it is not to come.
#[test]
fn a_frozen_node_is_said_to_be_frozen() {
    let drifted = |policy: &str, files: u32| {
        let first = (0..files).map(|at| format!("/etc/shop{at}: another content")).collect();
        Status { drift: Some(Drift { policy: policy.to_owned(), files, first }), ..confirmed(7) }
    };
    let frozen = Case::reported(drifted("freeze", 1));
    let because = "a file was changed on the node (/etc/shop0: another content), and its policy is freeze: it does not \
                   take version 8";
    is(&frozen, Phase::Offered, PUBLISHED_MS, Some(FETCH_UNTIL), because);
    is(&frozen.clone().looked_at(8, SOON), Phase::LookedAt, SOON, Some(FETCH_UNTIL), because);
    is(&frozen.clone().fetched(8, SOON), Phase::Fetched, SOON, Some(SOON + 10_000), because);
    is(&frozen.clone().at(FETCH_UNTIL), Phase::Overdue, FETCH_UNTIL, Some(FETCH_UNTIL), because);
    let several = Case::reported(drifted("freeze", 3));
    is(&several, Phase::Offered, PUBLISHED_MS, Some(FETCH_UNTIL), "3 files were changed on the node (/etc/shop0: ");
    is(&Case { current: 7, published: Some(content(7)), ..frozen }, Phase::Confirmed, SOON, None, "what runs");

    for (policy, files) in [("report", 1), ("repair", 1), ("freeze", 0)] {
        let free = Case::reported(drifted(policy, files));
        is(&free, Phase::Offered, PUBLISHED_MS, Some(FETCH_UNTIL), "has not fetched it");
        is(&free.at(FETCH_UNTIL), Phase::Overdue, FETCH_UNTIL, Some(FETCH_UNTIL), "nobody fetched");
    }
    // What is under way was begun by somebody who overwrites the changes.
    let drift = drifted("freeze", 1).drift;
    let pending = Status { drift, ..under_way(SyncResult::Pending, Some(SOON + 300)) };
    is(&Case::reported(pending.clone()), Phase::Pending, SOON, Some(SOON + 300), "waits for its confirmation");
    is(&Case::reported(pending).at(SOON + 300), Phase::Overdue, SOON + 300, Some(SOON + 300), "the time to confirm");
}

#[test]
fn a_node_that_knows_more_than_the_servers_is_left_alone() {
    let ahead = Case::reported(confirmed(9));
    is(&ahead, Phase::Paused, SOON, None, "the node has version 9, the servers know 8");
    assert_eq!(ahead.standing().version, version(9));
    // It refused what the servers have, which is older.
    let refused = Status { rejected: Some(version(8)), result: Some(SyncResult::Rejected), ..confirmed(9) };
    is(&Case::reported(refused).fetched(8, SOON), Phase::Paused, SOON, None, "they were restored");
    let carried = Carried { version: version(9), digest: content(9), at_ms: 1, unproven: false };
    let by_hand = Status { carried: vec![carried], ..confirmed(9) };
    is(&Case::reported(by_hand), Phase::Paused, SOON, None, "somebody brought it there past them");
    let guarded = Status { pending: Some(version(9)), deadline_ms: Some(SOON + 300), ..confirmed(7) };
    is(&Case::reported(guarded), Phase::Paused, SOON, None, "version 9");
    is(&Case { current: 0, published: None, ..ahead }, Phase::Paused, SOON, None, "the servers know 0");
    let other = Status { digest: Some(content(0)), ..confirmed(8) };
    is(&Case::reported(other), Phase::Paused, SOON, None, "another content as version 8");
    // Only what it went back from is newer: it takes the next version as any other node.
    let failed = Status { rolled_back: Some(version(9)), ..confirmed(8) };
    is(&Case::reported(failed), Phase::Confirmed, SOON, None, "");
}

#[test]
fn nodes_that_nothing_is_published_for() {
    let gone = |case: Case| Case { published: None, ..case };
    is(&gone(Case::reported(confirmed(7))), Phase::Removed, SOON, None, "it keeps what it has, version 7");
    is(&gone(Case::new().fetched(7, 5)), Phase::Removed, 5, None, "version 7");
    is(&gone(Case::reported(Status::default())), Phase::Unpublished, 0, None, "nothing has been published");
    is(&Case { current: 0, ..gone(Case::new()) }, Phase::Unpublished, 0, None, "nothing has been published");
}

#[test]
fn nothing_is_waited_for_for_ever() {
    let over = |case: &Case, was: Phase, reason: &str| {
        let deadline_ms = case.standing().deadline_ms.unwrap();
        assert_eq!(case.clone().at(deadline_ms - 1).standing().phase, was);
        let late = case.clone().at(deadline_ms);
        is(&late, Phase::Overdue, deadline_ms, Some(deadline_ms), reason);
        assert_eq!(late.standing().was, Some(was));
    };
    over(&Case::new(), Phase::Offered, "nobody fetched version 8 in time");
    over(&Case::new().looked_at(8, SOON), Phase::LookedAt, "did not activate it in time");
    over(&Case::new().fetched(8, SOON), Phase::Fetched, "did not say what became of it");
    let acknowledged = under_way(SyncResult::Acknowledged, Some(SOON + 300));
    over(&Case::reported(acknowledged), Phase::Activating, "may have cut it off");
    let pending = under_way(SyncResult::Pending, Some(SOON + 300));
    over(&Case::reported(pending), Phase::Pending, "the time to confirm version 8 is over");
    // By a clock that is wrong by years.
    let absurd = under_way(SyncResult::Pending, Some(u64::MAX));
    over(&Case::reported(absurd), Phase::Pending, "the time to confirm");
}

/// Whatever the records say together: a phase that leads to another one has a deadline that is still to come, and no other
/// phase has one.
#[test]
fn no_combination_waits_past_its_deadline() {
    let versions = [None, Some(version(7)), Some(version(8)), Some(version(9))];
    let times = [0, PUBLISHED_MS, SOON, FETCH_UNTIL, u64::MAX];
    let results = [
        None,
        Some(SyncResult::Acknowledged),
        Some(SyncResult::Pending),
        Some(SyncResult::Confirmed),
        Some(SyncResult::RolledBack),
        Some(SyncResult::Rejected),
        Some(SyncResult::Degraded),
    ];
    let mut seen = std::collections::HashSet::new();
    let mut check = |case: &Case| {
        for now_ms in times {
            let case = case.clone().at(now_ms);
            let standing = case.standing();
            let waits = standing.deadline_ms.is_some_and(|deadline| deadline > now_ms);
            assert_eq!(standing.phase.is_waiting(), waits, "{standing:?} at {now_ms}: {:?}", case.reported);
            assert!(standing.phase.is_waiting() || standing.deadline_ms.is_none() || standing.was.is_some());
            assert!(!standing.reason.is_empty());
            seen.insert(standing.phase);
        }
    };
    let fetches =
        versions.iter().flat_map(|fetched| times.map(|at_ms| fetched.map(|version| Fetch { version, at_ms })));
    let fetches: Vec<_> = fetches.collect();
    for (current, published) in [(0, None), (8, None), (8, Some(content(8))), (8, Some(content(1)))] {
        for sync in &fetches {
            for dry_run in [None, Some(Fetch { version: version(8), at_ms: SOON })] {
                let fetched = Fetched { sync: *sync, dry_run };
                check(&Case { current, published, fetched, ..Case::new() });
            }
        }
        for active in versions {
            for pending in versions {
                for (failed, rejected) in versions.iter().zip(versions.iter().rev()) {
                    for result in results {
                        for deadline_ms in [None, Some(0), Some(SOON + 300), Some(u64::MAX)] {
                            let status = Status {
                                active,
                                pending,
                                confirmed: active,
                                rolled_back: *failed,
                                rejected: *rejected,
                                digest: Some(content(8)),
                                deadline_ms,
                                result,
                                reported_ms: SOON,
                                ..Status::default()
                            };
                            let failed = failed.map(|_| content(1));
                            let case = Case { current, published, failed, ..Case::reported(status) };
                            check(&case);
                            check(&case.fetched(8, SOON));
                        }
                    }
                }
            }
        }
    }
    assert_eq!(seen.len(), Phase::ALL.len(), "{seen:?}");
}
