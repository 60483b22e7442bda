//! Clients that write without pause and remember what they were told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tonic::Status;

use super::call::{self, Call};
use crate::etcd::{self, Done, Member};

/// Between two calls of one writer.
const PACE: Duration = Duration::from_millis(10);
/// Seconds that a lease lives: the least that a server grants, with room for a slow write or two.
const TTL: i64 = 4;

/// One call and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) call: Call,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acknowledged(Done),
    /// The server, or the connection, could not say.
    Unknown(String),
    /// The server said that it did not happen.
    Refused(String),
}

/// Writers that run until they are told to stop.
#[derive(Debug)]
pub(crate) struct Writers {
    tasks: JoinSet<Vec<Attempt>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
}

impl Writers {
    pub(crate) fn start(count: usize, members: &[Member]) -> Self {
        let mut writers = Self { tasks: JoinSet::new(), stop: Arc::default(), acknowledged: Arc::default() };
        for number in 0..count {
            let writer = Writer {
                number,
                members: members.to_vec(),
                stop: Arc::clone(&writers.stop),
                acknowledged: Arc::clone(&writers.acknowledged),
            };
            writers.tasks.spawn(writer.run());
        }
        writers
    }

    /// How many calls were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Everything that was tried, after the last call of each.
    pub(crate) async fn stop(self) -> Vec<Attempt> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}

struct Writer {
    number: usize,
    members: Vec<Member>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
}

impl Writer {
    async fn run(self) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        // Each begins at another member and goes to the next when one does not answer well.
        let mut members = self.members.iter().cycle().skip(self.number);
        let Some(mut member) = members.next() else { return attempts };
        let mut sequence = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let call = call::of(self.number, sequence);
            let answer = match &call {
                Call::Write(ops) => member.write(ops).await,
                Call::Grant(lease) => member.grant(*lease, TTL).await,
            };
            let outcome = match answer {
                Ok(done) => {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    Outcome::Acknowledged(done)
                }
                Err(status) => {
                    member = members.next().unwrap_or(member);
                    outcome_of(&status)
                }
            };
            attempts.push(Attempt { call, outcome });
            sequence += 1;
            tokio::time::sleep(PACE).await;
        }
        attempts
    }
}

/// What a call that was not acknowledged came to.
fn outcome_of(status: &Status) -> Outcome {
    let text = format!("{:?}: {}", status.code(), status.message());
    if etcd::is_refusal(status) { Outcome::Refused(text) } else { Outcome::Unknown(text) }
}
