use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream::BoxStream};
use holdfast_proto::peer::{Answer, Request as Message, peer_server::Peer};
use holdfast_rpc::{Complaints, Connection};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use parking_lot::RwLock;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Semaphore;
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::{
    dialer::REPLACED,
    slot_name,
    wire::{
        AppendAnswerV1, AppendV1, AskAnswerV1, AskV1, FormedV1, ProbeAnswerV1, ProbeV1, ProposeAnswerV1, ProposeV1,
        ReadIndexAnswerV1, ReadIndexV1, RejoinAnswerV1, RejoinV1, SnapshotAnswerV1, SnapshotV1, TransferAnswerV1,
        TransferV1, VoteAnswerV1, VoteRequestV1, decode, encode,
    },
};
use crate::{
    GroupId, PeerMetrics, RaftId,
    genesis::Known,
    state::{Incoming, Progress, Verified},
    types::{TypeConfig, Vote},
};

/// A group as the peer port sees it, whatever its machine.
#[async_trait]
pub(crate) trait PeerGroup: Send + Sync + 'static {
    /// Whether this server's log ends before entry `acknowledged`, which it has acknowledged to the leader `vote`. Such
    /// a server must stop; the text says why.
    async fn has_lost(&self, vote: &Vote, acknowledged: u64) -> Option<String>;
    fn append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<TypeConfig>>,
    ) -> BoxStream<'static, Result<StreamAppendResult<TypeConfig>, String>>;
    async fn vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, String>;
    async fn pre_vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, String>;
    async fn transfer_leader(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> Result<TransferLeaderResponse<TypeConfig>, String>;
    fn receive(&self) -> Result<Box<Incoming>, String>;
    async fn install(&self, vote: Vote, state: Box<Verified>) -> Result<Vote, String>;
    async fn propose(&self, command: Bytes) -> ProposeAnswerV1;
    async fn read_index(&self) -> ReadIndexAnswerV1;
    async fn ask(&self, question: Bytes) -> AskAnswerV1;
    /// Lets `who`, which has proven its slot and configuration, take its slot's place as a learner.
    async fn rejoin(&self, who: RaftId) -> RejoinAnswerV1;
    /// Whether `id` was a member once and is none any more.
    fn was_replaced(&self, id: RaftId) -> bool;
}

/// The peer port. It believes nothing before certificate, cluster, sender and receiver are checked, and decodes every
/// body with its frame's checksum and the listener's size limit.
#[derive(Clone)]
pub(crate) struct PeerService {
    known: Arc<Known>,
    peers: Arc<[PeerMetrics]>,
    groups: Arc<RwLock<BTreeMap<GroupId, Arc<dyn PeerGroup>>>>,
    /// Whether callers prove their slot.
    certificates: bool,
    /// Received states lie on disk beside the old ones: one at a time.
    receiving: Arc<Semaphore>,
    complaints: Complaints,
    /// Told to ask for its place back.
    rejoining: bool,
}

/// A snapshot whose sender is silent this long is given up.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(60);

impl PeerService {
    pub(crate) fn new(
        known: Arc<Known>,
        peers: Arc<[PeerMetrics]>,
        certificates: bool,
        rejoining: bool,
        complaints: Complaints,
    ) -> Self {
        let receiving = Arc::new(Semaphore::new(1));
        Self { known, peers, groups: Arc::default(), certificates, receiving, complaints, rejoining }
    }

    pub(crate) fn add(&self, id: GroupId, group: Arc<dyn PeerGroup>) {
        self.groups.write().insert(id, group);
    }

    /// Ends the circle of references between groups and service.
    pub(crate) fn clear(&self) {
        self.groups.write().clear();
    }

    /// The refusal of a message that its sender should not have sent. The operator of this server hears of it too: the
    /// mistake may be here.
    fn refuse(&self, extensions: &Extensions, status: Status) -> Status {
        if let Some(Connection { source, .. }) = extensions.get()
            && self.complaints.is_news(source.ip(), status.message())
        {
            tracing::warn!(%source, reason = status.message(), "a message of another server is refused");
        }
        status
    }

    /// Checks that the sender's certificate is that of the slot it speaks for.
    fn check_sender(&self, extensions: &Extensions, message: &Message) -> Result<(), Status> {
        let slot = RaftId::from_u64(message.from).slot();
        let claimed = self.known.cluster().member(slot);
        let claimed = claimed.ok_or_else(|| Status::permission_denied(format!("there is no slot {slot}")))?;
        if self.certificates {
            let connection = extensions.get::<Connection>();
            let leaf = connection.and_then(|connection| connection.certificates.first());
            let leaf = leaf.ok_or_else(|| Status::permission_denied("no certificate"))?;
            let name = slot_name(leaf).map_err(Status::permission_denied)?;
            if name != claimed.name {
                let text = format!("the certificate is {name}'s, the message claims to be from {}", claimed.name);
                return Err(Status::permission_denied(text));
            }
        }
        if slot == self.known.id().slot() {
            return Err(Status::permission_denied(format!("slot {slot} is this server")));
        }
        self.count(message.from, &message.body);
        Ok(())
    }

