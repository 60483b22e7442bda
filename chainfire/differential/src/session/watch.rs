//! One watch stream from its opening to its end.
//!
//! Events arrive when they arrive, so that a recording needs an end that both servers reach: before a cancellation and
//! at the end of the script each live watcher's key is put and deleted, and the stream is read until those events are
//! there ([`super::tail`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use holdfast_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
    watch_request::RequestUnion,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use super::{Session, tail};
use crate::{
    answer::{Answer, WatchRecord, anonymous},
    operation::WatchStep,
};

/// Far longer than a healthy server needs to catch a watcher up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client asks for progress again and again, since a server that is not ready for it says nothing.
const PROGRESS_AGAIN: Duration = Duration::from_millis(50);

/// The id of answers that belong to no watcher.
const NONE: i64 = -1;

struct Stream<'a> {
    session: &'a Session,
    requests: mpsc::UnboundedSender<WatchRequest>,
    responses: mpsc::UnboundedReceiver<Result<WatchResponse, Status>>,
    compacted: i64,
    record: WatchRecord,
    /// Watchers that were created and not cancelled, with the first revision that is theirs.
    live: BTreeMap<i64, WatchCreateRequest>,
    /// Ids that were the client's choice.
    chosen: BTreeSet<i64>,
}

pub(super) async fn record(session: &Session, steps: &[WatchStep], compacted: i64) -> WatchRecord {
    let mut stream = Stream::open(session, compacted);
    for step in steps {
        match step {
            WatchStep::Create(request) => stream.create(request).await,
            WatchStep::Cancel(id) => stream.cancel(*id).await,
            WatchStep::Write(operation) => {
                let answer = Box::pin(session.ask(operation, compacted)).await;
                stream.record.writes.push(answer);
            }
        }
    }
    stream.settle().await;
    stream.progress().await;
    stream.record
}

impl<'a> Stream<'a> {
    fn open(session: &'a Session, compacted: i64) -> Self {
        let (requests, asked) = mpsc::unbounded_channel();
        let (sender, responses) = mpsc::unbounded_channel();
        let mut client = session.watch.clone();
        // etcd answers nothing, not even with headers, before the first request.
        tokio::spawn(async move {
            let mut answers = match client.watch(UnboundedReceiverStream::new(asked)).await {
                Ok(answers) => answers.into_inner(),
                Err(status) => return drop(sender.send(Err(status))),
            };
            while let Some(answer) = answers.message().await.transpose() {
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        Self {
            session,
            requests,
            responses,
            compacted,
            record: WatchRecord::default(),
            live: BTreeMap::new(),
            chosen: BTreeSet::new(),
        }
    }

    async fn create(&mut self, request: &WatchCreateRequest) {
        let hidden = request.watch_id == 0 && self.chosen.iter().any(|id| self.overtaken(*id));
        if hidden || self.overtaken(request.watch_id) {
            return;
        }
        self.chosen.extend(Some(request.watch_id).filter(|id| *id != 0));
        let before = self.record.created.len();
        self.send(RequestUnion::CreateRequest(request.clone()));
        self.read_until("the answer to a creation", |stream| stream.record.created.len() > before).await;
        let Some(created) = self.record.created.last().filter(|_| self.record.created.len() > before) else { return };
        let (id, canceled) = (created.watch_id, created.canceled);
        let newest = created.header.unwrap_or_default().revision;
        if canceled {
            return;
        }
        let asked = request.start_revision;
        let start_revision = if asked == 0 { newest + 1 } else { asked };
        self.live.insert(id, WatchCreateRequest { start_revision, ..request.clone() });
        if (1..self.compacted).contains(&asked) {
            self.read_until("a cancellation by compaction", |stream| !stream.live.contains_key(&id)).await;
        }
    }

    async fn cancel(&mut self, id: i64) {
        self.settle().await;
        if self.overtaken(id) {
            return;
        }
        self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: id }));
        if self.live.contains_key(&id) {
            self.read_until("the answer to a cancellation", |stream| !stream.live.contains_key(&id)).await;
        }
    }

