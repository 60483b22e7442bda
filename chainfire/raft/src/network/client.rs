use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use holdfast_proto::peer::{Answer, Request};
use openraft::{
    OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use serde::de::DeserializeOwned;
use tonic::Status;

use super::{
    acknowledged::Acknowledged,
    dialer::{Dialer, Lane, told},
    wire::{
        AppendAnswerV1, AppendV1, SnapshotAnswerV1, SnapshotV1, TransferAnswerV1, TransferV1, VoteAnswerV1,
        VoteRequestV1, decode, encode,
    },
};
use crate::{
    GroupId, RaftId,
    state::{Outgoing, SnapshotData},
    types::{Peer, Snapshot, TypeConfig, Vote},
};

type Result<T, E = RPCError<TypeConfig>> = std::result::Result<T, E>;

/// Makes openraft's connections of one group.
pub(crate) struct Connections {
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) group: GroupId,
    pub(crate) own: RaftId,
    acknowledged: Arc<Acknowledged>,
}

/// openraft's way to one other voter.
pub(crate) struct Connection {
    dialer: Arc<Dialer>,
    group: GroupId,
    own: RaftId,
    to: RaftId,
    lane: Lane,
    acknowledged: Arc<Acknowledged>,
}

impl Connections {
    pub(crate) fn new(dialer: Arc<Dialer>, group: GroupId, own: RaftId) -> Self {
        Self { dialer, group, own, acknowledged: Arc::default() }
    }

