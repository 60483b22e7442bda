//! Clients that read and write the same few keys, each through one member, and remember when they did and what they
//! were told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tonic::Status;

use super::{
    call::{Call, End},
    register::{Answer, Op, Value},
};
use crate::etcd::{self, Done, Member};

/// Between two calls of one client.
const PACE: Duration = Duration::from_millis(5);
/// Keys that are in use at a time. Few, so that calls meet.
const KEYS: u64 = 2;

/// What the clients share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Keys are new in each, so that the search for an order has little to look through.
    round: AtomicU64,
    clock: AtomicU64,
    answered: AtomicU64,
}

/// Clients that run until they are told to stop.
#[derive(Debug)]
pub(super) struct Clients {
    tasks: JoinSet<Vec<(String, Call)>>,
    shared: Arc<Shared>,
}

struct Client {
    number: usize,
    member: Member,
    shared: Arc<Shared>,
    calls: Vec<(String, Call)>,
    /// What it found last, by key.
    found: [Option<Value>; KEYS as usize],
}

impl Clients {
    /// `each` of them through every member.
    pub(super) fn start(each: usize, members: &[Member]) -> Self {
        let (mut tasks, shared) = (JoinSet::new(), Arc::new(Shared::default()));
        for (number, member) in members.iter().cycle().take(each * members.len()).enumerate() {
            let shared = Arc::clone(&shared);
            let client =
                Client { number, member: member.clone(), shared, calls: Vec::new(), found: Default::default() };
            tasks.spawn(client.run());
        }
        Self { tasks, shared }
    }

    /// How many calls were answered so far.
    pub(super) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// From now on other keys are used.
    pub(super) fn turn(&self) {
        self.shared.round.fetch_add(1, Ordering::Relaxed);
    }

    /// Every call with its key, after the last one of each client.
    pub(super) async fn stop(self) -> Vec<(String, Call)> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}

impl Client {
    async fn run(mut self) -> Vec<(String, Call)> {
        let (mut sequence, mut round, mut well) = (0, 0, true);
        while !self.shared.stop.load(Ordering::Relaxed) {
            let now = self.shared.round.load(Ordering::Relaxed);
            if now != round {
                (round, self.found) = (now, Default::default());
            }
            // While the member does not answer, only what need not be remembered is asked.
            well = self.call(round, sequence, well).await;
            sequence += 1;
            tokio::time::sleep(PACE).await;
        }
        self.calls
    }

    /// Whether it was answered.
    async fn call(&mut self, round: u64, sequence: u64, well: bool) -> bool {
        let place = (sequence / 3 + self.number as u64) % KEYS;
        let key = format!("proofs/linearizable/{round}/{place}");
        let fresh = (self.number as u64 + 1) << 32 | sequence;
        let found = self.found.get_mut(place as usize);
        let op = match (well, sequence % 8, found.as_deref().copied().flatten()) {
            (true, 1 | 5, _) => Op::Write(fresh),
            (true, 3 | 6, Some(expected)) => Op::Swap { expected, new: fresh },
            (true, 7, _) => Op::Delete,
            _ => Op::Read,
        };
        let begun = self.shared.clock.fetch_add(1, Ordering::SeqCst);
        let outcome = ask(&self.member, &key, op).await;
        let at = self.shared.clock.fetch_add(1, Ordering::SeqCst);
        if let (Some(found), Ok((Answer::Found(value), _))) = (found, &outcome) {
            *found = *value;
        }
        let well = outcome.is_ok();
        let end = match outcome {
            Ok((answer, revision)) => End::Answered { at, answer, revision },
            Err(status) if op == Op::Read || etcd::is_refusal(&status) => return false,
            Err(_) => End::Unknown,
        };
        self.shared.answered.fetch_add(u64::from(well), Ordering::Relaxed);
        self.calls.push((key, Call { client: self.number, op, begun, end }));
        well
    }
}

async fn ask(member: &Member, key: &str, op: Op) -> Result<(Answer, i64), Status> {
    match op {
        Op::Read => {
            let (value, revision) = member.read(key).await?;
            let parsed = value.map(|value| value.parse()).transpose();
            Ok((Answer::Found(parsed.map_err(|_| Status::internal("not what was written here"))?), revision))
        }
        Op::Write(value) => {
            let put = etcd::Op::Put { key: key.to_owned(), value: value.to_string(), lease: 0 };
            Ok((Answer::Written, member.write(&[put]).await?.revision))
        }
        Op::Swap { expected, new } => {
            let (swapped, revision) = member.swap(key, &expected.to_string(), &new.to_string()).await?;
            Ok((Answer::Swapped(swapped), revision))
        }
        Op::Delete => {
            let delete = etcd::Op::Delete { from: key.to_owned(), to: format!("{key}\0") };
            let Done { revision, deleted } = member.write(&[delete]).await?;
            Ok((Answer::Deleted(deleted > 0), revision))
        }
    }
}
