use std::{
    collections::{BTreeMap, VecDeque},
    io,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{sync::watch, time::sleep};

use super::{Sabotage, chance::Chance};
use crate::log::{Change, Disk, Family, Synced, Unsynced, Visit, Waiter as _};

/// The disk of a server's log: a crash takes what was not synced, or a part of it, from the end.
pub(super) struct LogDisk {
    state: Mutex<State>,
    /// No sync returns while it is true.
    hangs: watch::Sender<bool>,
    chance: Chance,
    sabotage: Sabotage,
}

type Pairs = BTreeMap<(Family, Vec<u8>), Vec<u8>>;

#[derive(Default)]
struct State {
    /// What readers see.
    current: Pairs,
    /// What survives a crash for certain.
    durable: Pairs,
    /// Batches that may or may not survive one, in order.
    unsynced: VecDeque<Vec<Change>>,
    waiting: Vec<Synced>,
    syncing: bool,
}

/// A running server's hold on its disk. After a crash it writes nothing more and nobody hears of its syncs.
pub(super) struct Mounted {
    disk: Arc<LogDisk>,
    alive: Arc<AtomicBool>,
    unsynced: Unsynced,
}

impl LogDisk {
    pub(super) fn new(chance: Chance, sabotage: Sabotage) -> Arc<Self> {
        let hangs = watch::Sender::new(false);
        Arc::new(Self { state: Mutex::default(), hangs, chance, sabotage })
    }

    pub(super) fn mount(self: &Arc<Self>, alive: &Arc<AtomicBool>) -> Arc<Mounted> {
        Arc::new(Mounted { disk: Arc::clone(self), alive: Arc::clone(alive), unsynced: Unsynced::default() })
    }

    pub(super) fn hang(&self, hangs: bool) {
        self.hangs.send_replace(hangs);
    }

    async fn is_well(&self) {
        // The sender lives in the disk.
        let _ = self.hangs.subscribe().wait_for(|hangs| !hangs).await;
    }

    /// The server has crashed: some of what it had not synced is gone.
    pub(super) fn crash(&self) {
        let mut state = self.state.lock();
        let survivors = self.chance.below(state.unsynced.len() + 1);
        let unsynced = std::mem::take(&mut state.unsynced);
        for batch in unsynced.into_iter().take(survivors) {
            self.harden(&mut state, batch);
        }
        state.current = state.durable.clone();
        state.waiting.clear();
        state.syncing = false;
    }

    fn harden(&self, state: &mut State, batch: Vec<Change>) {
        let forgotten = |change: &Change| {
            self.sabotage == Sabotage::VotesAreForgotten
                && matches!(change, Change::Put(Family::Meta, key, _) if key.ends_with(b"vote"))
        };
        for change in batch.into_iter().filter(|change| !forgotten(change)) {
            apply(&mut state.durable, change);
        }
    }
}

fn apply(pairs: &mut Pairs, change: Change) {
    match change {
        Change::Put(family, key, value) => drop(pairs.insert((family, key), value)),
        Change::DeleteRange(family, start, end) => {
            let range = (Bound::Included((family, start)), Bound::Excluded((family, end)));
            let doomed: Vec<_> = pairs.range(range).map(|(key, _)| key.clone()).collect();
            doomed.iter().for_each(|key| drop(pairs.remove(key)));
        }
    }
}

impl Mounted {
    fn check(&self) -> io::Result<()> {
        if self.alive.load(Ordering::SeqCst) { Ok(()) } else { Err(io::Error::other("the server has crashed")) }
    }

    pub(super) fn unsynced(&self) -> Unsynced {
        self.unsynced.clone()
    }

    /// One sync after the other, each for all that wait when it begins.
    async fn sync(disk: Arc<LogDisk>, alive: Arc<AtomicBool>, unsynced: Unsynced) {
        loop {
            let (batches, waiting) = {
                let mut state = disk.state.lock();
                (state.unsynced.len(), std::mem::take(&mut state.waiting))
            };
            unsynced.begin();
            sleep(disk.chance.latency(4)).await;
            disk.is_well().await;
            if !alive.load(Ordering::SeqCst) {
                return;
            }
            {
                let mut state = disk.state.lock();
                for batch in state.unsynced.drain(..batches).collect::<Vec<_>>() {
                    disk.harden(&mut state, batch);
                }
            }
            unsynced.end();
            waiting.into_iter().for_each(|waiter| waiter.complete(Ok(())));
            let mut state = disk.state.lock();
            if state.waiting.is_empty() {
                state.syncing = false;
                return;
            }
        }
    }
}

impl Disk for Mounted {
    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        self.check()?;
        let mut state = self.disk.state.lock();
        for change in changes.iter().cloned() {
            apply(&mut state.current, change);
        }
        state.unsynced.push_back(changes);
        Ok(())
    }

    fn enqueue(&self, waiter: Synced) {
        let waiter = match self.disk.sabotage {
            Sabotage::SyncsAreNotAwaited => {
                waiter.complete(self.check());
                None
            }
            _ => Some(waiter),
        };
        let mut state = self.disk.state.lock();
        state.waiting.extend(waiter);
        if !std::mem::replace(&mut state.syncing, true) {
            tokio::spawn(Self::sync(Arc::clone(&self.disk), Arc::clone(&self.alive), self.unsynced()));
        }
    }

    fn get(&self, family: Family, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.disk.state.lock().current.get(&(family, key.to_vec())).cloned())
    }

    fn scan(&self, family: Family, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        let state = self.disk.state.lock();
        let range = (Bound::Included((family, start.to_vec())), Bound::Excluded((family, end.to_vec())));
        for ((_, key), value) in state.current.range(range) {
            if !visit(key, value)? {
                return Ok(());
            }
        }
        Ok(())
    }
}
