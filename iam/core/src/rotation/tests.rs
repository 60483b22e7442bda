use super::*;

/// A thing that rotates, with nothing to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lamp;

impl Rotates for Lamp {
    const NOUN: &'static str = "lamp";
    const OVERLAP: &'static str = "fading";
    const CAPACITY: usize = 4;
}

const WINDOWS: Windows = Windows { cache_ms: 300, life_ms: 1000, stale_ms: 200, leeway_ms: 30, retirement_ms: 500 };
const VERSION: u64 = 7;

fn set(states: &[State]) -> Set<Lamp> {
    let item = |(number, state): (usize, &State)| Item {
        id: ["a", "b", "c", "d"][number].to_owned(),
        value: Lamp,
        state: *state,
        added_ms: 1000,
        activated_ms: Some(2000),
        superseded_ms: Some(3000),
        retired_ms: Some(4000),
    };
    Set { items: states.iter().enumerate().map(item).collect() }
}

fn says(name: &str, part: Part, word: Option<(u64, u64)>, in_use: &[(&str, u64)]) -> Verifier {
    let acknowledged = word.map(|(version, at_ms)| Acknowledgement {
        version,
        at_ms,
        in_use_until_ms: in_use.iter().map(|(id, until_ms)| ((*id).to_owned(), *until_ms)).collect(),
    });
    Verifier { name: name.to_owned(), part, acknowledged }
}

fn server(name: &str, version: u64) -> Verifier {
    says(name, Part::Server, Some((version, 900)), &[])
}

fn terms<'a>(evidence: &'a Evidence, now_ms: u64, waive: Waive) -> Terms<'a> {
    Terms { windows: &WINDOWS, evidence, now_ms, waive }
}

fn evidence(verifiers: Vec<Verifier>) -> Evidence {
    Evidence { version: VERSION, verifiers }
}

use State::{Active, Compromised, Overlap, Pending, Retired};

#[test]
fn where_each_step_is_possible_at_all() {
    const GOES: Option<&str> = None;
    let table = [
        (Step::Activate, Pending, GOES),
        (Step::Activate, Active, GOES),
        (Step::Activate, Overlap, GOES),
        (Step::Activate, Retired, Some("b is retired; to activate it, add a new one: a retired one stays retired")),
        (
            Step::Activate,
            Compromised,
            Some("b is compromised; to activate it, add a new one: a retired one stays retired"),
        ),
        (Step::Retire, Pending, GOES),
        (Step::Retire, Active, Some("b is active; to retire it, activate another one first")),
        (Step::Retire, Overlap, GOES),
        (Step::Retire, Retired, GOES),
        (Step::Retire, Compromised, GOES),
        (Step::Purge, Pending, Some("b is pending; to purge it, retire it first")),
        (Step::Purge, Active, Some("b is active; to purge it, retire it first")),
        (Step::Purge, Overlap, Some("b is fading; to purge it, retire it first")),
        (Step::Purge, Retired, GOES),
        (Step::Purge, Compromised, GOES),
        (Step::Compromise, Pending, GOES),
        (Step::Compromise, Active, Some("b is active; to give up it, activate another one first")),
        (Step::Compromise, Overlap, GOES),
        (Step::Compromise, Retired, GOES),
        (Step::Compromise, Compromised, GOES),
    ];
    let late = Evidence::default();
    for (step, state, expected) in table {
        let other = if state == Active { Overlap } else { Active };
        let found = set(&[other, state]).step("b", step, &terms(&late, 1_000_000, Waive::Nothing));
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found.as_ref().err().map(String::as_str), expected, "{step} of {state:?}");
        let Ok(after) = found else { continue };
        assert_eq!(after.items.iter().filter(|item| item.state == Active).count(), 1, "{step} of {state:?}");
        let again = after.step("b", step, &terms(&late, 1_000_001, Waive::Nothing));
        let gone = StepError::NotFound { noun: "lamp", id: "b".to_owned() };
        assert_eq!(again, if step == Step::Purge { Err(gone) } else { Ok(after) }, "repeating changes nothing");
    }
}

