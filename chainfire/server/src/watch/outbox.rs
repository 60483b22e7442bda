use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use chainfire_core::kv::{Event, KeyValue, Keys, Revision, RevisionEvents};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{WatchId, Watcher, hub::Census};
use crate::Error;

/// Blocks that may wait for a client before its watchers have to read from the disk.
const WAITING_BLOCKS: usize = 1_024;

/// Bytes of those blocks. Blocks are shared, but streams that are slow in different ways hold on to different ones.
const WAITING_BYTES: usize = 4 << 20;

/// Items that may wait before further requests of the client have to.
const WAITING_ITEMS: usize = 4 * WAITING_BLOCKS;

/// What one stream has to send, in order, and where its watchers stand. Filled by the [`Hub`](super::Hub), emptied by
/// the stream's [`Sender`](super::Sender).
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    watchers: BTreeMap<WatchId, Registered>,
    /// Watchers with progress notifications that have been sent nothing since the last round.
    quiet: HashSet<WatchId>,
    next_id: i64,
    /// Of the blocks in the queue.
    blocks: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Registered {
    watcher: Arc<Watcher>,
    phase: Phase,
}

/// How a watcher gets its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// From the hub, as they happen.
    Synced,
    /// From the disk, beginning with this revision.
    Behind(Revision),
}

/// One thing to send, or to do between two sends.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// The watcher exists; `revision` is the store's.
    Created {
        watcher: Arc<Watcher>,
        revision: Revision,
    },
    /// The watcher could not be created.
    Refused {
        reason: String,
        revision: Revision,
    },
    Canceled {
        id: WatchId,
        revision: Revision,
    },
    Events {
        watcher: Arc<Watcher>,
        block: Block,
    },
    /// Everything up to `revision` has been sent.
    Progress {
        id: WatchId,
        revision: Revision,
    },
    /// From here on the watcher reads from the disk.
    FellBehind {
        watcher: Arc<Watcher>,
    },
    /// The last thing: why the stream ends.
    End(Error),
}

/// A revision on its way to watchers, shared by all that it concerns.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) events: Arc<RevisionEvents>,
    /// What it takes in memory.
    bytes: usize,
}

impl Block {
    pub(crate) fn new(events: Arc<RevisionEvents>) -> Self {
        let pair = |kv: &KeyValue| kv.key.len() + kv.value.len();
        let size = |event: &Event| pair(&event.kv) + event.prev_kv.as_ref().map_or(0, pair) + size_of::<Event>();
        Self { bytes: events.events.iter().map(size).sum(), events }
    }
}

impl Outbox {
    /// Registers a watcher under `asked`, or under the next free id. Refused if `asked` is taken.
    pub(super) fn add(
        &self,
        asked: Option<WatchId>,
        synced: bool,
        make: impl FnOnce(WatchId) -> Watcher,
    ) -> Option<Arc<Watcher>> {
        let mut state = self.state.lock();
        let id = match asked {
            Some(id) if state.watchers.contains_key(&id) => return None,
            Some(id) => id,
            None => state.free_id(),
        };
        let watcher = Arc::new(make(id));
        let phase = if synced { Phase::Synced } else { Phase::Behind(watcher.start) };
        state.watchers.insert(id, Registered { watcher: watcher.clone(), phase });
        Some(watcher)
    }

    pub(super) fn remove(&self, id: WatchId) -> Option<Arc<Watcher>> {
        let mut state = self.state.lock();
        state.quiet.remove(&id);
        state.watchers.remove(&id).map(|registered| registered.watcher)
    }

    /// Takes everything out: the stream is over.
    pub(super) fn clear(&self) -> Vec<Arc<Watcher>> {
        let mut state = self.state.lock();
        state.queue.clear();
        (state.blocks, state.bytes) = (0, 0);
        std::mem::take(&mut state.watchers).into_values().map(|registered| registered.watcher).collect()
    }

    pub(super) fn push(&self, item: Item) {
        self.state.lock().queue.push_back(item);
        self.filled.notify_one();
    }

    /// Queues `block` for the watcher `id`, or marks it as behind when too much waits already.
    pub(super) fn deliver(&self, id: WatchId, block: &Block) {
        let mut state = self.state.lock();
        let full = state.blocks >= WAITING_BLOCKS || state.bytes >= WAITING_BYTES;
        let Some(registered) = state.watchers.get_mut(&id) else { return };
        if registered.phase != Phase::Synced || block.events.revision < registered.watcher.start {
            return;
        }
        let watcher = registered.watcher.clone();
        let item = if full {
            registered.phase = Phase::Behind(block.events.revision);
            Item::FellBehind { watcher }
        } else {
            Item::Events { watcher, block: block.clone() }
        };
        if !full {
            state.blocks += 1;
            state.bytes += block.bytes;
        }
        state.queue.push_back(item);
        self.filled.notify_one();
    }

