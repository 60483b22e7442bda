use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    alias::SnapshotOf,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::sleep;

use super::{
    chance::Chance,
    machine::Image,
    server::{Process, SimRaft},
};
use crate::{
    RaftId, Slot,
    network::{AppendAnswerV1, AppendV1, TransferAnswerV1, TransferV1, VoteAnswerV1, VoteRequestV1, decode, encode},
    types::{Peer, TypeConfig, Vote},
};

/// The links between servers: late, lossy, and cut at times. Clones share it.
#[derive(Clone)]
pub(super) struct Net(Arc<Inner>);

struct Inner {
    /// Who runs Raft now. A message for another incarnation of a slot arrives nowhere.
    running: Mutex<BTreeMap<RaftId, Process>>,
    /// Links that carry nothing, by direction.
    cut: Mutex<BTreeSet<(Slot, Slot)>>,
    loss_percent: Mutex<u32>,
    chance: Chance,
}

/// How long a sender waits for what was lost.
const PATIENCE: Duration = Duration::from_millis(150);

impl Net {
    pub(super) fn new(chance: Chance) -> Self {
        let inner = Inner { running: Mutex::default(), cut: Mutex::default(), loss_percent: Mutex::new(0), chance };
        Self(Arc::new(inner))
    }

    pub(super) fn join(&self, process: &Process) {
        self.0.running.lock().insert(process.id, process.clone());
    }

    pub(super) fn leave(&self, id: RaftId) {
        self.0.running.lock().remove(&id);
    }

    /// Cuts every link between `these` and the others.
    pub(super) fn part(&self, these: &BTreeSet<Slot>, members: u16) {
        let mut cut = self.0.cut.lock();
        cut.clear();
        for one in (0..members).map(Slot) {
            for other in (0..members).map(Slot) {
                if these.contains(&one) != these.contains(&other) {
                    cut.insert((one, other));
                }
            }
        }
    }

    /// Cuts one direction.
    pub(super) fn deafen(&self, from: Slot, to: Slot) {
        self.0.cut.lock().insert((from, to));
    }

    pub(super) fn heal(&self) {
        self.0.cut.lock().clear();
    }

    pub(super) fn lose(&self, percent: u32) {
        *self.0.loss_percent.lock() = percent;
    }

    /// One message and its answer; either may be lost.
    pub(super) async fn call<T, F>(&self, from: Slot, to: RaftId, call: impl FnOnce(SimRaft) -> F) -> Option<T>
    where
        F: Future<Output = Option<T>>,
    {
        self.carry(from, to.slot()).await?;
        let process = self.0.running.lock().get(&to).cloned()?;
        let answer = call(process.raft).await?;
        self.carry(to.slot(), from).await?;
        process.alive.load(Ordering::SeqCst).then_some(answer)
    }

    async fn carry(&self, from: Slot, to: Slot) -> Option<()> {
        sleep(self.0.chance.latency(8)).await;
        let loss = *self.0.loss_percent.lock();
        if self.0.cut.lock().contains(&(from, to)) || self.0.chance.percent(loss) {
            sleep(PATIENCE).await;
            return None;
        }
        Some(())
    }
}

/// Makes openraft's connections.
pub(super) struct Links {
    pub(super) net: Net,
    pub(super) own: RaftId,
    pub(super) alive: Arc<AtomicBool>,
}

pub(super) struct Link {
    net: Net,
    own: RaftId,
    alive: Arc<AtomicBool>,
    to: RaftId,
}

impl RaftNetworkFactory<TypeConfig> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _: &Peer) -> Link {
        let (net, alive) = (self.net.clone(), Arc::clone(&self.alive));
        Link { net, own: self.own, alive, to: RaftId::from_u64(target) }
    }
}

type Result<T, E = RPCError<TypeConfig>> = std::result::Result<T, E>;

fn lost() -> Unreachable<TypeConfig> {
    Unreachable::from_string("no answer")
}

/// What arrives of a message: encoded and decoded as between servers.
fn wired<W: Serialize + DeserializeOwned>(message: &W) -> Option<W> {
    decode(&encode(message).ok()?).ok()
}

impl Link {
    /// What a crashed server had in hand arrives nowhere.
    async fn call<T, F>(&self, call: impl FnOnce(SimRaft) -> F) -> Result<T, Unreachable<TypeConfig>>
    where
        F: Future<Output = Option<T>>,
    {
        if !self.alive.load(Ordering::SeqCst) {
            return Err(lost());
        }
        self.net.call(self.own.slot(), self.to, call).await.ok_or_else(lost)
    }

    async fn vote_call<F>(
        &self,
        request: VoteRequest<TypeConfig>,
        call: impl FnOnce(SimRaft, VoteRequest<TypeConfig>) -> F,
    ) -> Result<VoteResponse<TypeConfig>>
    where
        F: Future<Output = Option<VoteResponse<TypeConfig>>>,
    {
        let answer = self.call(|raft| async move {
            let answer = call(raft, wired(&VoteRequestV1::from(&request))?.into()).await?;
            wired(&VoteAnswerV1::from(&answer)).map(VoteResponse::from)
        });
        answer.await.map_err(RPCError::Unreachable)
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>> {
        let answer = self.call(|raft| async move {
            let request = AppendEntriesRequest::try_from(wired(&AppendV1::from(&rpc))?).ok()?;
            let answer: StreamAppendResult<TypeConfig> = match raft.append_entries(request).await.ok()? {
                AppendEntriesResponse::Success => Ok(rpc.entries.last().map(|last| last.log_id).or(rpc.prev_log_id)),
                AppendEntriesResponse::PartialSuccess(matching) => Ok(matching),
                AppendEntriesResponse::Conflict => Err(StreamAppendError::Conflict(rpc.prev_log_id?)),
                AppendEntriesResponse::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
            };
            wired(&AppendAnswerV1::from(answer)).map(StreamAppendResult::<TypeConfig>::from)
        });
        answer.await.map(AppendEntriesResponse::from).map_err(RPCError::Unreachable)
    }

    async fn vote(&mut self, rpc: VoteRequest<TypeConfig>, _: RPCOption) -> Result<VoteResponse<TypeConfig>> {
        self.vote_call(rpc, |raft, request| async move { raft.vote(request).await.ok() }).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<TypeConfig>, _: RPCOption) -> Result<VoteResponse<TypeConfig>> {
        self.vote_call(rpc, |raft, request| async move { raft.pre_vote(request).await.ok() }).await
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>> {
        let answer = self.call(|raft| async move {
            let answer = raft.handle_transfer_leader(wired(&TransferV1::from(&rpc))?.into()).await.ok()?;
            wired(&TransferAnswerV1::from(answer)).map(TransferLeaderResponse::from)
        });
        answer.await.map_err(RPCError::Unreachable)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, Image>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let answer = self.call(|raft| async move { raft.install_full_snapshot(vote, snapshot).await.ok() });
        answer.await.map_err(StreamingError::Unreachable)
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(Duration::from_millis(50))))
    }
}