    /// Counts what came from a sender that has proven its slot.
    fn count(&self, from: u64, body: &Bytes) {
        let slot = RaftId::from_u64(from).slot();
        if let Some(peer) = self.peers.get(usize::from(slot.0)) {
            peer.received.inc_by(body.len() as u64);
        }
    }

    /// Checks that the message is from this cluster and meant for this disk.
    fn check_membership(&self, formed: &FormedV1, message: &Message) -> Result<(), Status> {
        if message.cluster.as_ref() != formed.cluster {
            return Err(Status::failed_precondition("the message comes from another cluster"));
        }
        let own = self.known.id();
        if message.to != own.to_u64() {
            return Err(Status::failed_precondition(format!("this server is {own}: its disk was replaced")));
        }
        Ok(())
    }

    fn group(&self, message: &Message) -> Result<Arc<dyn PeerGroup>, Status> {
        let group = u16::try_from(message.group).ok().and_then(|id| self.groups.read().get(&GroupId(id)).cloned());
        group.ok_or_else(|| Status::failed_precondition(format!("there is no group {} here", message.group)))
    }

    /// The group that `message` is for, after everything about it has been checked. A sender that the group does not
    /// know is let in, because its log may be further than the one here; one that the group has known and lost is not.
    fn admit(&self, extensions: &Extensions, message: &Message) -> Result<Arc<dyn PeerGroup>, Status> {
        self.check_sender(extensions, message).map_err(|status| self.refuse(extensions, status))?;
        // Whoever is faster hears this at the birth of every cluster.
        let formed = self.known.formed();
        let formed = formed.ok_or_else(|| Status::failed_precondition("this server is not part of a cluster yet"))?;
        self.check_membership(&formed, message).map_err(|status| self.refuse(extensions, status))?;
        let group = self.group(message)?;
        let from = RaftId::from_u64(message.from);
        if group.was_replaced(from) {
            let status = Status::new(REPLACED, format!("{from} is not a member: its disk was replaced"));
            return Err(self.refuse(extensions, status));
        }
        Ok(group)
    }

    /// The group whose place a server with a new disk asks for, after its slot, cluster and configuration are proven.
    fn admit_newcomer(&self, extensions: &Extensions, message: &Message) -> Result<Arc<dyn PeerGroup>, Status> {
        self.check_sender(extensions, message)?;
        let wire = body::<RejoinV1>(message)?;
        if self.known.formed().is_none_or(|formed| formed.cluster != wire.id) {
            return Err(Status::failed_precondition("this server is not part of that cluster"));
        }
        if let Some(difference) = self.known.cluster().difference(&wire.cluster, "on the server that asks") {
            return Err(Status::failed_precondition(difference));
        }
        self.group(message)
    }

    /// Admits a unary message and decodes its body.
    fn open<T: DeserializeOwned>(&self, request: &Request<Message>) -> Result<(Arc<dyn PeerGroup>, T), Status> {
        let message = request.get_ref();
        let group = self.admit(request.extensions(), message)?;
        Ok((group, body(message)?))
    }

    async fn receive(&self, mut messages: Streaming<Message>, extensions: &Extensions) -> Result<Vote, Status> {
        let first = next(&mut messages).await?;
        let group = self.admit(extensions, &first)?;
        let vote = Vote::from(body::<SnapshotV1>(&first)?.vote);
        let _one = self.receiving.try_acquire().map_err(|_| Status::resource_exhausted("receiving another one"))?;
        let receiver = Arc::clone(&group);
        let incoming = tokio::task::spawn_blocking(move || receiver.receive()).await;
        let mut incoming = incoming.map_err(|error| Status::internal(error.to_string()))?.map_err(Status::internal)?;
        let complete = loop {
            let frame = next(&mut messages).await?.body;
            self.count(first.from, &frame);
            let accepted = tokio::task::spawn_blocking(move || incoming.accept(&frame)).await;
            let accepted = accepted.map_err(|error| Status::internal(error.to_string()))?;
            match accepted.map_err(|error| Status::invalid_argument(error.to_string()))? {
                Progress::More(more) => incoming = more,
                Progress::Complete(complete) => break complete,
            }
        };
        // openraft takes a snapshot beyond its sender's term for a broken cluster and panics.
        let term = complete.meta().applied.map_or(0, |applied| applied.leader_id.term);
        if !vote.committed || term > vote.leader_id.term {
            return Err(Status::invalid_argument("the sender cannot have this snapshot in its term"));
        }
        group.install(vote, complete).await.map_err(Status::unavailable)
    }
}

async fn next(messages: &mut Streaming<Message>) -> Result<Message, Status> {
    let next = tokio::time::timeout(SNAPSHOT_PAUSE, messages.message()).await;
    let next = next.map_err(|_| Status::deadline_exceeded("the sender is silent"))??;
    next.ok_or_else(|| Status::invalid_argument("the snapshot has no end"))
}

