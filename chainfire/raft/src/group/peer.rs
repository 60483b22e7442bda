use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::Group;
use crate::{
    Machine,
    network::{AskAnswerV1, PeerGroup, ProposeAnswerV1, ReadIndexAnswerV1},
    state::{Incoming, SnapshotData, Verified},
    types::{Snapshot, TypeConfig, Vote},
};

#[async_trait]
impl<M: Machine> PeerGroup for Group<M> {
    fn append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<TypeConfig>>,
    ) -> BoxStream<'static, Result<StreamAppendResult<TypeConfig>, String>> {
        let results = self.inner.raft.stream_append(requests);
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
}