/// When the step that is due becomes possible, and who is waited for.
#[test]
fn what_each_step_waits_for() {
    let client = |version| says("gateway", Part::Client, Some((version, 900)), &[]);
    let silent = says("s3", Part::Server, None, &[]);
    let uses = |until_ms| says("s1", Part::Server, Some((VERSION, 900)), &[("b", until_ms), ("a", 99_999)]);
    type Row = (&'static str, State, Waive, Vec<Verifier>, u64, &'static [&'static str]);
    let table: Vec<Row> = vec![
        // Activation: added at 1000, fetched by everybody at 1300, by a server that was cut off at 1500.
        ("nobody known", Pending, Waive::Nothing, vec![], 1300, &[]),
        ("all say so", Pending, Waive::Nothing, vec![server("s1", 7), server("s2", 8)], 1300, &[]),
        ("one behind", Pending, Waive::Nothing, vec![server("s1", 7), server("s2", 6)], 1500, &["s2"]),
        ("one silent", Pending, Waive::Nothing, vec![server("s1", 7), silent.clone()], 1500, &["s3"]),
        ("a client behind", Pending, Waive::Nothing, vec![server("s1", 7), client(6)], 1300, &["gateway"]),
        ("all say so, caches waived", Pending, Waive::Caches, vec![server("s1", 7), client(7)], 1000, &[]),
        ("one behind, caches waived", Pending, Waive::Caches, vec![server("s1", 6), client(7)], 1500, &["s1"]),
        (
            "a client behind, caches waived",
            Pending,
            Waive::Caches,
            vec![server("s1", 7), client(6)],
            1300,
            &["gateway"],
        ),
        ("forced", Pending, Waive::Everything, vec![silent.clone(), client(6)], 1000, &[]),
        // Retirement: superseded at 3000; what a server that is cut off makes lasts until 4200.
        ("nobody known", Overlap, Waive::Nothing, vec![], 4230, &[]),
        ("nothing made", Overlap, Waive::Nothing, vec![server("s1", 7)], 3000, &[]),
        ("something made", Overlap, Waive::Nothing, vec![uses(3500), server("s2", 7)], 3530, &[]),
        ("one behind", Overlap, Waive::Nothing, vec![uses(3500), server("s2", 6)], 4230, &["s2"]),
        ("one silent", Overlap, Waive::Caches, vec![uses(3500), silent.clone()], 4230, &["s3"]),
        ("a client behind makes nothing", Overlap, Waive::Nothing, vec![uses(3500), client(6)], 3530, &[]),
        ("forced", Overlap, Waive::Everything, vec![silent.clone()], 3000, &[]),
        // Purging: retired at 4000.
        ("the window", Retired, Waive::Nothing, vec![silent.clone()], 4500, &[]),
        ("the window", Compromised, Waive::Caches, vec![], 4500, &[]),
        ("forced", Retired, Waive::Everything, vec![], 4000, &[]),
    ];
    for (case, state, waive, verifiers, possible_ms, waiting_for) in table {
        let evidence = evidence(verifiers);
        let set = set(&[Active, state]);
        let step = match state {
            Pending => Step::Activate,
            Overlap => Step::Retire,
            _ => Step::Purge,
        };
        assert!(set.step("b", step, &terms(&evidence, possible_ms, waive)).is_ok(), "{case}, {state:?}");
        assert_eq!(set.items[1].next_step_ms(&terms(&evidence, 0, waive)), Some(possible_ms), "{case}, {state:?}");
        match set.step("b", step, &terms(&evidence, possible_ms - 1, waive)) {
            Err(StepError::NotYet(found)) => {
                let names: Vec<_> = found.waiting_for.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!((found.possible_ms, names.as_slice()), (possible_ms, waiting_for), "{case}, {state:?}");
            }
            other => panic!("{case}, {state:?}: {other:?}"),
        }
    }
}

#[test]
fn a_refusal_says_state_time_who_is_missing_and_what_breaks() {
    let behind = evidence(vec![server("s1", VERSION), server("s2", 6), says("s3", Part::Server, None, &[])]);
    let refused = |state, step, waive| set(&[Active, state]).step("b", step, &terms(&behind, 1400, waive)).unwrap_err();
    assert_eq!(
        refused(Pending, Step::Activate, Waive::Nothing).to_string(),
        "b is pending; to activate it becomes possible in 1 s, at 1970-01-01T00:00:02Z, or once these acknowledge: s2 \
         (last 1 s ago), s3 (never did); forced, what it makes is refused by s2, s3 until they know it, at the latest \
         until 1970-01-01T00:00:02Z"
    );
    assert_eq!(
        refused(Overlap, Step::Retire, Waive::Nothing).to_string(),
        "b is fading; to retire it becomes possible in 3 s, at 1970-01-01T00:00:05Z, or once these acknowledge: s2 (last \
         1 s ago), s3 (never did); forced, what was made with it is void at once instead of at the latest \
         1970-01-01T00:00:05Z"
    );
    let retired = set(&[Active, Retired]);
    assert!(retired.items[1].breaks(&terms(&behind, 1400, Waive::Everything)).is_some());
    assert_eq!(retired.items[1].breaks(&terms(&behind, 4500, Waive::Everything)), None);
}

#[test]
fn where_time_does_not_help_words_do() {
    let windows = Windows { stale_ms: FOREVER, ..Windows::default() };
    let judge = |verifiers| {
        let evidence = evidence(verifiers);
        let terms = Terms { windows: &windows, evidence: &evidence, now_ms: 1_000_000, waive: Waive::Nothing };
        set(&[Active, Pending]).step("b", Step::Activate, &terms).map_err(|error| error.to_string())
    };
    assert_eq!(
        judge(vec![server("s1", VERSION), server("s2", 6)]),
        Err("b is pending; to activate it becomes possible once these acknowledge: s2 (last 1000 s ago); forced, what it \
             makes is refused by s2 until they know it"
            .to_owned())
    );
    assert!(judge(vec![server("s1", VERSION), server("s2", VERSION)]).is_ok());
}

#[test]
fn every_step_before_retirement_is_taken_back() {
    let nobody = Evidence::default();
    let first = set(&[Active, Pending]);
    let forward = first.step("b", Step::Activate, &terms(&nobody, 9000, Waive::Nothing)).unwrap();
    assert_eq!((forward.items[0].state, forward.items[0].superseded_ms), (Overlap, Some(9000)));
    let back = forward.step("a", Step::Activate, &terms(&nobody, 9001, Waive::Nothing)).unwrap();
    assert_eq!((back.items[0].state, back.items[1].state), (Active, Overlap));
    assert_eq!(back.active().unwrap().superseded_ms, None);
}

#[test]
fn duplicates_and_too_many_are_refused() {
    let full = set(&[Active, Pending, Pending, Retired]);
    let refused = |id: &str| full.add(id.to_owned(), Lamp, 0).unwrap_err().to_string();
    assert_eq!(refused("b"), "there is a lamp b already");
    assert_eq!(refused("e"), "there are 4 of lamp; purge retired ones first");
}

#[test]
fn a_plan_has_every_stage_that_is_left_with_the_way_back() {
    let behind = evidence(vec![says("s1", Part::Server, Some((VERSION, 900)), &[("a", 1700)]), server("s2", 6)]);
    let plan = |states: &[State], to| {
        let planned = set(states).plan("a", to, &terms(&behind, 1100, Waive::Nothing));
        planned.into_iter().map(|planned| (planned.stage, planned.possible_ms)).collect::<Vec<_>>()
    };
    use Stage::{Activate, Add, Purge, Retire};
    // Added now, known at 1400, what the old one made before has ended at 2430.
    assert_eq!(plan(&[Active], None), [(Add, 1100), (Activate, 1400), (Retire, 2430), (Purge, 2930)]);
    assert_eq!(plan(&[Active, Pending], Some("b")), [(Activate, 1500), (Retire, 2530), (Purge, 3030)]);
    assert_eq!(plan(&[Overlap, Active], Some("b")), [(Retire, 4230), (Purge, 4730)]);
    assert_eq!(plan(&[Retired, Active], Some("b")), [(Purge, 4500)]);
    let planned = set(&[Active, Pending]).plan("a", Some("b"), &terms(&behind, 1100, Waive::Nothing));
    assert_eq!(planned[0].undo, Some(Undo::Activate("a".to_owned())));
    assert_eq!(planned[0].waiting_for, [("s2".to_owned(), Some(900))]);
}

mod jobs {
    use super::*;

    fn job(until: Stage) -> Job {
        Job::begin("j".into(), "a".into(), "b".into(), until, "user/mira".into(), 0)
    }

    /// Takes a job and its set as far as they go, and tells the steps. Each turn is long after the one before.
    fn drive(job: &mut Job, set: &mut Set<Lamp>) -> Vec<String> {
        let nobody = Evidence::default();
        let mut steps = Vec::new();
        loop {
            let now_ms = job.changed_ms + 100_000;
            match job.next(set.get("b").map(|item| item.state), now_ms) {
                Next::Rest => return steps,
                Next::End(after) => *job = *after,
                Next::Step(step, id, after) => {
                    *set = set.step(&id, step, &terms(&nobody, now_ms, Waive::Nothing)).unwrap();
                    *job = *after;
                    steps.push(format!("{step} {id}"));
                }
            }
        }
    }

    fn states(set: &Set<Lamp>) -> Vec<State> {
        set.items.iter().map(|item| item.state).collect()
    }

    #[test]
    fn it_goes_all_the_way() {
        let (mut job, mut set) = (job(Stage::Purge), set(&[Active, Pending]));
        assert_eq!(drive(&mut job, &mut set), ["activate b", "retire a", "purge a"]);
        assert_eq!((job.state, job.done, states(&set).as_slice()), (JobState::Done, Stage::Purge, &[Active][..]));
        assert!(job.is_over() && job.abort(0).is_err() && job.pause(0).is_err() && job.resume(None, 0).is_err());
    }

    #[test]
    fn it_pauses_where_it_is_told_and_goes_on() {
        let (mut job, mut set) = (job(Stage::Add), set(&[Active, Pending]));
        assert_eq!((drive(&mut job, &mut set).len(), job.state), (0, JobState::Paused));
        for (until, steps) in [(Stage::Activate, "activate b"), (Stage::Retire, "retire a")] {
            job = job.resume(Some(until), job.changed_ms).unwrap();
            assert_eq!((drive(&mut job, &mut set).as_slice(), job.state), (&[steps.to_owned()][..], JobState::Paused));
            assert!(matches!(job.resume(Some(until), 1), Err(JobError::Past { .. })));
        }
        job = job.resume(None, job.changed_ms).unwrap();
        assert_eq!((drive(&mut job, &mut set).as_slice(), job.state), (&["purge a".to_owned()][..], JobState::Done));
    }

    #[test]
    fn it_is_aborted_at_every_stage_until_the_old_one_is_retired() {
        let way_back: [(Stage, &[&str]); 2] =
            [(Stage::Add, &["retire b"]), (Stage::Activate, &["activate a", "retire b"])];
        for (until, steps) in way_back {
            let (mut job, mut set) = (job(until), set(&[Active, Pending]));
            drive(&mut job, &mut set);
            job = job.abort(job.changed_ms).unwrap();
            assert_eq!(drive(&mut job, &mut set), steps, "after {until}");
            assert_eq!((job.state, states(&set).as_slice()), (JobState::Aborted, &[Active, Retired][..]));
        }
        let (mut job, mut set) = (job(Stage::Retire), set(&[Active, Pending]));
        drive(&mut job, &mut set);
        assert_eq!(
            job.abort(1).unwrap_err().to_string(),
            "the rotation j has retired a, which stays retired; it can only go on"
        );
    }

    #[test]
    fn trouble_is_told_until_it_goes_on() {
        let stuck = job(Stage::Purge).stuck("b is gone".to_owned(), 5);
        assert_eq!((stuck.state, stuck.trouble.as_deref()), (JobState::Paused, Some("b is gone")));
        assert_eq!(stuck.next(None, 6), Next::Rest);
        assert_eq!(stuck.resume(None, 7).unwrap().trouble, None);
    }
}
