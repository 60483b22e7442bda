use std::{collections::VecDeque, sync::Arc};

use chainfire_core::{
    Failure, UserError,
    kv::{self, Event, History, Revision},
};
use tokio::time::{Instant, timeout_at};

use super::{WatchId, Watcher, hub::Subscription, outbox::Item, pace::Pace};
use crate::{Error, store::Store};

/// What one look at the disk reads at most, before filters.
const CHUNK_BYTES: usize = 1 << 20;

/// One thing that a client is told. Revisions are the store's, as the answer's header shows them.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Created {
        id: WatchId,
        revision: Revision,
    },
    Refused {
        reason: String,
        revision: Revision,
    },
    Canceled {
        id: WatchId,
        revision: Revision,
    },
    /// The watcher ends, because its history is gone: what is left begins with `compacted`.
    Overtaken {
        id: WatchId,
        compacted: Revision,
    },
    Events {
        watcher: Arc<Watcher>,
        revision: Revision,
        events: Vec<Event>,
    },
    Progress {
        id: WatchId,
        revision: Revision,
    },
}

/// The sending half of a watch stream. It is asked for the next thing to tell only when the connection can take one, so
/// a slow client holds up nobody: its watchers fall behind and come here for their history.
pub(crate) struct Sender {
    subscription: Arc<Subscription>,
    store: Arc<Store>,
    /// Watchers that read from the disk, in turn.
    lagging: VecDeque<Arc<Watcher>>,
    pace: Pace,
    /// Live events and history take turns, so that neither starves the other.
    disk_next: bool,
    ended: bool,
}

impl Sender {
    pub(crate) fn new(subscription: Arc<Subscription>, store: Arc<Store>) -> Self {
        Self { subscription, store, lagging: VecDeque::new(), pace: Pace::default(), disk_next: false, ended: false }
    }

    /// What to tell next; none after the stream has ended with an error.
    pub(crate) async fn next(&mut self) -> Option<Result<Told, Error>> {
        while !self.ended {
            match self.advance().await {
                Ok(Some(told)) => return Some(Ok(told)),
                Ok(None) => {}
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// Does one piece of work: an item of the queue, or a look at the disk for one watcher.
    async fn advance(&mut self) -> Result<Option<Told>, Error> {
        let rest = self.pace.resting();
        let disk = std::mem::take(&mut self.disk_next) && !self.lagging.is_empty() && rest.is_none();
        if !disk && let Some(item) = self.subscription.outbox().take() {
            self.disk_next = true;
            return self.handle(item);
        }
        if let Some(rest) = rest.filter(|_| !self.lagging.is_empty()) {
            drop(timeout_at(rest, self.subscription.outbox().filled()).await);
            return Ok(None);
        }
        match self.lagging.pop_front() {
            Some(watcher) => self.catch_up(watcher).await,
            None => {
                self.subscription.outbox().filled().await;
                Ok(None)
            }
        }
    }

    fn handle(&mut self, item: Item) -> Result<Option<Told>, Error> {
        Ok(Some(match item {
            Item::Created { watcher, revision } => Told::Created { id: watcher.id, revision },
            Item::Refused { reason, revision } => Told::Refused { reason, revision },
            Item::Canceled { id, revision } => {
                self.lagging.retain(|watcher| watcher.id != id);
                Told::Canceled { id, revision }
            }
            Item::Events { watcher, block } => {
                return Ok(self.events(watcher, block.events.revision, &block.events.events));
            }
            Item::Progress { id, revision } => Told::Progress { id, revision },
            Item::FellBehind { watcher } => {
                self.lagging.push_back(watcher);
                return Ok(None);
            }
            Item::End(error) => return Err(error),
        }))
    }

    /// Reads the next part of a watcher's history. It goes on with live events once it has all that was published.
    async fn catch_up(&mut self, watcher: Arc<Watcher>) -> Result<Option<Told>, Error> {
        let Some(next) = self.subscription.outbox().behind(&watcher) else { return Ok(None) };
        let head = self.subscription.head();
        let mut told = None;
        if next <= head {
            let begun = Instant::now();
            let history = match self.history(next, head, watcher.prev_kv).await? {
                Past::Kept(history) => history,
                Past::Compacted(compacted) => {
                    let overtaken = self.subscription.overtaken(&watcher);
                    return Ok(overtaken.then_some(Told::Overtaken { id: watcher.id, compacted }));
                }
            };
            self.pace.read(begun, head, history.revisions.len() / (self.lagging.len() + 1));
            let events = history.revisions.iter().flat_map(|revision| &revision.events);
            told = self.events(watcher.clone(), head, events);
            self.subscription.advance(&watcher, history.next);
        } else {
            self.subscription.advance(&watcher, next);
        }
        if self.subscription.outbox().behind(&watcher).is_some() {
            self.lagging.push_back(watcher);
        }
        Ok(told)
    }

    async fn history(&self, from: Revision, upto: Revision, prev_kv: bool) -> Result<Past, Error> {
        let _turn = self.subscription.reader().await;
        let view = self.store.view();
        let reading = tokio::task::spawn_blocking(move || match kv::history(&view, from, upto, CHUNK_BYTES, prev_kv) {
            Ok(history) => Ok(Past::Kept(history)),
            Err(Failure::Refused(UserError::Compacted)) => {
                Ok(Past::Compacted(kv::compacted_revision(&view)?.unwrap_or_default()))
            }
            Err(failure) => Err(Error::from(failure)),
        });
        reading.await.map_err(|join| Error::Storage(join.to_string()))?
    }

    /// Those of `events` that the watcher wants to hear of, if any.
    fn events<'a>(
        &self,
        watcher: Arc<Watcher>,
        revision: Revision,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Option<Told> {
        let wanted = events.into_iter().filter(|event| watcher.wants(event));
        let events: Vec<Event> = wanted.cloned().collect();
        if events.is_empty() {
            return None;
        }
        self.subscription.outbox().sent(watcher.id);
        Some(Told::Events { watcher, revision, events })
    }
}

/// What the disk knows of a stretch of revisions.
enum Past {
    Kept(History),
    /// History begins with this revision.
    Compacted(Revision),
}
