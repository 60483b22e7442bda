use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use openraft::{Raft, ServerState, async_runtime::watch::WatchReceiver as _};
use parking_lot::Mutex;
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{
    Sabotage,
    chance::Chance,
    disk::LogDisk,
    lessor::Lessor,
    machine::{Image, Machine, State},
    network::{Links, Net},
    record::Record,
};
use crate::{
    GroupId, Limits, RaftId, Slot, Stall, Timing,
    log::{LogStore, Unsynced},
    rejoin::{Host, Roster, Step, unfinished},
    stall::StepDown,
    types::{Peer, TypeConfig},
};

pub(super) type SimRaft = Raft<TypeConfig, Machine>;

/// What the servers of a run have in common.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) members: u16,
    pub(super) timing: Timing,
    pub(super) settings: Arc<openraft::Config>,
    pub(super) net: Net,
    pub(super) record: Record,
    pub(super) chance: Chance,
    pub(super) sabotage: Sabotage,
}

/// A slot of the cluster: its disks, and the process if it runs.
struct Server {
    id: RaftId,
    log: Arc<LogDisk>,
    flushed: Arc<Mutex<Image>>,
    /// Whether it may run Raft; a server with a new disk must be let in first.
    admitted: bool,
    /// Whether it has its vote, or has it back.
    settled: bool,
    process: Option<Process>,
}

/// A server that runs. Clones share it.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) id: RaftId,
    pub(super) raft: SimRaft,
    pub(super) state: Arc<State>,
    pub(super) lessor: Arc<Lessor>,
    pub(super) alive: Arc<AtomicBool>,
    unsynced: Unsynced,
}

impl Process {
    pub(super) fn term(&self) -> u64 {
        self.raft.metrics().borrow_watched().current_term
    }

    /// The last entry in its state.
    pub(super) fn applied(&self) -> u64 {
        self.raft.metrics().borrow_watched().last_applied.map_or(0, |id| id.index)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }
}

/// All servers. Clones share them.
#[derive(Clone)]
pub(super) struct Fleet {
    pub(super) common: Common,
    servers: Arc<Mutex<Vec<Server>>>,
    tasks: Arc<Mutex<BTreeMap<Slot, Vec<AbortHandle>>>>,
}

fn id(slot: Slot, incarnation: u64) -> RaftId {
    RaftId::from_u64(u64::from(slot.0) << 48 | incarnation)
}

impl Fleet {
    pub(super) fn new(common: Common) -> Self {
        let server = |slot| Server {
            id: id(Slot(slot), 1),
            log: LogDisk::new(common.chance.clone(), common.sabotage),
            flushed: Arc::default(),
            admitted: true,
            settled: true,
            process: None,
        };
        let servers = (0..common.members).map(server).collect();
        Self { servers: Arc::new(Mutex::new(servers)), common, tasks: Arc::default() }
    }

    pub(super) fn slots(&self) -> Vec<Slot> {
        (0..self.common.members).map(Slot).collect()
    }

    pub(super) fn process(&self, slot: Slot) -> Option<Process> {
        self.servers.lock()[usize::from(slot.0)].process.clone()
    }

    pub(super) fn processes(&self) -> Vec<Process> {
        self.slots().into_iter().filter_map(|slot| self.process(slot)).collect()
    }

    /// Whether nothing of the server is up: no Raft, and nobody who asks for its place.
    pub(super) fn is_down(&self, slot: Slot) -> bool {
        self.tasks.lock().get(&slot).is_none_or(Vec::is_empty)
    }

    /// Who leads, as far as anybody knows.
    pub(super) fn leader(&self) -> Option<Process> {
        let leads = |process: &Process| process.raft.metrics().borrow_watched().state == ServerState::Leader;
        self.processes().into_iter().filter(leads).max_by_key(Process::term)
    }

    /// Slots whose new disk has no vote yet by what the leader knows.
    pub(super) fn unsettled(&self) -> usize {
        let servers = self.servers.lock();
        let voters: Option<Vec<RaftId>> =
            servers.iter().filter_map(|server| server.process.as_ref()).find_map(|process| {
                let metrics = process.raft.metrics().borrow_watched().clone();
                let leads = metrics.state == ServerState::Leader;
                let single = metrics.membership_config.membership().get_joint_config().len() == 1;
                leads
                    .then(|| if single { process.raft.voter_ids().map(RaftId::from_u64).collect() } else { Vec::new() })
            });
        let voters = voters.unwrap_or_default();
        servers.iter().filter(|server| !voters.contains(&server.id)).count()
    }

    /// How many servers beside `slot` have lost their disks and are not back.
    pub(super) fn lost_besides(&self, slot: Slot) -> usize {
        let servers = self.servers.lock();
        servers.iter().filter(|server| server.id.slot() != slot && !server.settled).count()
    }