    /// The hub has missed what begins with `next`: all watchers have to read it from the disk.
    pub(super) fn fall_behind(&self, next: Revision) {
        let mut state = self.state.lock();
        let State { queue, watchers, .. } = &mut *state;
        for registered in watchers.values_mut().filter(|registered| registered.phase == Phase::Synced) {
            registered.phase = Phase::Behind(next.max(registered.watcher.start));
            queue.push_back(Item::FellBehind { watcher: registered.watcher.clone() });
        }
        self.filled.notify_one();
    }

    /// Where a watcher that reads from the disk has to go on; none if it is gone, was replaced, or is synced.
    pub(super) fn behind(&self, watcher: &Arc<Watcher>) -> Option<Revision> {
        match self.state.lock().phase(watcher)? {
            Phase::Behind(next) => Some(*next),
            Phase::Synced => None,
        }
    }

    /// Moves a watcher's place on the disk to `next`, or back to the hub if that is all there is up to `head`.
    pub(super) fn advance(&self, watcher: &Arc<Watcher>, next: Revision, head: Revision) {
        if let Some(phase) = self.state.lock().phase(watcher) {
            *phase = if next > head { Phase::Synced } else { Phase::Behind(next) };
        }
    }

    /// Queues a progress notification for the whole stream if every watcher has everything up to `head`.
    pub(super) fn progress(&self, head: Revision) {
        let mut state = self.state.lock();
        if state.watchers.values().all(|registered| registered.is_at(head)) {
            state.queue.push_back(Item::Progress { id: WatchId::NONE, revision: head });
            self.filled.notify_one();
        }
    }

    /// Queues a progress notification for each watcher that wants them and got nothing since the last round.
    pub(super) fn progress_round(&self, head: Revision) {
        let mut state = self.state.lock();
        let State { queue, watchers, quiet, .. } = &mut *state;
        for (id, registered) in watchers.iter().filter(|(_, registered)| registered.watcher.progress_notify) {
            if !quiet.insert(*id) && registered.is_at(head) {
                queue.push_back(Item::Progress { id: *id, revision: head });
            }
        }
        self.filled.notify_one();
    }

    /// Notes that a watcher was sent events, so that it needs no progress notification in this round.
    pub(super) fn sent(&self, id: WatchId) {
        self.state.lock().quiet.remove(&id);
    }

    /// The next thing to send, if there is one.
    pub(super) fn take(&self) -> Option<Item> {
        let mut state = self.state.lock();
        let item = state.queue.pop_front()?;
        if let Item::Events { block, .. } = &item {
            state.blocks -= 1;
            state.bytes -= block.bytes;
        }
        self.emptied.notify_one();
        Some(item)
    }

    /// Waits until something may have been queued.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// What the stream's watchers look at.
    pub(crate) fn watched(&self) -> Vec<Keys> {
        self.state.lock().watchers.values().map(|registered| registered.watcher.keys.clone()).collect()
    }

    pub(super) fn count(&self, census: &mut Census) {
        let state = self.state.lock();
        census.watchers += state.watchers.len();
        census.behind += state.watchers.values().filter(|one| one.phase != Phase::Synced).count();
        let events = |item: &Item| if let Item::Events { block, .. } = item { block.events.events.len() } else { 0 };
        census.pending += state.queue.iter().map(events).sum::<usize>();
    }

    /// Waits until the client has read enough of its answers to be allowed another request.
    pub(crate) async fn room(&self) {
        while self.state.lock().queue.len() >= WAITING_ITEMS {
            self.emptied.notified().await;
        }
    }
}

impl State {
    fn free_id(&mut self) -> WatchId {
        while self.watchers.contains_key(&WatchId(self.next_id)) {
            self.next_id += 1;
        }
        let id = WatchId(self.next_id);
        self.next_id += 1;
        id
    }

    fn phase(&mut self, watcher: &Arc<Watcher>) -> Option<&mut Phase> {
        let registered = self.watchers.get_mut(&watcher.id)?;
        Arc::ptr_eq(&registered.watcher, watcher).then_some(&mut registered.phase)
    }
}

impl Registered {
    /// Whether everything up to `head` is sent or queued.
    fn is_at(&self, head: Revision) -> bool {
        self.phase == Phase::Synced && !(self.watcher.future && head < self.watcher.start)
    }
}
