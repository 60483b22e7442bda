use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use openraft::ReadPolicy;
use tokio::time::{Instant, timeout_at};

use super::Group;
use crate::{
    Machine, RaftId, ReadError, Slot,
    network::{AskAnswerV1, AskV1, decode, encode},
};

/// Answers what only the leader can know, besides what is in the log (e.g. how long a lease still runs). Questions
/// and answers are the service's own; their formats must be versioned, because servers of two releases talk.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// Also asked where this server does not lead any more; the answer must be able to say so. `Err` says what is
    /// wrong with the question.
    async fn answer(&self, question: &[u8]) -> Result<Vec<u8>, String>;
}

impl<M: Machine> Group<M> {
    /// Answers the questions of other servers from now on, as long as the caller keeps `desk`; only the first desk
    /// counts.
    pub fn serve_questions(&self, desk: &Arc<dyn Desk>) {
        let _ = self.inner.desk.set(Arc::downgrade(desk));
    }

    /// Asks the leader's desk once. An error says nothing about what the question did.
    pub async fn ask_leader(&self, question: Vec<u8>) -> Result<Vec<u8>, ReadError> {
        let no_leader = |reason: String| ReadError::NoLeader(reason);
        let leader = self.leader().await.ok_or_else(|| no_leader("no server leads the group".into()))?;
        self.ask_server(leader, question.into()).await
    }

    /// Asks the desk of any server once.
    pub async fn ask(&self, slot: Slot, question: Vec<u8>) -> Result<Vec<u8>, ReadError> {
        let server = self.inner.raft.voter_ids().map(RaftId::from_u64).find(|voter| voter.slot() == slot);
        let server = server.ok_or_else(|| ReadError::NoLeader(format!("slot {slot} is no voter")))?;
        self.ask_server(server, question.into()).await
    }

    async fn ask_server(&self, server: RaftId, question: Bytes) -> Result<Vec<u8>, ReadError> {
        let no_leader = |reason: String| ReadError::NoLeader(reason);
        if server == self.inner.own {
            return match self.ask_for_peer(question).await {
                AskAnswerV1::Answer(answer) => Ok(answer.into()),
                AskAnswerV1::Refused(reason) => Err(no_leader(reason)),
            };
        }
        let body = encode(&AskV1 { question }).map_err(|error| no_leader(error.to_string()))?;
        let inner = &self.inner;
        let request = inner.dialer.request(inner.id, server, body);
        let within = inner.timing.request();
        let call = inner.dialer.call(server.slot(), within, |mut client| async move { client.ask(request).await });
        let answer = call.await.map_err(|error| no_leader(error.to_string()))?;
        match decode(&answer).map_err(|error| no_leader(error.to_string()))? {
            AskAnswerV1::Answer(answer) => Ok(answer.into()),
            AskAnswerV1::Refused(reason) => Err(no_leader(reason)),
        }
    }

    /// For a follower that asks.
    pub(super) async fn ask_for_peer(&self, question: Bytes) -> AskAnswerV1 {
        let Some(desk) = self.inner.desk.get().and_then(Weak::upgrade) else {
            return AskAnswerV1::Refused("nobody answers questions here".into());
        };
        match desk.answer(&question).await {
            Ok(answer) => AskAnswerV1::Answer(answer.into()),
            Err(reason) => AskAnswerV1::Refused(reason),
        }
    }

    /// Proves to a quorum that this server leads, and waits until it has applied what its predecessors committed.
    /// Returns the term in which it leads; an error if it does not, or cannot show both within an election's time.
    /// Nothing is passed on to others.
    pub async fn prove_leadership(&self) -> Result<u64, ReadError> {
        if self.inner.stop.is_requested() {
            return Err(ReadError::Stopped);
        }
        let until = Instant::now() + self.inner.timing.election_max;
        let asking = self.inner.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        let linearizer = timeout_at(until, asking).await.map_err(|_| ReadError::Timeout)?;
        let linearizer = linearizer.map_err(|error| ReadError::NoLeader(error.to_string()))?;
        // A leader's read index is never before the first entry of its own term.
        let known = linearizer.read_log_id();
        timeout_at(until, self.applied(known.index())).await.map_err(|_| ReadError::Behind)?;
        Ok(known.committed_leader_id().term)
    }
}
