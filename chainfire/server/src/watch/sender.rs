use std::{collections::VecDeque, sync::Arc};

use chainfire_core::{
    Failure, UserError,
    kv::{self, Event, History, Revision},
};
use holdfast_proto::etcdserverpb::{ResponseHeader, WatchResponse};
use prost::Message as _;
use tonic::Status;

use super::{WatchId, Watcher, hub::Subscription, outbox::Item};
use crate::{
    Error,
    store::Store,
    wire::{self, Headers},
};

/// What one look at the disk reads at most, before filters.
const CHUNK_BYTES: usize = 1 << 20;

/// The sending half of a watch stream. It is asked for the next message only when the connection can take one, so a
/// slow client holds up nobody: its watchers fall behind and come here for their history.
pub(crate) struct Sender {
    subscription: Arc<Subscription>,
    store: Arc<Store>,
    headers: Headers,
    /// Watchers that read from the disk, in turn.
    lagging: VecDeque<Arc<Watcher>>,
    ready: VecDeque<WatchResponse>,
    /// Live events and history take turns, so that neither starves the other.
    disk_next: bool,
    ended: bool,
}

impl Sender {
    pub(crate) fn new(subscription: Arc<Subscription>, store: Arc<Store>, headers: Headers) -> Self {
        Self {
            subscription,
            store,
            headers,
            lagging: VecDeque::new(),
            ready: VecDeque::new(),
            disk_next: false,
            ended: false,
        }
    }

    /// The next message; none after the stream has ended with an error.
    pub(crate) async fn next(&mut self) -> Option<Result<WatchResponse, Status>> {
        while !self.ended {
            if let Some(response) = self.ready.pop_front() {
                return Some(Ok(response));
            }
            if let Err(error) = self.advance().await {
                self.ended = true;
                return Some(Err(error.into()));
            }
        }
        None
    }

    /// Does one piece of work: an item of the queue, or a look at the disk for one watcher.
    async fn advance(&mut self) -> Result<(), Error> {
        let disk = std::mem::take(&mut self.disk_next) && !self.lagging.is_empty();
        if !disk && let Some(item) = self.subscription.outbox().take() {
            self.disk_next = true;
            return self.handle(item);
        }
        match self.lagging.pop_front() {
            Some(watcher) => self.catch_up(watcher).await,
            None => {
                self.subscription.outbox().filled().await;
                Ok(())
            }
        }
    }