    /// The first start of all.
    pub(super) async fn begin(&self) {
        for slot in self.slots() {
            self.start(slot);
        }
        while self.processes().len() < usize::from(self.common.members) {
            sleep(Duration::from_millis(1)).await;
        }
        let members: BTreeMap<u64, Peer> =
            self.processes().iter().map(|process| (process.id.to_u64(), Peer::default())).collect();
        if let Some(first) = self.process(Slot(0))
            && let Err(error) = first.raft.initialize(members).await
        {
            self.common.record.note(format!("cannot begin: {error}"));
        }
    }

    /// Starts a server that is down.
    pub(super) fn start(&self, slot: Slot) {
        let fleet = self.clone();
        self.spawn(slot, Box::pin(async move { fleet.run(slot).await }));
    }

    fn spawn(&self, slot: Slot, task: BoxFuture<'static, ()>) {
        let handle = tokio::spawn(task).abort_handle();
        self.tasks.lock().entry(slot).or_default().push(handle);
    }

    async fn run(&self, slot: Slot) {
        let (id, admitted) = {
            let server = &self.servers.lock()[usize::from(slot.0)];
            (server.id, server.admitted)
        };
        if !admitted {
            self.common.record.note(format!("{id} asks for its place"));
            self.ask_back(id).await;
            self.common.record.note(format!("{id} may learn"));
            self.common.record.lock().rejoins += 1;
            self.servers.lock()[usize::from(slot.0)].admitted = true;
        }
        match self.open(slot).await {
            Ok(process) => {
                self.common.record.note(format!("{id} runs"));
                self.attend(slot, &process);
            }
            Err(error) => self.common.record.judge(|_| Err(format!("{id} does not start: {error}"))),
        }
    }

    /// The rejoining server's part: whoever leads acts.
    async fn ask_back(&self, own: RaftId) {
        let peer = Peer::default();
        loop {
            for process in self.processes() {
                let (members, patience, peer) = (self.common.members, self.common.timing.election_max, peer.clone());
                let asked = self.common.net.call(own.slot(), process.id, |raft| async move {
                    let host = Host::new(&raft, members, patience);
                    let admitted = timeout(patience * 4, host.admit(own, &peer)).await;
                    admitted.ok()?.ok()
                });
                if asked.await.is_some() {
                    return;
                }
            }
            sleep(self.common.chance.millis(50, 150)).await;
        }
    }

    async fn open(&self, slot: Slot) -> Result<Process, String> {
        let alive = Arc::new(AtomicBool::new(true));
        let (id, log, flushed) = {
            let server = &self.servers.lock()[usize::from(slot.0)];
            (server.id, server.log.mount(&alive), Arc::clone(&server.flushed))
        };
        let state = State::open(flushed, Arc::clone(&alive), self.common.record.clone(), self.common.sabotage);
        let unsynced = log.unsynced();
        let log = LogStore::on(log, GroupId(1), Limits::default(), Arc::clone(&state) as _);
        let log = log.map_err(|error| error.to_string())?;
        let links = Links { net: self.common.net.clone(), own: id, alive: Arc::clone(&alive) };
        let settings = Arc::clone(&self.common.settings);
        let raft = Raft::build(id.to_u64(), settings, links, log, Machine(Arc::clone(&state))).await;
        let raft = raft.map_err(|error| error.to_string())?;
        raft.run();
        let process = Process { id, raft, state, lessor: Arc::default(), alive, unsynced };
        self.common.net.join(&process);
        self.servers.lock()[usize::from(slot.0)].process = Some(process.clone());
        Ok(process)
    }

    /// What goes on in a server beside Raft.
    fn attend(&self, slot: Slot, process: &Process) {
        let (observed, record) = (process.clone(), self.common.record.clone());
        let sabotaged = self.common.sabotage != Sabotage::Nothing;
        self.spawn(slot, Box::pin(observe(observed, record, sabotaged)));
        let (tended, fleet) = (process.clone(), self.clone());
        self.spawn(slot, Box::pin(async move { fleet.tend(tended).await }));
        if self.common.sabotage != Sabotage::HungLeadersStay {
            self.spawn(slot, Box::pin(watch_disk(process.clone(), self.common.clone())));
        }
        let (state, chance) = (Arc::clone(&process.state), self.common.chance.clone());
        self.spawn(
            slot,
            Box::pin(async move {
                loop {
                    sleep(chance.millis(500, 3_000)).await;
                    state.flush();
                }
            }),
        );
        let (expiring, timing) = (process.clone(), self.common.timing);
        let extended = self.common.sabotage != Sabotage::LeasesAreNotExtended;
        self.spawn(slot, Box::pin(async move { expiring.lessor.clone().run(expiring, timing, extended).await }));
    }