fn body<T: DeserializeOwned>(message: &Message) -> Result<T, Status> {
    decode(&message.body).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// The next request of a stream of appends, which belongs to the sender and the group of its first message.
fn append_request(first: &Message, message: &Message) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
    if (message.group, message.from) != (first.group, first.from) {
        return Err(Status::invalid_argument("the stream belongs to another sender or group"));
    }
    let request = body::<AppendV1>(message)?.try_into();
    request.map_err(|error: holdfast_format::Error| Status::invalid_argument(error.to_string()))
}

fn answer<T: Serialize>(message: &T) -> Result<Response<Answer>, Status> {
    let body = encode(message).map_err(|error| Status::internal(error.to_string()))?;
    Ok(Response::new(Answer { body }))
}

#[async_trait]
impl Peer for PeerService {
    type AppendStream = Pin<Box<dyn Stream<Item = Result<Answer, Status>> + Send>>;

    async fn probe(&self, request: Request<Message>) -> Result<Response<Answer>, Status> {
        let extensions = request.extensions();
        self.check_sender(extensions, request.get_ref()).map_err(|status| self.refuse(extensions, status))?;
        body::<ProbeV1>(request.get_ref())?;
        if self.rejoining && self.known.formed().is_none() {
            // It must not count as an empty server of a cluster that is yet to begin.
            return Err(Status::failed_precondition("this server was told to rejoin a cluster, not to begin one"));
        }
        answer(&ProbeAnswerV1 {
            id: self.known.id().to_u64(),
            cluster: self.known.cluster().clone(),
            formed: self.known.formed(),
        })
    }

    async fn append(&self, request: Request<Streaming<Message>>) -> Result<Response<Self::AppendStream>, Status> {
        let (_, extensions, mut messages) = request.into_parts();
        let Some(first) = messages.message().await? else { return Ok(Response::new(futures::stream::empty().boxed())) };
        let group = self.admit(&extensions, &first)?;
        let service = self.clone();
        let begin = append_request(&first, &first).map_err(|status| self.refuse(&extensions, status))?;
        if let Some(acknowledged) = first.acknowledged
            && let Some(loss) = group.has_lost(&begin.vote, acknowledged).await
        {
            return Err(Status::data_loss(loss));
        }
        let rest = tokio_stream::StreamExt::map_while(messages, move |message| {
            // A connection that ends is nothing to speak of.
            let message = message.ok()?;
            service.count(first.from, &message.body);
            let next = append_request(&first, &message);
            next.map_err(|status| service.refuse(&extensions, status)).ok()
        });
        let requests = futures::stream::iter([begin]).chain(rest).boxed();
        let answers = group.append(requests).map(|result| {
            let result = result.map_err(Status::unavailable)?;
            answer(&AppendAnswerV1::from(result)).map(Response::into_inner)
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn vote(&self, request: Request<Message>) -> Result<Response<Answer>, Status> {
        let (group, wire) = self.open::<VoteRequestV1>(&request)?;
        answer(&VoteAnswerV1::from(&group.vote(wire.into()).await.map_err(Status::unavailable)?))
    }

    async fn pre_vote(&self, request: Request<Message>) -> Result<Response<Answer>, Status> {
        let (group, wire) = self.open::<VoteRequestV1>(&request)?;
        answer(&VoteAnswerV1::from(&group.pre_vote(wire.into()).await.map_err(Status::unavailable)?))
    }

    async fn transfer_leader(&self, request: Request<Message>) -> Result<Response<Answer>, Status> {
        let (group, wire) = self.open::<TransferV1>(&request)?;
        answer(&TransferAnswerV1::from(group.transfer_leader(wire.into()).await.map_err(Status::unavailable)?))
    }

    async fn snapshot(&self, request: Request<Streaming<Message>>) -> Result<Response<Answer>, Status> {
        let (_, extensions, messages) = request.into_parts();
        let vote = self.receive(messages, &extensions).await?;
        answer(&SnapshotAnswerV1 { vote: (&vote).into() })
    }

    async fn propose(&self, request: Request<Message>) -> Result<Response<Answer>, Status> {
        let (group, wire) = self.open::<ProposeV1>(&request)?;
        answer(&group.propose(wire.command).await)
    }

    async fn read_index(&self, request: Request<Message>) -> Result<Response<Answer>, Status> {
        let (group, _) = self.open::<ReadIndexV1>(&request)?;
        answer(&group.read_index().await)
    }

    async fn ask(&self, request: Request<Message>) -> Result<Response<Answer>, Status> {
        let (group, wire) = self.open::<AskV1>(&request)?;
        answer(&group.ask(wire.question).await)
    }

    async fn rejoin(&self, request: Request<Message>) -> Result<Response<Answer>, Status> {
        let (extensions, message) = (request.extensions(), request.get_ref());
        let group = self.admit_newcomer(extensions, message).map_err(|status| self.refuse(extensions, status))?;
        answer(&group.rejoin(RaftId::from_u64(message.from)).await)
    }
}
