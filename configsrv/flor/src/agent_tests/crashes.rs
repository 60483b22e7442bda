//! Stops the agent after every step of everything that it does, by the step's name; loses what was not synced, or not;
//! starts the machine again with clocks that moved; and demands one whole state: the confirmed version, or the one that may
//! still be confirmed.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use configsrv_fleet::Version;

use super::{Fleet, HOME, Told, WINDOW_MS, guarded};
use crate::{
    Error,
    activate::SteppedHooks,
    agent::{Agent, Demand},
    disk::{
        Disk as _, SteppedDisk, Steps,
        forgetful::{Crash, ForgetfulDisk},
    },
    home::Layout,
    machine::Now,
    outcome::SyncRequest,
};

const DAY_MS: i64 = 24 * 3600 * 1000;
const HOOK: Option<&str> = Some("reload");

/// What is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// The node's first version, under a guard.
    First,
    Sync,
    /// Without a guard.
    Keep,
    /// Another number for what runs.
    Adopt,
    Confirm,
    /// The deadline comes.
    RollBack,
    Supersede,
    /// A start after the deadline.
    Recover,
    /// A start within the window, after an activation that was cut off.
    Resume,
}

const OPERATIONS: [Operation; 9] = [
    Operation::First,
    Operation::Sync,
    Operation::Keep,
    Operation::Adopt,
    Operation::Confirm,
    Operation::RollBack,
    Operation::Supersede,
    Operation::Recover,
    Operation::Resume,
];

/// How the machine comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    SameBoot,
    /// Only the agent was away, until the deadline had passed.
    SameBootLate,
    Rebooted,
    /// The wall clock jumped, but not past the deadline.
    Forward,
    /// It lost a day.
    Backward,
    RebootedLate,
}

const BACK: [Back; 6] =
    [Back::SameBoot, Back::SameBootLate, Back::Rebooted, Back::Forward, Back::Backward, Back::RebootedLate];

/// A machine before an operation, which can be begun again and again.
struct Start {
    operation: Operation,
    fleet: Fleet,
    disk: ForgetfulDisk,
    now: Now,
    /// A later version, to see that the node is still good for one.
    next: Vec<u8>,
    published: Vec<u8>,
}

/// An agent that stops right after a step.
struct Run {
    disk: ForgetfulDisk,
    agent: Agent,
    taken: Arc<AtomicBool>,
    steps: Arc<Mutex<Vec<String>>>,
}

impl Start {
    async fn new(operation: Operation) -> Self {
        let fleet = Fleet::new();
        let disk = if operation == Operation::First {
            let disk = ForgetfulDisk::default();
            disk.plant("/etc/motd", b"by hand");
            fleet.publish(1, FILES[0]);
            disk
        } else {
            fleet.settled().await
        };
        let agent = fleet.agent(&disk);
        match operation {
            Operation::First | Operation::Sync | Operation::Keep => {}
            Operation::Adopt => fleet.publish(2, FILES[0]),
            Operation::Confirm => drop(agent.sync(&guarded()).await.unwrap()),
            Operation::RollBack | Operation::Recover => {
                agent.sync(&guarded()).await.unwrap();
                fleet.pass(WINDOW_MS);
            }
            Operation::Supersede => {
                agent.sync(&guarded()).await.unwrap();
                fleet.publish(3, FILES[2]);
            }
            Operation::Resume => {
                let run = stopping(&fleet, &disk, Some("file:shop.rename"));
                run.agent.sync(&guarded()).await.unwrap_err();
                assert!(run.taken.load(Ordering::Relaxed));
            }
        }
        let published = fleet.server.bytes.lock().unwrap().clone();
        fleet.publish(9, FILES[3]);
        let next = fleet.server.bytes.lock().unwrap().clone();
        let now = fleet.clock.0.lock().unwrap().clone();
        Self { operation, disk: disk.after(Crash::Kill), now, next, published, fleet }
    }

    /// Runs the operation until the step; whether it was told to be done.
    async fn run(&self, stop_at: Option<&str>) -> (Run, bool) {
        self.restore();
        let run = stopping(&self.fleet, &self.disk.after(Crash::Kill), stop_at);
        let agent = &run.agent;
        let done = match self.operation {
            Operation::First | Operation::Sync | Operation::Adopt => agent.sync(&guarded()).await.map(drop),
            Operation::Keep => agent.sync(&SyncRequest::default()).await.map(drop),
            Operation::Confirm => agent.confirm(None, Demand::All).await.map(drop),
            Operation::RollBack => agent.tick(None).await.map(drop),
            Operation::Supersede => agent.sync(&SyncRequest { supersede: true, ..guarded() }).await.map(drop),
            Operation::Recover | Operation::Resume => agent.recover().await.map(drop),
        };
        (run, done.is_ok())
    }

