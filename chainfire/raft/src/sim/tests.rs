use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use parking_lot::Mutex;

use super::{Kind, Outcome, Reached, Sabotage, Trouble, run};

/// Runs `seeds` on all cores and returns the first whose violation begins with one of `wanted` (any, if there are none),
/// with what the others reached.
fn search(first: u64, seeds: u64, kind: Kind, wanted: &[&str]) -> (Option<(u64, Outcome)>, Reached) {
    let (next, found, reached) = (AtomicU64::new(0), Mutex::new(None), Mutex::new(Reached::default()));
    let is_wanted = |text: &str| wanted.is_empty() || wanted.iter().any(|begin| text.starts_with(begin));
    let work = || {
        while found.lock().is_none() {
            let at = next.fetch_add(1, Ordering::SeqCst);
            if at >= seeds {
                return;
            }
            let outcome = run(first + at, kind);
            reached.lock().add(outcome.reached);
            if outcome.violation.as_deref().is_some_and(is_wanted) {
                found.lock().get_or_insert((first + at, outcome));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    (found.into_inner(), reached.into_inner())
}

/// Finds nothing in `seeds`, or shows what it has found.
fn clean(first: u64, seeds: u64, kind: Kind) -> Reached {
    let (found, reached) = search(first, seeds, kind, &[]);
    if let Some((seed, Outcome { violation, trace, .. })) = found {
        panic!("seed {seed}: {}\n{}", violation.unwrap_or_default(), trace.join("\n"));
    }
    reached
}

/// What the servers' clients would call harm. A server that ends itself, or waits for ever, does none.
const HARM: &[&str] = &["election safety", "log matching", "lost write", "monotonic revision"];

/// The sabotage must lead to one of `wanted`.
fn finds(sabotage: Sabotage, members: Option<u16>, wanted: &[&str]) {
    finds_with(Kind { sabotage, members, ..Kind::HONEST }, wanted);
}

fn finds_with(kind: Kind, wanted: &[&str]) {
    let (found, _) = search(0, SOME, kind, wanted);
    let Kind { sabotage, members, .. } = kind;
    let (seed, outcome) = found.unwrap_or_else(|| panic!("{sabotage:?} goes unnoticed in {SOME} seeds"));
    println!("{sabotage:?}, {members:?} members: seed {seed}: {}", outcome.violation.unwrap_or_default());
}

/// How many seeds every test run tries.
const FEW: u64 = 16;

/// Within how many seeds a bug must be found.
const SOME: u64 = 400;

/// `cargo xtask sim` asks for `HOLDFAST_SIM_SEEDS` seeds from `HOLDFAST_SIM_FIRST` on.
#[test]
fn nothing_is_found_and_nothing_left_out() {
    let number = |name: &str, without: u64| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(without);
    let (first, seeds) = (number("HOLDFAST_SIM_FIRST", 0), number("HOLDFAST_SIM_SEEDS", FEW));
    let begun = Instant::now();
    let reached = clean(first, seeds, Kind::HONEST);
    println!("{seeds} seeds from {first} in {:.0} s: {reached:?}", begun.elapsed().as_secs_f64());
    if seeds >= FEW {
        let seeds = usize::try_from(seeds).unwrap_or(1);
        let per_seed = [reached.terms, reached.writes, reached.events].map(|sum| sum / seeds);
        assert!(per_seed.iter().all(|count| *count > 1), "{reached:?}");
        assert!([reached.leases, reached.rejoins, reached.snapshots].iter().all(|count| *count > 1), "{reached:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..3 {
        let (one, other) = (run(seed, Kind::HONEST), run(seed, Kind::HONEST));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.reached, other.reached, "seed {seed}");
    }
}

#[test]
fn forgotten_votes_are_found() {
    finds(Sabotage::VotesAreForgotten, None, &["election safety"]);
}

#[test]
fn syncs_that_nobody_awaits_are_found() {
    finds(Sabotage::SyncsAreNotAwaited, None, HARM);
}

/// §0 "Wiped member": with three and with five members.
#[test]
fn a_lost_disk_under_its_old_name_is_found() {
    finds(Sabotage::OldNameAfterLostDisk, Some(3), HARM);
    finds(Sabotage::OldNameAfterLostDisk, Some(5), HARM);
}

#[test]
fn a_restored_leader_is_found() {
    finds(Sabotage::LeadershipIsRestored, None, &["monotonic revision"]);
}

/// §2.6: "on snapshot install … all watchers back to catch-up".
#[test]
fn a_restore_that_watchers_do_not_hear_of_is_found() {
    finds(Sabotage::RestoresAreNotTold, None, &["watch"]);
}

/// §2.7: "it never dies early", whoever leads.
#[test]
fn leases_that_a_new_leader_does_not_extend_are_found() {
    finds(Sabotage::LeasesAreNotExtended, None, &["lease"]);
}

#[test]
fn a_leader_whose_disk_hangs_steps_down_and_only_where_another_can_lead() {
    let kind = Kind { trouble: Trouble::HungDisks, ..Kind::HONEST };
    clean(0, FEW, kind);
    finds_with(Kind { sabotage: Sabotage::HungLeadersStay, ..kind }, &["liveness"]);
}
