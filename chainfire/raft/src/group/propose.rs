use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::Group;
use crate::{
    Machine, ProposeError, RaftId,
    network::{CallError, ProposeAnswerV1, ProposeV1, decode, encode},
    types::Command,
};

/// A proposal that takes longer is worth a line in the log, with the stage that was slow: until the leader has committed
/// and applied it, and until this server has applied it too.
const SLOW: Duration = Duration::from_millis(300);

/// A command that is committed and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub index: u64,
    pub term: u64,
    /// What the state machine answered.
    pub answer: Vec<u8>,
}

/// How one attempt has ended.
enum Attempt {
    Done(Committed),
    /// Nothing was proposed: another try is safe.
    Again(String),
    Failed(ProposeError),
}

impl<M: Machine> Group<M> {
    /// Replicates `command` and returns the machine's answer once the entry is in this server's state. Any member
    /// takes it. While there is no leader it waits, for 5 s and two elections in all.
    pub async fn propose(&self, command: Vec<u8>) -> Result<Committed, ProposeError> {
        let (size, limit) = (command.len(), self.inner.limits.command_bytes);
        if size > limit {
            return Err(ProposeError::TooLarge { size, limit });
        }
        let deadline = self.deadline();
        let command = Bytes::from(command);
        let fate = Fate::default();
        let begun = Instant::now();
        let committed = match timeout_at(deadline, self.until_done(command, &fate)).await {
            Ok(done) => done?,
            Err(_) => return Err(fate.at_deadline()),
        };
        let committing = begun.elapsed();
        let caught_up = timeout_at(deadline, self.applied(committed.index)).await;
        let took = begun.elapsed();
        if took > SLOW {
            let (group, index, applying) = (self.id(), committed.index, took.saturating_sub(committing));
            tracing::warn!(%group, index, size, ?took, ?committing, ?applying, "a proposal was slow");
        }
        match caught_up {
            Ok(()) => Ok(committed),
            Err(_) => Err(ProposeError::Unknown(format!(
                "entry {} is committed, but this server has not caught up with it",
                committed.index
            ))),
        }
    }

    async fn until_done(&self, command: Bytes, fate: &Fate) -> Result<Committed, ProposeError> {
        loop {
            if self.inner.stop.is_requested() {
                return Err(ProposeError::Stopped);
            }
            let attempt = match self.leader().await {
                Some(leader) if leader == self.inner.own => self.propose_here(command.clone(), fate).await,
                Some(leader) => self.propose_there(leader, command.clone(), fate).await,
                None => Attempt::Again("no server leads the group".into()),
            };
            match attempt {
                Attempt::Done(committed) => return Ok(committed),
                Attempt::Failed(error) => return Err(error),
                Attempt::Again(reason) => fate.not_proposed(reason),
            }
            self.something_new().await;
        }
    }

    /// As the leader.
    async fn propose_here(&self, command: Bytes, fate: &Fate) -> Attempt {
        if !*self.inner.open.borrow() {
            return Attempt::Again("the cluster's first command is not committed yet".into());
        }
        fate.proposed();
        match self.inner.raft.client_write(Command(command)).await {
            Ok(written) => Attempt::Done(Committed {
                index: written.log_id.index,
                term: written.log_id.leader_id.term,
                answer: written.data.0.into(),
            }),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Attempt::Again(match forward.leader_id {
                    Some(leader) => format!("{} leads now", RaftId::from_u64(leader)),
                    None => "there is no quorum".into(),
                })
            }
            // Discarded entries may have been committed by the next leader; a failing node does not know either.
            Err(error) => Attempt::Failed(ProposeError::Unknown(error.to_string())),
        }
    }

    /// By way of the leader.
    async fn propose_there(&self, leader: RaftId, command: Bytes, fate: &Fate) -> Attempt {
        let body = match encode(&ProposeV1 { command }) {
            Ok(body) => body,
            Err(error) => return Attempt::Failed(ProposeError::NoLeader(error.to_string())),
        };
        let inner = &self.inner;
        let request = inner.dialer.request(inner.id, leader, body);
        let within = inner.timing.request();
        let call = inner.dialer.call(leader.slot(), within, |mut client| {
            fate.proposed();
            async move { client.propose(request).await }
        });
        match call.await {
            Ok(answer) => match decode::<ProposeAnswerV1>(&answer) {
                Ok(answer) => understood(answer),
                Err(error) => Attempt::Failed(ProposeError::Unknown(error.to_string())),
            },
            Err(CallError::NotSent(reason) | CallError::Refused(reason)) => Attempt::Again(reason),
            Err(CallError::Lost(reason)) => Attempt::Failed(ProposeError::Unknown(reason)),
        }
    }

    /// For a follower that forwards: only as the leader, never passed on.
    pub(super) async fn propose_for_peer(&self, command: Bytes) -> ProposeAnswerV1 {
        let (size, limit) = (command.len(), self.inner.limits.command_bytes);
        if size > limit {
            return ProposeAnswerV1::TooLarge { size: size as u64, limit: limit as u64 };
        }
        let fate = Fate::default();
        match timeout_at(self.deadline(), self.propose_here(command, &fate)).await {
            Ok(Attempt::Done(committed)) => ProposeAnswerV1::Committed {
                index: committed.index,
                term: committed.term,
                answer: committed.answer.into(),
            },
            Ok(Attempt::Again(reason)) => ProposeAnswerV1::NoLeader(reason),
            Ok(Attempt::Failed(error)) => told(error),
            Err(_) => told(fate.at_deadline()),
        }
    }
}

/// Whether a command may be in somebody's log, for the moment when time is up.
struct Fate(Mutex<ProposeError>);

impl Default for Fate {
    fn default() -> Self {
        Self(Mutex::new(ProposeError::NoLeader("nobody was asked in time".into())))
    }
}

impl Fate {
    fn proposed(&self) {
        *self.0.lock() = ProposeError::Unknown("not committed in time".into());
    }

    fn not_proposed(&self, reason: String) {
        *self.0.lock() = ProposeError::NoLeader(reason);
    }

    fn at_deadline(&self) -> ProposeError {
        self.0.lock().clone()
    }
}

fn told(error: ProposeError) -> ProposeAnswerV1 {
    match error {
        ProposeError::NoLeader(reason) => ProposeAnswerV1::NoLeader(reason),
        ProposeError::Unknown(reason) => ProposeAnswerV1::Unknown(reason),
        ProposeError::TooLarge { size, limit } => ProposeAnswerV1::TooLarge { size: size as u64, limit: limit as u64 },
        ProposeError::Stopped => ProposeAnswerV1::Stopped,
    }
}

fn understood(answer: ProposeAnswerV1) -> Attempt {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    match answer {
        ProposeAnswerV1::Committed { index, term, answer } => {
            Attempt::Done(Committed { index, term, answer: answer.into() })
        }
        ProposeAnswerV1::NoLeader(reason) => Attempt::Again(reason),
        // The leader is on its way out; another one follows.
        ProposeAnswerV1::Stopped => Attempt::Again("the leader is stopping".into()),
        ProposeAnswerV1::Unknown(reason) => Attempt::Failed(ProposeError::Unknown(reason)),
        ProposeAnswerV1::TooLarge { size: bytes, limit } => {
            Attempt::Failed(ProposeError::TooLarge { size: size(bytes), limit: size(limit) })
        }
    }
}
