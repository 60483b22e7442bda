use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use openraft::{
    RaftLogReader as _,
    raft::{
        AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse,
        VoteRequest, VoteResponse,
    },
};

use super::Group;
use crate::{
    Machine, RaftId,
    network::{AskAnswerV1, PeerGroup, ProposeAnswerV1, ReadIndexAnswerV1, RejoinAnswerV1},
    state::{Incoming, SnapshotData, Verified},
    types::{Snapshot, TypeConfig, Vote},
};

#[async_trait]
impl<M: Machine> PeerGroup for Group<M> {
    async fn has_lost(&self, vote: &Vote, acknowledged: u64) -> Option<String> {
        if self.inner.state.applied() >= acknowledged {
            return None;
        }
        // A log that cannot be read is openraft's to report.
        let mut log = self.inner.log.clone();
        let entries = log.try_get_log_entries(acknowledged..=acknowledged).await.ok()?;
        // Read after the entry: a newer leader, whose vote is saved first, may have replaced it.
        let own = log.read_vote().await.ok()?;
        if !entries.is_empty() || own.is_some_and(|own| own > *vote) {
            return None;
        }
        let loss = format!(
            "the log ends before entry {acknowledged}, which this server has acknowledged to the leader: its disk went \
             back in time. {}",
            crate::error::DAMAGED
        );
        super::handle::report(&self.inner.fatal, self.inner.id, &loss);
        Some(loss)
    }

    fn append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<TypeConfig>>,
    ) -> BoxStream<'static, Result<StreamAppendResult<TypeConfig>, String>> {
        let heard = self.inner.heard.clone();
        let results = self.inner.raft.stream_append(requests);
        let results = results.inspect(move |result| {
            if !matches!(result, Err(_) | Ok(Err(StreamAppendError::HigherVote(_)))) {
                heard.now();
            }
        });
        results.map(|result| result.map_err(|fatal| fatal.to_string())).boxed()
    }

    async fn vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, String> {
        self.inner.raft.vote(request).await.map_err(|error| error.to_string())
    }

    async fn pre_vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, String> {
        self.inner.raft.pre_vote(request).await.map_err(|error| error.to_string())
    }

    async fn transfer_leader(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> Result<TransferLeaderResponse<TypeConfig>, String> {
        self.inner.raft.handle_transfer_leader(request).await.map_err(|error| error.to_string())
    }

    fn receive(&self) -> Result<Box<Incoming>, String> {
        self.inner.state.receive().map_err(|error| error.to_string())
    }

    async fn install(&self, vote: Vote, state: Box<Verified>) -> Result<Vote, String> {
        let meta = state.meta().snapshot_meta();
        let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(state) };
        let response = self.inner.raft.install_full_snapshot(vote, snapshot).await;
        response.map(|response| response.vote).map_err(|error| error.to_string())
    }

    async fn propose(&self, command: Bytes) -> ProposeAnswerV1 {
        if self.inner.stop.is_requested() {
            return ProposeAnswerV1::Stopped;
        }
        self.propose_for_peer(command).await
    }

    async fn read_index(&self) -> ReadIndexAnswerV1 {
        self.read_index_for_peer().await
    }

    async fn ask(&self, question: Bytes) -> AskAnswerV1 {
        self.ask_for_peer(question).await
    }

    async fn rejoin(&self, who: RaftId) -> RejoinAnswerV1 {
        self.rejoin_for_peer(who).await
    }

    fn was_replaced(&self, id: RaftId) -> bool {
        self.has_replaced(id)
    }
}
