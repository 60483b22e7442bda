use std::{sync::Arc, thread, time::Instant};

use super::{
    agent::{Action, Agent, Happened, Step},
    history::{Asked, History},
    http::{Lock, Operation},
};

/// A second of the agent's time is a millisecond of ours.
const SCALE: u32 = 1_000;

/// One machine: its agent, its lock manager, and what goes wrong on it.
#[derive(Debug)]
pub struct Host {
    lock: Lock,
    seed: u64,
    mischief: Mischief,
    history: Arc<History>,
}

/// What a machine does that a server has to bear. One call in so many, by chance, is like this; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mischief {
    /// A call is sent twice.
    pub repeats: u32,
    /// The answer to a pre-reboot is not waited for, and it is sent anew.
    pub abandons: u32,
    /// The agent is started anew after a grant, before the reboot.
    pub restarts: u32,
    /// Users are logged in for so many rounds when the lock is granted.
    pub sessions: u32,
}

impl Host {
    pub fn new(lock: Lock, seed: u64, mischief: Mischief, history: Arc<History>) -> Self {
        Self { lock, seed, mischief, history }
    }

    /// Boots and updates until it has rebooted `times`, then boots once more and is steady.
    pub fn reboot(&mut self, times: usize) {
        for _ in 0..times {
            self.update_until_granted();
        }
        self.boot();
    }

    /// Runs until the machine is about to reboot with a slot in its hand: who stops here has vanished with it.
    pub fn update_until_granted(&mut self) {
        let (mut agent, mut step) = self.start();
        loop {
            let happened = self.act(step);
            if step.action == Action::Finalize {
                return;
            }
            step = agent.next(happened);
            if agent.is_granted() && self.every(self.mischief.restarts) {
                (agent, step) = self.start();
            }
        }
    }

    /// Starts the agent and lets it say that the machine is steady, however often that takes.
    pub fn boot(&mut self) {
        let (mut agent, mut step) = self.start();
        while self.act(step) != Happened::Succeeded {
            step = agent.next(Happened::Failed);
        }
    }

    /// Boots, and looks for updates in vain.
    pub fn idle(&mut self) {
        self.boot();
        let (mut agent, _) = self.start();
        self.act(agent.next(Happened::Succeeded));
    }

    /// The same machine with another identity. Its old one holds what it held.
    #[must_use]
    pub fn imaged_anew(self, id: &str) -> Self {
        Self { lock: self.lock.with_id(id), ..self }
    }

    fn start(&mut self) -> (Agent, Step) {
        let (mut agent, first) = Agent::start(self.random());
        agent.log_in(self.mischief.sessions);
        (agent, first)
    }

    fn act(&mut self, step: Step) -> Happened {
        // The pace of the machine, not a wait for anything.
        thread::sleep(step.after / SCALE);
        match step.action {
            Action::SteadyState => self.call(Operation::SteadyState),
            Action::PreReboot => {
                if self.every(self.mischief.abandons) {
                    // A server that is not there is found out by the call that follows.
                    let _ = self.lock.abandon(Operation::PreReboot);
                }
                self.call(Operation::PreReboot)
            }
            // There is always one.
            Action::LookForUpdate | Action::Finalize => Happened::Succeeded,
        }
    }

    fn call(&mut self, operation: Operation) -> Happened {
        if self.every(self.mischief.repeats) {
            self.ask(operation);
        }
        self.ask(operation)
    }

    fn ask(&self, operation: Operation) -> Happened {
        let sent = Instant::now();
        let outcome = self.lock.ask(operation);
        let happened = if outcome.is_ok() { Happened::Succeeded } else { Happened::Failed };
        let id = self.lock.id().to_owned();
        self.history.note(Asked { id, operation, sent, ended: Instant::now(), outcome });
        happened
    }

    fn every(&mut self, nth: u32) -> bool {
        // The upper bits of such a generator are the random ones.
        nth != 0 && (self.random() >> 33).is_multiple_of(u64::from(nth))
    }

    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed
    }
}