    fn restore(&self) {
        *self.fleet.clock.0.lock().unwrap() = self.now.clone();
        self.fleet.server.bytes.lock().unwrap().clone_from(&self.published);
    }

    /// The machine starts again, and lives past every deadline.
    async fn come_back(&self, disk: &ForgetfulDisk, back: Back, done: bool, context: &str) {
        self.restore();
        let clock = &self.fleet.clock;
        match back {
            Back::SameBoot => clock.pass(1000),
            Back::SameBootLate => clock.pass(WINDOW_MS),
            Back::Rebooted => clock.reboot(30_000),
            Back::Forward => clock.reboot(240_000),
            Back::Backward => clock.reboot(-DAY_MS),
            Back::RebootedLate => clock.reboot(i64::try_from(WINDOW_MS).unwrap() + 1000),
        }
        let agent = self.fleet.agent(disk);
        agent.recover().await.unwrap_or_else(|error| panic!("{context}: {error}"));
        let pending = self.is_whole(&agent, disk, context).await;
        assert!(!(pending && matches!(back, Back::SameBootLate | Back::RebootedLate)), "{context}: late and pending");
        clock.pass(WINDOW_MS);
        agent.recover().await.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(!self.is_whole(&agent, disk, context).await, "{context}: it waits for ever");
        let confirmed = agent.status().confirmed.map(Version::get);
        let may_be_kept = matches!(self.operation, Operation::Keep | Operation::Adopt | Operation::Confirm);
        match confirmed {
            Some(2) => assert!(may_be_kept, "{context}: nobody confirmed"),
            Some(1) if self.operation != Operation::First => {
                assert!(!(may_be_kept && done), "{context}: what was done is lost");
            }
            None if self.operation == Operation::First => {}
            _ => panic!("{context}: confirmed {confirmed:?}"),
        }
        if back != Back::SameBoot {
            return;
        }
        self.fleet.server.bytes.lock().unwrap().clone_from(&self.next);
        agent.sync(&SyncRequest::default()).await.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(agent.status().confirmed.map(Version::get), Some(9), "{context}");
        let mut expected = content(Some(4));
        if confirmed == Some(2) && self.operation != Operation::Adopt {
            // A confirmed version's file goes with it: what was there before is forgotten.
            expected[2] = None;
        }
        assert_eq!(files(disk), expected, "{context}");
    }

    /// One version, all of it, that is readable; whether it waits for its confirmation.
    async fn is_whole(&self, agent: &Agent, disk: &ForgetfulDisk, context: &str) -> bool {
        let status = agent.status();
        let active = status.active.map(Version::get);
        let pending = status.pending.as_ref().map(|pending| pending.version.get());
        match pending {
            Some(pending) => assert_eq!(active, Some(pending), "{context}: pending and not active"),
            None => assert_eq!(status.active, status.confirmed, "{context}: active and not confirmed"),
        }
        assert_eq!(status.degraded, None, "{context}");
        let of = if self.operation == Operation::Adopt { active.map(|_| 1) } else { active };
        assert_eq!(files(disk), content(of), "{context}: files of version {active:?}");
        agent.connect().await.unwrap_or_else(|error| panic!("{context}: {error}"));
        let (sets, kept) =
            (disk.list(&Layout::at(HOME).sets()).unwrap(), status.confirmed.into_iter().chain(status.active));
        assert!(kept.into_iter().all(|version| sets.contains(&format!("v{version}"))), "{context}: {sets:?}");
        pending.is_some()
    }
}