    fn connection(&self, to: u64, lane: Lane) -> Connection {
        Connection {
            dialer: Arc::clone(&self.dialer),
            group: self.group,
            own: self.own,
            to: RaftId::from_u64(to),
            lane,
            acknowledged: Arc::clone(&self.acknowledged),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Connections {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, _: &Peer) -> Connection {
        self.connection(target, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _: &Peer) -> Connection {
        self.connection(target, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, _: &Peer) -> Connection {
        self.connection(target, Lane::Snapshot)
    }
}

impl Connection {
    fn unreachable(&self, reason: impl Into<String>) -> RPCError<TypeConfig> {
        let reason = reason.into();
        self.dialer.forget(self.to.slot(), self.lane);
        self.dialer.lost(self.to.slot(), self.lane, &reason);
        RPCError::Unreachable(Unreachable::from_string(reason))
    }

    fn timeout(&self, action: RPCTypes, timeout: Duration) -> RPCError<TypeConfig> {
        self.dialer.lost(self.to.slot(), self.lane, "no answer in time");
        let (id, target) = (self.own.to_u64(), self.to.to_u64());
        RPCError::Timeout(Timeout { action, id, target, timeout })
    }

    fn client(&self) -> Result<holdfast_proto::peer::peer_client::PeerClient<tonic::transport::Channel>> {
        self.dialer.client(self.to.slot(), self.lane).map_err(|error| self.unreachable(error))
    }

    fn request<T: serde::Serialize>(&self, message: &T) -> Result<Request> {
        let body = encode(message).map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
        Ok(self.dialer.request(self.group, self.to, body))
    }

    /// Awaits a unary call and decodes its answer.
    async fn answer<T, F>(&self, action: RPCTypes, within: Duration, call: F) -> Result<T>
    where
        T: DeserializeOwned,
        F: Future<Output = std::result::Result<tonic::Response<Answer>, Status>>,
    {
        let answer = tokio::time::timeout(within, call).await.map_err(|_| self.timeout(action, within))?;
        let answer = answer.map_err(|status| {
            self.dialer.heed(&status);
            self.unreachable(told(&status))
        })?;
        self.dialer.found(self.to.slot());
        decode(&answer.get_ref().body).map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>> {
        let input = stream::iter([rpc]);
        let mut answers = RaftNetworkV2::stream_append(self, input, option).await?;
        match answers.next().await {
            Some(answer) => answer.map(AppendEntriesResponse::from),
            None => Err(RPCError::Network(NetworkError::from_string("the stream ended without an answer"))),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft waits here for something to send, and first for the end of its back-off. Only then does time run
            // for the peer, whose answer begins after the first request.
            let mut input = input;
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let term = first.vote.leader_id.term;
            let mut client = self.client()?;
            let pending = Arc::new(AtomicU64::new(0));
            let (sent, dialer, group, to) = (Arc::clone(&pending), Arc::clone(&self.dialer), self.group, self.to);
            let mut acknowledged = self.acknowledged.of(to, term);
            let input = stream::once(std::future::ready(first)).chain(input);
            let requests = tokio_stream::StreamExt::map_while(input, move |request| {
                // Encoding fails for sizes beyond 4 GiB only; ending the stream makes openraft start over.
                let body = encode(&AppendV1::from(&request)).ok()?;
                sent.fetch_add(1, Ordering::AcqRel);
                Some(Request { acknowledged: acknowledged.take(), ..dialer.request(group, to, body) })
            });
            // A peer that takes longer than an election to answer is as good as gone.
            let patience = self.dialer.timing().election_min;
            let begun = Instant::now();
            let opened = tokio::time::timeout(patience, client.append(requests)).await;
            let opened = opened.map_err(|_| self.unreachable("the peer does not accept a stream"))?;
            let answers = opened.map_err(|status| self.unreachable(told(&status)))?.into_inner();
            let connection: &'s Self = self;
            let answers = stream::unfold(Some(answers), move |answers| {
                let pending = Arc::clone(&pending);
                async move {
                    let mut answers = answers?;
                    let next = next_answer(connection, &mut answers, &pending, patience).await?;
                    if next.is_ok() && connection.lane == Lane::Heartbeat {
                        connection.dialer.heartbeat_answered(connection.to.slot(), begun.elapsed());
                    }
                    if let Ok(Ok(Some(matching))) = &next {
                        connection.acknowledged.note(connection.to, term, matching.index);
                    }
                    let go_on = matches!(next, Ok(Ok(_)));
                    Some((next, go_on.then_some(answers)))
                }
            });
            Ok(answers.boxed())
        })
    }

    /// Short enough that a peer that is back has the log at once, long enough that one that is not costs nothing.
    fn backoff(&self) -> Option<Backoff> {
        let timing = self.dialer.timing();
        let longest = timing.election_min / 2;
        let doubling = move |last: &Duration| Some((*last * 2).min(longest));
        Some(Backoff::new(std::iter::successors(Some(timing.heartbeat.min(longest)), doubling)))
    }

    async fn vote(&mut self, rpc: VoteRequest<TypeConfig>, option: RPCOption) -> Result<VoteResponse<TypeConfig>> {
        let (mut client, request) = (self.client()?, self.request(&VoteRequestV1::from(&rpc))?);
        let answer: VoteAnswerV1 = self.answer(RPCTypes::Vote, option.soft_ttl(), client.vote(request)).await?;
        Ok(answer.into())
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<TypeConfig>, option: RPCOption) -> Result<VoteResponse<TypeConfig>> {
        let (mut client, request) = (self.client()?, self.request(&VoteRequestV1::from(&rpc))?);
        let answer: VoteAnswerV1 = self.answer(RPCTypes::Vote, option.soft_ttl(), client.pre_vote(request)).await?;
        Ok(answer.into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotData::View(view) = snapshot.snapshot else {
            return Err(NetworkError::from_string("a received snapshot is not sent on before it is installed").into());
        };
        let mut client = self.client()?;
        let start = self.request(&SnapshotV1 { vote: (&vote).into() })?;
        let last = snapshot.meta.last_log_id;
        let (dialer, group, to) = (Arc::clone(&self.dialer), self.group, self.to);
        let outgoing = Outgoing::new(view).map_err(|error| NetworkError::new(&error))?;
        let frames = frames(outgoing).map(move |frame| dialer.request(group, to, frame));
        let requests = stream::iter([start]).chain(frames);
        tokio::select! {
            closed = cancel => Err(closed.into()),
            answer = self.answer::<SnapshotAnswerV1, _>(
                RPCTypes::InstallSnapshot,
                option.hard_ttl(),
                client.snapshot(requests),
            ) => {
                let answered = Vote::from(answer?.vote);
                if let Some(last) = last.filter(|_| answered == vote) {
                    self.acknowledged.note(to, vote.leader_id.term, last.index);
                }
                Ok(SnapshotResponse::new(answered))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>> {
        let (mut client, request) = (self.client()?, self.request(&TransferV1::from(&req))?);
        let call = client.transfer_leader(request);
        let answer: TransferAnswerV1 = self.answer(RPCTypes::TransferLeader, option.soft_ttl(), call).await?;
        Ok(answer.into())
    }
}

/// The next answer of an append stream. An idle stream may be silent for ever, one that owes an answer may not.
async fn next_answer(
    connection: &Connection,
    answers: &mut tonic::Streaming<Answer>,
    pending: &AtomicU64,
    patience: Duration,
) -> Option<Result<StreamAppendResult<TypeConfig>>> {
    let answer = loop {
        match tokio::time::timeout(patience, answers.next()).await {
            Ok(answer) => break answer?,
            Err(_) if pending.load(Ordering::Acquire) == 0 => {}
            Err(_) => return Some(Err(connection.timeout(RPCTypes::AppendEntries, patience))),
        }
    };
    pending.fetch_sub(1, Ordering::AcqRel);
    let answer = match answer {
        Ok(answer) => answer,
        Err(status) => return Some(Err(connection.unreachable(told(&status)))),
    };
    connection.dialer.found(connection.to.slot());
    let decoded = decode::<AppendAnswerV1>(&answer.body);
    Some(decoded.map(Into::into).map_err(|error| RPCError::Network(NetworkError::new(&error))))
}

/// Frames of a snapshot, read on a thread of their own. A failure ends the stream early, which the receiver notices.
fn frames(mut outgoing: Outgoing) -> impl Stream<Item = Bytes> + Send + 'static {
    let (frame, frames) = tokio::sync::mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        loop {
            match outgoing.next_frame() {
                Ok(Some(next)) => {
                    if frame.blocking_send(next).is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "a snapshot cannot be read");
                    return;
                }
            }
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cluster, FatalHook, Limits, Member, Slot, Timing, genesis::Known};

    /// openraft opens streams for what is yet to be written, and waits in them until it may try again.
    #[tokio::test(start_paused = true)]
    async fn a_stream_without_a_request_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let member = |name: &str| Member { name: name.into(), address: "127.0.0.1:1".into() };
        let cluster = Cluster { token: "t".into(), members: vec![member("a"), member("b")] };
        let known = Known::open(folder.path(), cluster, "a").unwrap();
        let (own, other) = (known.id(), RaftId::from_u64(1 << 48));
        assert_eq!(other.slot(), Slot(1));
        let dialer = Dialer::new(Arc::new(known), None, Timing::default(), Limits::default(), FatalHook::default());
        let mut connection = Connections::new(Arc::new(dialer), GroupId(1), own).connection(other.to_u64(), Lane::Log);
        let option = RPCOption::new(Duration::from_millis(100));
        let opening = RaftNetworkV2::stream_append(&mut connection, stream::pending(), option);
        assert!(tokio::time::timeout(Duration::from_secs(3_600), opening).await.is_err());
    }
}
