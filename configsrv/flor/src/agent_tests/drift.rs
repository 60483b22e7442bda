//! Files that somebody changed are written again, wherever the agent is stopped meanwhile, and their programs are told.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use configsrv_fleet::artifact::Activation;

use super::{Fleet, HOME, guarded, is_old};
use crate::{
    Error,
    activate::{Hooks, SteppedHooks},
    agent::{Agent, Demand},
    disk::{
        SteppedDisk, Steps,
        forgetful::{Crash, ForgetfulDisk},
    },
    home::Layout,
    machine::Failure,
    outcome::Outcome,
};

/// A program that reads its file when it is told.
struct Program {
    disk: ForgetfulDisk,
    read: Arc<Mutex<Vec<Option<String>>>>,
}

#[async_trait]
impl Hooks for Program {
    async fn run(&self, _hook: &Activation) -> Result<(), Failure> {
        self.read.lock().unwrap().push(self.disk.text("/etc/shop"));
        Ok(())
    }
}

/// A program that does not accept its file.
struct Refuses;

#[async_trait]
impl Hooks for Refuses {
    async fn run(&self, _hook: &Activation) -> Result<(), Failure> {
        Err(Failure("it failed".into()))
    }
}

/// An agent whose disk stops right after a step; the steps, and what the program has read.
struct Run {
    agent: Agent,
    steps: Arc<Mutex<Vec<String>>>,
    read: Arc<Mutex<Vec<Option<String>>>>,
    stopped: Arc<AtomicBool>,
}

impl Run {
    fn new(fleet: &Fleet, disk: &ForgetfulDisk, stop_at: Option<&str>) -> Self {
        let (steps, stopped): (Arc<Mutex<Vec<String>>>, Arc<AtomicBool>) = Default::default();
        let read = Arc::default();
        let at = {
            let (disk, steps, stopped) = (disk.clone(), Arc::clone(&steps), Arc::clone(&stopped));
            let stop_at = stop_at.map(str::to_owned);
            Arc::new(Steps::new(Layout::at(HOME), move |step| {
                steps.lock().unwrap().push(step.to_owned());
                if stop_at.as_deref() == Some(step) {
                    stopped.store(true, Ordering::Relaxed);
                    disk.stop_after(0);
                }
            }))
        };
        let program = Program { disk: disk.clone(), read: Arc::clone(&read) };
        let stepped = SteppedDisk::new(disk.clone(), Arc::clone(&at));
        let hooks = SteppedHooks::new(program, at);
        let agent = fleet.agent_on(Arc::new(stepped), Arc::new(hooks), Arc::clone(&fleet.clock) as _);
        Self { agent, steps, read, stopped }
    }
}

/// Version 1, of which somebody changed one file and removed another.
async fn drifted(fleet: &Fleet) -> ForgetfulDisk {
    let disk = fleet.settled().await;
    disk.plant("/etc/shop", b"by hand");
    crate::disk::erase(&disk, "/etc/old".as_ref()).unwrap();
    disk
}

#[tokio::test]
async fn what_is_repaired_is_told_to_its_program_wherever_the_agent_is_stopped() {
    let fleet = Fleet::new();
    let before = drifted(&fleet).await;
    let clean = Run::new(&fleet, &before.after(Crash::Kill), None);
    let outcome = clean.agent.repair(None).await.unwrap();
    assert_eq!(outcome, Outcome::Repaired { files: vec!["/etc/shop".into(), "/etc/old".into()] });
    let steps = clean.steps.lock().unwrap().clone();
    let at = |name: &str| steps.iter().position(|step| step == name).unwrap_or_else(|| panic!("{name}: {steps:?}"));
    assert!(at("state.rename") < at("file:shop.write") && at("file:shop.rename") < at("hook"), "{steps:?}");
    assert!(at("hook") < at("state.rename#2"), "{steps:?}");

    for step in &steps {
        for crash in [Crash::Kill, Crash::PowerLoss] {
            let context = format!("{crash:?} after {step}");
            let disk = before.after(Crash::Kill);
            let stopped = Run::new(&fleet, &disk, Some(step));
            let _ = stopped.agent.repair(None).await;
            assert!(stopped.stopped.load(Ordering::Relaxed), "never came to {step}");
            let told = stopped.read.lock().unwrap().clone();
            assert!(told.iter().all(|read| read.as_deref() == Some("one")), "{context}: {told:?}");

            let disk = disk.after(crash);
            let back = Run::new(&fleet, &disk, None);
            let world = back.agent.recover().await.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(world.state.repairing, Vec::<String>::new(), "{context}");
            let left = back.agent.drift().unwrap().files.len();
            // Whatever had begun is done; what had not is found again.
            assert!(left == 0 || left == 2, "{context}: {left}");
            back.agent.repair(None).await.unwrap();
            is_old(&disk, &context);
            let told = [told, back.read.lock().unwrap().clone()].concat();
            assert_eq!(told.last(), Some(&Some("one".to_owned())), "{context}: nobody told the program");
        }
    }
}

#[tokio::test]
async fn a_repair_that_fails_is_not_tried_for_ever() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    fleet.publish(3, &[("/etc/shop", "one", Some("reload")), ("/etc/motd", "three", None)]);
    agent.sync(&guarded()).await.unwrap();
    let error = agent.repair(None).await.unwrap_err();
    assert!(matches!(&error, Error::State(text) if text.contains("waits for its confirmation")), "{error}");
    agent.confirm(None, Demand::All).await.unwrap();
    assert_eq!(agent.repair(None).await.unwrap(), Outcome::Repaired { files: Vec::new() });

    disk.plant("/etc/shop", b"by hand");
    disk.plant("/etc/motd", b"by hand");
    let agent = fleet.agent_on(Arc::new(disk.clone()), Arc::new(Refuses), Arc::clone(&fleet.clock) as _);
    let error = agent.repair(Some(&["/etc/shop".to_owned()])).await.unwrap_err();
    assert!(error.to_string().contains("it failed"), "{error}");
    let world = agent.recover().await.unwrap();
    assert_eq!(world.state.repairing, Vec::<String>::new());
    assert_eq!(world.state.repaired.unwrap().failure.as_deref(), Some("it failed"));
    assert_eq!((disk.text("/etc/shop").as_deref(), disk.text("/etc/motd").as_deref()), (Some("one"), Some("by hand")));
    let reported = fleet.server.reports.lock().unwrap().last().unwrap().drift.clone().unwrap();
    assert_eq!((reported.files, reported.first), (1, vec!["/etc/motd: another content".to_owned()]));
}