    /// Makes an event for each live watcher and reads until it is there.
    async fn settle(&mut self) {
        let Some((puts, deletes)) = tail::last_writes(self.live.values()) else { return };
        let put = self.session.kv.clone().txn(puts).await;
        let deleted = self.session.kv.clone().txn(deletes.clone()).await;
        let revision = |answer: &Answer| answer.revision().unwrap_or_default();
        let (put, deleted) = (Answer::of(put, Answer::Txn), Answer::of(deleted, Answer::Txn));
        let revisions = (revision(&put), revision(&deleted));
        self.record.writes.extend([put, deleted]);
        self.read_until("the last events", |stream| {
            stream.live.iter().all(|(id, watcher)| {
                let seen = stream.record.events.get(id).and_then(|events| events.last());
                let seen = seen.and_then(|event| event.kv.as_ref()).map_or(0, |kv| kv.mod_revision);
                tail::last_event(watcher, &deletes, revisions).is_none_or(|last| seen >= last)
            })
        })
        .await;
    }

    /// Asks for progress until it is told, unless a watcher that waits for a later revision forbids it, or one that was
    /// overtaken by a compaction confuses etcd.
    async fn progress(&mut self) {
        let newest = self.record.writes.iter().rev().find_map(Answer::revision).unwrap_or_default();
        let waiting = self.live.values().any(|watcher| watcher.start_revision > newest);
        if self.live.is_empty() || waiting || self.record.canceled.keys().any(|id| self.overtaken(*id)) {
            return;
        }
        for _ in 0..PATIENCE.as_millis() / PROGRESS_AGAIN.as_millis() {
            self.send(RequestUnion::ProgressRequest(WatchProgressRequest {}));
            let told = timeout(PROGRESS_AGAIN, self.read_while(|stream| stream.record.progress.is_none())).await;
            if told.is_ok() {
                return;
            }
        }
        self.record.missing.push("a progress notification".to_owned());
    }

    /// Whether a compaction has ended this watcher: see [`crate::allowed::LEFT_OUT`].
    fn overtaken(&self, id: i64) -> bool {
        let canceled = self.record.canceled.get(&id).into_iter().flatten();
        canceled.into_iter().any(|response| response.compact_revision != 0)
    }

    fn send(&self, request: RequestUnion) {
        // A stream that has ended shows in what is missing afterwards.
        let _ = self.requests.send(WatchRequest { request_union: Some(request) });
    }

    async fn read_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        if timeout(PATIENCE, self.read_while(|stream| !done(stream))).await.is_err() {
            self.record.missing.push(what.to_owned());
        }
    }

    async fn read_while(&mut self, wanted: impl Fn(&Self) -> bool) {
        while wanted(self) {
            match self.responses.recv().await {
                Some(Ok(response)) => self.note(response),
                Some(Err(status)) => return self.record.broken.push(format!("the stream ended: {status}")),
                None => return self.record.broken.push("the stream ended".to_owned()),
            }
        }
    }

    fn note(&mut self, mut response: WatchResponse) {
        anonymous(&mut response.header);
        let id = response.watch_id;
        if response.created {
            self.record.created.push(response);
        } else if response.canceled {
            self.live.remove(&id);
            self.record.canceled.entry(id).or_default().push(response);
        } else if response.events.is_empty() {
            let revision = response.header.unwrap_or_default().revision;
            if id == NONE {
                self.record.progress = Some(revision);
            }
        } else {
            let known = self.live.contains_key(&id) || self.record.created.iter().any(|created| created.watch_id == id);
            if !known {
                self.record.broken.push(format!("events for {id} before its creation was answered"));
            }
            let whole = self.live.get(&id).is_none_or(|watcher| !watcher.fragment);
            let seen = self.record.events.entry(id).or_default();
            self.record.broken.extend(tail::broken_promises(seen, &response, whole));
            seen.extend(response.events);
        }
    }
}
