use std::{collections::HashMap, sync::Arc};

use chainfire_core::kv::{Revision, RevisionEvents};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    WatchId, Watcher,
    index::Index,
    outbox::{Block, Item, Outbox},
};
use crate::Error;

/// Where the apply path and the watch streams meet. Everything that decides whether a revision reaches a watcher live
/// or from the disk happens under one lock, so that nothing is lost between the two and nothing comes twice.
#[derive(Debug)]
pub(crate) struct Hub {
    inner: Mutex<Inner>,
    /// History is read by this many streams at a time, so that a storm of reconnecting watchers leaves the disk and
    /// the processors to everybody else.
    readers: Semaphore,
}

const READERS: usize = 4;

impl Default for Hub {
    fn default() -> Self {
        Self { inner: Mutex::default(), readers: Semaphore::new(READERS) }
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// The newest revision that was published.
    head: Revision,
    index: Index<Target>,
    streams: HashMap<StreamId, Arc<Outbox>>,
    next_stream: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct StreamId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Target {
    stream: StreamId,
    watch: WatchId,
}

/// One stream's place in the hub; dropping it removes its watchers.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    stream: StreamId,
    outbox: Arc<Outbox>,
}

/// A watcher before it has an id.
pub(crate) struct Order {
    /// The id that the client wants, if it wants one.
    pub(crate) id: Option<WatchId>,
    /// The first revision that the client wants to see; none for what is new.
    pub(crate) start: Option<Revision>,
    /// The rest; its id and start are set by the hub.
    pub(crate) watcher: Watcher,
}

/// How many streams and watchers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) streams: usize,
    pub(crate) watchers: usize,
    /// Watchers that read from the disk.
    pub(crate) behind: usize,
    /// Events that wait to be sent.
    pub(crate) pending: usize,
}

impl Hub {
    /// Hands a revision to everybody whom it concerns. Called in order, after the revision is readable.
    pub(crate) fn publish(&self, events: &Arc<RevisionEvents>) {
        let block = Block::new(events.clone());
        let mut inner = self.inner.lock();
        inner.head = inner.head.max(events.revision);
        let mut concerned = Vec::new();
        for event in &events.events {
            inner.index.find(&event.kv.key, |target| concerned.push(target));
        }
        concerned.sort_unstable();
        concerned.dedup();
        for target in concerned {
            if let Some(outbox) = inner.streams.get(&target.stream) {
                outbox.deliver(target.watch, &block);
            }
        }
    }

    /// The state is at `revision` now without the revisions before it having been published: at the start, and after
    /// a snapshot from the leader.
    pub(crate) fn jump(&self, revision: Revision) {
        let mut inner = self.inner.lock();
        let next = Revision(inner.head.0.saturating_add(1));
        inner.head = inner.head.max(revision);
        for outbox in inner.streams.values() {
            outbox.fall_behind(next);
        }
    }

    /// Opens a stream.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Subscription {
        let mut inner = self.inner.lock();
        let stream = StreamId(inner.next_stream);
        inner.next_stream += 1;
        let outbox = Arc::new(Outbox::default());
        inner.streams.insert(stream, outbox.clone());
        Subscription { hub: self.clone(), stream, outbox }
    }

    /// Ends every stream.
    pub(crate) fn end(&self, why: &Error) {
        for outbox in self.inner.lock().streams.values() {
            outbox.push(Item::End(why.clone()));
        }
    }

    pub(crate) fn census(&self) -> Census {
        let inner = self.inner.lock();
        let mut census = Census { streams: inner.streams.len(), ..Census::default() };
        for outbox in inner.streams.values() {
            outbox.count(&mut census);
        }
        census
    }
}

impl Subscription {
    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Creates a watcher and queues the answer. `revision` is the store's, read before the call: events after it are
    /// the watcher's even if they are not published yet.
    pub(crate) fn create(&self, order: Order, revision: Revision) -> Result<(), DuplicateId> {
        let mut inner = self.hub.inner.lock();
        let newest = revision.max(inner.head);
        let start = order.start.unwrap_or(Revision(newest.0.saturating_add(1)));
        let future = order.start.is_some_and(|start| start > newest);
        let synced = start > inner.head;
        let make = |id| Watcher { id, start, future, ..order.watcher };
        let watcher = self.outbox.add(order.id, synced, make).ok_or(DuplicateId)?;
        inner.index.insert(&watcher.keys, self.target(watcher.id));
        self.outbox.push(Item::Created { watcher: watcher.clone(), revision: newest });
        if !synced {
            self.outbox.push(Item::FellBehind { watcher });
        }
        Ok(())
    }

    /// Answers a creation that failed, in the order of the requests.
    pub(crate) fn refuse(&self, reason: String, revision: Revision) {
        self.outbox.push(Item::Refused { reason, revision });
    }

    /// Ends a watcher and says so; an unknown one is not worth an answer.
    pub(crate) fn cancel(&self, id: WatchId) {
        let mut inner = self.hub.inner.lock();
        if self.remove(&mut inner, id) {
            self.outbox.push(Item::Canceled { id, revision: inner.head });
        }
    }

    /// Ends a watcher whose history is compacted; the sender tells the client. False if it has ended meanwhile, and its
    /// id may be another's.
    pub(super) fn overtaken(&self, watcher: &Arc<Watcher>) -> bool {
        let mut inner = self.hub.inner.lock();
        self.outbox.behind(watcher).is_some() && self.remove(&mut inner, watcher.id)
    }

    /// Ends the stream after what is queued.
    pub(crate) fn end(&self, why: Error) {
        self.outbox.push(Item::End(why));
    }

    /// Asks for a notification that everything was sent, if it was.
    pub(crate) fn progress(&self) {
        let inner = self.hub.inner.lock();
        self.outbox.progress(inner.head);
    }

    /// Notifies the watchers that asked for it and have been idle.
    pub(crate) fn progress_round(&self) {
        let inner = self.hub.inner.lock();
        self.outbox.progress_round(inner.head);
    }

    /// A watcher has read the disk up to `next`, exclusively. It goes on with live events if that is all there is.
    pub(super) fn advance(&self, watcher: &Arc<Watcher>, next: Revision) {
        let inner = self.hub.inner.lock();
        self.outbox.advance(watcher, next, inner.head);
    }

    pub(super) fn head(&self) -> Revision {
        self.hub.inner.lock().head
    }

    /// Waits for permission to read history; it is given back when the result is dropped.
    pub(super) async fn reader(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.hub.readers.acquire().await.ok()
    }

    fn target(&self, watch: WatchId) -> Target {
        Target { stream: self.stream, watch }
    }

    fn remove(&self, inner: &mut Inner, id: WatchId) -> bool {
        let Some(watcher) = self.outbox.remove(id) else { return false };
        inner.index.remove(&watcher.keys, self.target(id));
        true
    }
}

/// Why a watcher is not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mvcc: duplicate watch ID provided on the WatchStream")]
pub(crate) struct DuplicateId;

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut inner = self.hub.inner.lock();
        inner.streams.remove(&self.stream);
        for watcher in self.outbox.clear() {
            inner.index.remove(&watcher.keys, self.target(watcher.id));
        }
    }
}