    /// The leader's part of a rejoin, as a group's keeper does it.
    async fn tend(&self, process: Process) {
        let common = &self.common;
        loop {
            sleep(common.chance.millis(50, 150)).await;
            let (leads, roster, committed) = {
                let metrics = process.raft.metrics();
                let metrics = metrics.borrow_watched();
                let committed = metrics.local_committed.map_or(0, |id| id.index);
                (metrics.state == ServerState::Leader, Roster::of(&metrics.membership_config), committed)
            };
            if !leads {
                continue;
            }
            let step = unfinished(&roster);
            if step != Step::Settle && roster.is_committed(committed) {
                for server in self.servers.lock().iter_mut() {
                    server.settled |= roster.contains(server.id) && step != Step::Promote(server.id);
                }
            }
            if step != Step::Rest {
                let host = Host::new(&process.raft, common.members, common.timing.election_max);
                let tended = timeout(common.timing.election_max * 4, host.tend()).await;
                common.record.note(format!("{} tends {step:?}: {tended:?}", process.id));
            }
        }
    }

    /// From now on the disk of a log syncs nothing, or syncs again.
    pub(super) fn hang(&self, slot: Slot, hangs: bool) {
        self.common.record.note(format!("the disk of slot {slot} {}", if hangs { "hangs" } else { "is well" }));
        self.servers.lock()[usize::from(slot.0)].log.hang(hangs);
    }

    /// The process ends without a word, and its disk keeps what it must.
    pub(super) fn crash(&self, slot: Slot) {
        for task in self.tasks.lock().remove(&slot).into_iter().flatten() {
            task.abort();
        }
        let server = &mut self.servers.lock()[usize::from(slot.0)];
        if let Some(process) = server.process.take() {
            process.alive.store(false, Ordering::SeqCst);
            self.common.net.leave(process.id);
            // Frees what openraft holds; it can neither write nor send any more.
            tokio::spawn(async move { drop(process.raft.shutdown().await) });
        }
        server.log.crash();
    }

    /// The disk of a server that is down is lost.
    pub(super) fn wipe(&self, slot: Slot) {
        let server = &mut self.servers.lock()[usize::from(slot.0)];
        server.log = LogDisk::new(self.common.chance.clone(), self.common.sabotage);
        server.flushed = Arc::default();
        server.settled = false;
        if self.common.sabotage != Sabotage::OldNameAfterLostDisk {
            server.id = id(slot, server.id.to_u64() + 1);
            server.admitted = false;
        }
    }

    /// The log of a server that is down or idle.
    pub(super) async fn log_of(&self, slot: Slot) -> Result<Vec<crate::types::Entry>, String> {
        use openraft::{RaftLogReader as _, storage::RaftLogStorage as _};
        let alive = Arc::new(AtomicBool::new(true));
        let (log, state) = {
            let server = &self.servers.lock()[usize::from(slot.0)];
            (
                server.log.mount(&alive),
                State::open(Arc::default(), alive, self.common.record.clone(), self.common.sabotage),
            )
        };
        let store = LogStore::on(log, GroupId(1), Limits::default(), state);
        let mut store = store.map_err(|error| error.to_string())?;
        store.get_log_reader().await.try_get_log_entries(..).await.map_err(|error| error.to_string())
    }
}

/// As a node watches the disk of its log.
async fn watch_disk(process: Process, common: Common) {
    let mut step_down = StepDown::default();
    loop {
        sleep(common.timing.heartbeat).await;
        let stalled = Stall::of(process.unsynced.age(), &common.timing).is_some();
        if let Some(to) = step_down.look(&process.raft, stalled, common.timing.election_max).await {
            common.record.note(format!("{} hands over to {to}", process.id));
            common.record.lock().step_downs += 1;
        }
    }
}

/// Tells the record when a server leads, and when openraft gives up.
async fn observe(process: Process, record: Record, sabotaged: bool) {
    let mut metrics = process.raft.metrics();
    let mut told = 0;
    loop {
        let (leads, term) = {
            let metrics = metrics.borrow_watched();
            (metrics.state == ServerState::Leader, metrics.current_term)
        };
        if leads && told != term {
            told = term;
            record.note(format!("{} leads in term {term}", process.id));
            record.judge(|record| record.elections.leads(term, process.id));
        }
        if metrics.changed().await.is_err() {
            // A server that finds out that it was deceived ends itself; that is no harm done yet.
            if process.is_alive() && !sabotaged {
                record.judge(|_| Err(format!("{} has ended by itself", process.id)));
            }
            return;
        }
    }
}