fn stopping(fleet: &Fleet, disk: &ForgetfulDisk, stop_at: Option<&str>) -> Run {
    let (taken, seen): (Arc<AtomicBool>, Arc<Mutex<Vec<String>>>) = Default::default();
    let steps = {
        let (disk, taken, seen) = (disk.clone(), Arc::clone(&taken), Arc::clone(&seen));
        let stop_at = stop_at.map(str::to_owned);
        Arc::new(Steps::new(Layout::at(HOME), move |step| {
            seen.lock().unwrap().push(step.to_owned());
            if stop_at.as_deref() == Some(step) {
                taken.store(true, Ordering::Relaxed);
                disk.stop_after(0);
            }
        }))
    };
    let stepped = SteppedDisk::new(disk.clone(), Arc::clone(&steps));
    let hooks = SteppedHooks::new(Told, steps);
    let agent = fleet.agent_on(Arc::new(stepped), Arc::new(hooks), Arc::clone(&fleet.clock) as _);
    Run { disk: disk.clone(), agent, taken, steps: seen }
}

/// What versions 1, 2, 3 and 9 write.
const FILES: [&[(&str, &str, Option<&str>)]; 4] = [
    &[("/etc/shop", "one", HOOK), ("/etc/old", "one", None)],
    &[("/etc/shop", "two", HOOK), ("/etc/motd", "two", None), ("/etc/new", "two", None)],
    &[("/etc/shop", "three", HOOK)],
    &[("/etc/shop", "nine", HOOK)],
];
const NAMES: [&str; 4] = ["/etc/shop", "/etc/old", "/etc/motd", "/etc/new"];

fn files(disk: &ForgetfulDisk) -> Vec<Option<String>> {
    NAMES.iter().map(|name| disk.text(name)).collect()
}

/// What the files are under a version, or before any.
fn content(version: Option<u64>) -> Vec<Option<String>> {
    let text = |name: &str| {
        let written = version.and_then(|version| FILES.get(usize::try_from(version).ok()? - 1));
        let here = written.into_iter().flat_map(|files| files.iter()).find(|(path, ..)| *path == name);
        let by_hand = (name == "/etc/motd").then_some("by hand");
        here.map(|(_, text, _)| *text).or(by_hand).map(str::to_owned)
    };
    NAMES.iter().map(|name| text(name)).collect()
}

#[tokio::test]
async fn a_crash_after_any_step_ends_in_one_whole_state() {
    let mut cases = 0;
    for operation in OPERATIONS {
        let start = Start::new(operation).await;
        let (clean, done) = start.run(None).await;
        assert!(done, "{operation:?}");
        let steps = clean.steps.lock().unwrap().clone();
        let last = steps.last().unwrap().clone();
        for step in steps {
            let (run, done) = start.run(Some(&step)).await;
            assert!(run.taken.load(Ordering::Relaxed), "{operation:?} never came to {step}");
            assert!(!done || step == last || tidied(&step), "{operation:?} went on after {step}");
            for crash in [Crash::Kill, Crash::PowerLoss] {
                for back in BACK {
                    let context = format!("{operation:?}, {crash:?} after {step}, {back:?}");
                    start.come_back(&run.disk.after(crash), back, done, &context).await;
                    cases += 1;
                }
            }
        }
    }
    assert!(cases > 3000, "{cases}");
}

/// What a start removes may stay if it cannot be removed.
fn tidied(step: &str) -> bool {
    step.starts_with("set.remove") || step.starts_with("records.")
}

#[tokio::test]
async fn the_steps_of_a_sync_are_these() {
    let start = Start::new(Operation::Sync).await;
    let (clean, _) = start.run(None).await;
    let steps = clean.steps.lock().unwrap().clone();
    for step in [
        "artifact.rename",
        "state.rename",
        "originals.remove",
        "pending.rename",
        "current.rename",
        "originals.rename",
        "file:shop.write",
        "file:shop.sync",
        "file:shop.rename",
        "file:etc.sync",
        "file:new.rename",
        "file:old.remove",
        "hook",
        "pending.rename#2",
    ] {
        assert!(steps.contains(&step.to_owned()), "{step}: {steps:?}");
    }
    let at = |name: &str| steps.iter().position(|step| step == name).unwrap();
    assert!(at("artifact.rename") < at("pending.rename") && at("pending.rename") < at("current.rename"));
    assert!(at("current.rename") < at("file:shop.write") && at("file:old.remove") < at("hook"));
}

/// An agent that was stopped tells nobody that it is done.
#[tokio::test]
async fn a_stopped_agent_says_so() {
    let start = Start::new(Operation::Sync).await;
    let (run, done) = start.run(Some("pending.rename")).await;
    assert!(!done);
    assert!(matches!(run.agent.recover().await, Err(Error::Unexpected(_))));
}
