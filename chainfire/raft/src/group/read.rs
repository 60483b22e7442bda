use openraft::{ReadPolicy, errors::RaftError};
use tokio::time::{timeout, timeout_at};

use super::Group;
use crate::{
    Machine, RaftId, ReadError,
    network::{ReadIndexAnswerV1, ReadIndexV1, decode, encode},
};

impl<M: Machine> Group<M> {
    /// Returns when local reads show everything that was acknowledged anywhere before this call: the leader has
    /// proven to a quorum that it leads, and this server has applied what the leader had committed.
    pub async fn read_index(&self) -> Result<u64, ReadError> {
        let (deadline, term) = (self.deadline(), self.status().term);
        let group = self.clone();
        let round = move || group.clone().known_in_time();
        let known = match timeout_at(deadline, self.inner.reads.ask(round)).await {
            Ok(known) => known.unwrap_or(Err(ReadError::Stopped)),
            // Whoever asked before the round began waits longer than it.
            Err(_) => Err(self.leaderless()),
        };
        let index = known.map_err(|error| error.since(term, &self.status()))?;
        timeout_at(deadline, self.applied(index)).await.map_err(|_| ReadError::Behind)?;
        Ok(index)
    }

    /// One round for everybody who waits.
    async fn known_in_time(self) -> Result<u64, ReadError> {
        let mut reason = None;
        let known = tokio::select! {
            known = timeout_at(self.deadline(), self.until_known(&mut reason)) => known,
            () = self.inner.stop.requested() => return Err(ReadError::Stopped),
        };
        known.unwrap_or_else(|_| Err(reason.map_or(ReadError::Timeout, ReadError::NoLeader)))
    }

    fn leaderless(&self) -> ReadError {
        match self.status().leader {
            None => ReadError::NoLeader("no server leads the group".into()),
            Some(_) => ReadError::Timeout,
        }
    }

    async fn until_known(&self, reason: &mut Option<String>) -> Result<u64, ReadError> {
        loop {
            if self.inner.stop.is_requested() {
                return Err(ReadError::Stopped);
            }
            let known = match self.leader().await {
                Some(leader) if leader == self.inner.own => {
                    *reason = None;
                    self.read_index_when_open().await
                }
                Some(leader) => self.read_index_there(leader).await,
                None => Err("no server leads the group".into()),
            };
            match known {
                Ok(index) => return Ok(index),
                Err(error) => *reason = Some(error),
            }
            self.something_new().await;
        }
    }

    /// As the leader, once there is something to read.
    async fn read_index_when_open(&self) -> Result<u64, String> {
        if !*self.inner.open.borrow() {
            return Err("the cluster's first command is not committed yet".into());
        }
        self.read_index_here().await
    }

    /// As the leader; the error says why another try is needed.
    pub(super) async fn read_index_here(&self) -> Result<u64, String> {
        if self.inner.stop.is_requested() {
            return Err("this server is stopping".into());
        }
        match self.inner.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(linearizer.read_log_id().index()),
            Err(RaftError::APIError(error)) => Err(error.to_string()),
            Err(RaftError::Fatal(error)) => Err(error.to_string()),
        }
    }

    async fn read_index_there(&self, leader: RaftId) -> Result<u64, String> {
        let inner = &self.inner;
        let body = encode(&ReadIndexV1 {}).map_err(|error| error.to_string())?;
        let request = inner.dialer.request(inner.id, leader, body);
        // Asking again costs nothing, so a leader that does not answer is not waited for to the end.
        let within = inner.timing.election_max;
        let call =
            inner.dialer.call(leader.slot(), within, |mut client| async move { client.read_index(request).await });
        let answer = call.await.map_err(|error| error.to_string())?;
        match decode(&answer).map_err(|error| error.to_string())? {
            ReadIndexAnswerV1::Index(index) => Ok(index),
            ReadIndexAnswerV1::NoLeader(reason) => Err(reason),
            ReadIndexAnswerV1::Timeout => Err("the leader found no quorum in time".into()),
            ReadIndexAnswerV1::Stopped => Err("the leader is stopping".into()),
        }
    }

    /// For a follower that asks.
    pub(super) async fn read_index_for_peer(&self) -> ReadIndexAnswerV1 {
        if self.inner.stop.is_requested() {
            return ReadIndexAnswerV1::Stopped;
        }
        match timeout(self.inner.timing.election_max, self.read_index_when_open()).await {
            Ok(Ok(index)) => ReadIndexAnswerV1::Index(index),
            Ok(Err(reason)) => ReadIndexAnswerV1::NoLeader(reason),
            Err(_) => ReadIndexAnswerV1::Timeout,
        }
    }
}