    fn handle(&mut self, item: Item) -> Result<(), Error> {
        match item {
            Item::Created { watcher, revision } => {
                let created = WatchResponse { created: true, ..self.response(watcher.id, revision) };
                self.ready.push_back(created);
            }
            Item::Refused { reason, revision } => {
                let refused = self.response(WatchId::NONE, revision);
                self.ready.push_back(WatchResponse { created: true, canceled: true, cancel_reason: reason, ..refused });
            }
            Item::Canceled { id, revision } => {
                self.lagging.retain(|watcher| watcher.id != id);
                let canceled = WatchResponse { canceled: true, ..self.response(id, revision) };
                self.ready.push_back(canceled);
            }
            Item::Events { watcher, block } => self.send(&watcher, block.events.revision, &block.events.events),
            Item::Progress { id, revision } => {
                let progress = self.response(id, revision);
                self.ready.push_back(progress);
            }
            Item::FellBehind { watcher } => self.lagging.push_back(watcher),
            Item::End(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads the next part of a watcher's history. It goes on with live events once it has all that was published.
    async fn catch_up(&mut self, watcher: Arc<Watcher>) -> Result<(), Error> {
        let Some(next) = self.subscription.outbox().behind(&watcher) else { return Ok(()) };
        let head = self.subscription.head();
        if next <= head {
            let history = match self.history(next, head, watcher.prev_kv).await? {
                Past::Kept(history) => history,
                Past::Compacted(revision) => {
                    self.overtaken(&watcher, revision);
                    return Ok(());
                }
            };
            let events = history.revisions.iter().flat_map(|revision| &revision.events);
            self.send(&watcher, head, events);
            self.subscription.advance(&watcher, history.next);
        } else {
            self.subscription.advance(&watcher, next);
        }
        if self.subscription.outbox().behind(&watcher).is_some() {
            self.lagging.push_back(watcher);
        }
        Ok(())
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

    /// Ends a watcher whose history is gone. The client learns where history begins and can start again there.
    fn overtaken(&mut self, watcher: &Watcher, compacted: Revision) {
        self.subscription.overtaken(watcher.id);
        let canceled = self.response(watcher.id, Revision(0));
        self.ready.push_back(WatchResponse { canceled: true, compact_revision: compacted.0, ..canceled });
    }

    fn send<'a>(&mut self, watcher: &Watcher, revision: Revision, events: impl IntoIterator<Item = &'a Event>) {
        let wanted = events.into_iter().filter(|event| watcher.wants(event));
        let events: Vec<_> = wanted.map(|event| wire::event(event, watcher.prev_kv)).collect();
        if events.is_empty() {
            return;
        }
        self.subscription.outbox().sent(watcher.id);
        let response = WatchResponse { events, ..self.response(watcher.id, revision) };
        if watcher.fragment {
            self.ready.extend(fragments(response, self.store.limits().request_bytes));
        } else {
            self.ready.push_back(response);
        }
    }

    fn response(&self, id: WatchId, revision: Revision) -> WatchResponse {
        let header: ResponseHeader = self.headers.at(revision, self.store.status().term);
        WatchResponse { header: Some(header), watch_id: id.0, ..WatchResponse::default() }
    }
}

/// What the disk knows of a stretch of revisions.
enum Past {
    Kept(History),
    /// History begins with this revision.
    Compacted(Revision),
}

/// Cuts a response into parts below `limit` bytes; all but the last say that more follows. An event stays whole.
fn fragments(response: WatchResponse, limit: usize) -> Vec<WatchResponse> {
    if response.encoded_len() < limit || response.events.len() < 2 {
        return vec![response];
    }
    let envelope = WatchResponse { events: Vec::new(), ..response.clone() };
    let mut parts: Vec<WatchResponse> = Vec::new();
    let mut size = limit;
    for event in response.events {
        // The field's tag and length come on top of the event itself.
        let length = event.encoded_len() + 6;
        match parts.last_mut().filter(|_| size + length < limit) {
            Some(part) => part.events.push(event),
            None => {
                size = envelope.encoded_len();
                parts.push(WatchResponse { fragment: true, events: vec![event], ..envelope.clone() });
            }
        }
        size += length;
    }
    if let Some(last) = parts.last_mut() {
        last.fragment = false;
    }
    parts
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_proto::mvccpb;

    use super::*;

    fn response(sizes: &[usize]) -> WatchResponse {
        let event = |size: &usize| mvccpb::Event {
            kv: Some(mvccpb::KeyValue { value: Bytes::from(vec![1; *size]), ..Default::default() }),
            ..Default::default()
        };
        WatchResponse { watch_id: 3, events: sizes.iter().map(event).collect(), ..Default::default() }
    }

    #[test]
    fn small_responses_stay_whole() {
        assert_eq!(fragments(response(&[10, 10]), 1_000).len(), 1);
    }

    #[test]
    fn parts_stay_below_the_limit_and_say_that_more_follows() {
        let whole = response(&[400, 400, 400, 100]);
        let parts = fragments(whole.clone(), 1_000);
        assert!(parts.iter().all(|part| part.encoded_len() < 1_000));
        assert_eq!(parts.iter().map(|part| part.fragment).collect::<Vec<_>>(), [true, false]);
        let joined: Vec<_> = parts.into_iter().flat_map(|part| part.events).collect();
        assert_eq!(joined, whole.events);
    }

    #[test]
    fn one_large_event_is_never_split() {
        let parts = fragments(response(&[10, 5_000, 10]), 1_000);
        assert_eq!(parts.iter().map(|part| part.events.len()).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
