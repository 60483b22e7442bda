//! Clients that write without pause and remember what they were told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::task::JoinSet;
use tonic::Code;

use crate::etcd::Member;

pub(crate) const PREFIX: &str = "proofs/leader-kill/";
/// Keys of each writer: fewer than it writes, so that values are replaced.
const KEYS: u64 = 8;
/// Between two writes of one writer.
const PACE: Duration = Duration::from_millis(10);

/// One attempt to write. Its value is unlike any other's, so that it can be told whether it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// With the revision that the server said it created.
    Acknowledged(i64),
    /// The server, or the connection, could not say.
    Unknown(String),
    /// The server said that it did not happen.
    Refused(String),
}

/// Writers that run until they are told to stop.
#[derive(Debug)]
pub(crate) struct Writers {
    tasks: JoinSet<Vec<Write>>,
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

    /// How many writes were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Everything that was tried, after the last write of each.
    pub(crate) async fn stop(self) -> Vec<Write> {
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
    async fn run(self) -> Vec<Write> {
        let mut writes = Vec::new();
        // Each begins at another member and goes to the next when one does not answer well.
        let mut members = self.members.iter().cycle().skip(self.number);
        let Some(mut member) = members.next() else { return writes };
        let mut sequence = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let key = format!("{PREFIX}w{}/k{}", self.number, sequence % KEYS);
            let value = format!("writer {} write {sequence}", self.number).into_bytes();
            let outcome = match member.put(&key, &value).await {
                Ok(revision) => {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    Outcome::Acknowledged(revision)
                }
                Err(status) => {
                    member = members.next().unwrap_or(member);
                    outcome_of(status.code(), status.message())
                }
            };
            writes.push(Write { key, value, outcome });
            sequence += 1;
            tokio::time::sleep(PACE).await;
        }
        writes
    }
}

/// A code that etcd's API uses for "it did not happen" is a promise; all others leave it open.
fn outcome_of(code: Code, message: &str) -> Outcome {
    let text = format!("{code:?}: {message}");
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => Outcome::Refused(text),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Outcome::Unknown(text),
    }
}
