use std::time::Duration;

use bytes::Bytes;
use chainfire_core::{
    Answer, UserAnswer, UserCommand, format,
    kv::{self, Put, Revision},
    lease::{LeaseGrant, LeaseId},
};
use openraft::{ReadPolicy, async_runtime::watch::WatchReceiver as _};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep, timeout},
};

use super::{
    lessor::command,
    machine::Told,
    server::{Fleet, Process},
};
use crate::RaftId;

const PATIENCE: Duration = Duration::from_secs(2);

/// The times to live that clients ask for, in seconds.
const TTL: i64 = 2;

/// A client of the cluster. It writes down what it was promised, and nothing that it was not.
pub(super) struct Client {
    pub(super) fleet: Fleet,
    pub(super) number: usize,
}

impl Client {
    /// Writes values of its own to keys that all share.
    pub(super) async fn write(self) {
        for count in 0_u64.. {
            sleep(self.fleet.common.chance.millis(5, 60)).await;
            let key = format!("key{}", self.fleet.common.chance.below(8));
            self.put(key, format!("client{}-{count}", self.number), LeaseId::NONE).await;
        }
    }

    /// Reads what others were promised.
    pub(super) async fn read(self) {
        loop {
            sleep(self.fleet.common.chance.millis(20, 100)).await;
            let floor = self.fleet.common.record.lock().revisions.begin();
            let Some(process) = self.pick() else { continue };
            let reading = async {
                let known = process.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
                process.state.applied(known.read_log_id().index()).await;
                process.state.read(kv::current_revision).ok()
            };
            if let Ok(Some(revision)) = timeout(PATIENCE, reading).await
                && process.is_alive()
            {
                self.fleet.common.record.judge(|record| record.revisions.read(floor, revision));
            }
        }
    }

    /// Takes a lease, hangs a key on it, renews it for a while, and forgets it.
    pub(super) async fn lease(self) {
        for count in 0_i64.. {
            sleep(self.fleet.common.chance.millis(100, 1_000)).await;
            let id = LeaseId(i64::try_from(self.number).unwrap_or(0) * 1_000 + count + 1);
            let asked = Instant::now();
            let grant = UserCommand::LeaseGrant(LeaseGrant { id, ttl: TTL, min_ttl: 1 });
            let Some(process) = self.pick() else { continue };
            let Some(UserAnswer::LeaseGrant { ttl, .. }) = change(&process, grant).await else { continue };
            let time = Duration::from_secs(ttl.unsigned_abs());
            self.fleet.common.record.judge(|record| {
                record.leases.promise(id, asked + time);
                Ok(())
            });
            self.put(format!("leased{}", id.0), format!("lease{}", id.0), id).await;
            for _ in 0..self.fleet.common.chance.below(4) {
                sleep(self.fleet.common.chance.millis(500, 1_500)).await;
                let Some(process) = self.pick() else { continue };
                let asked = Instant::now();
                if process.lessor.renew(&process, id, self.fleet.common.timing).await && process.is_alive() {
                    self.fleet.common.record.judge(|record| {
                        record.leases.promise(id, asked + time);
                        Ok(())
                    });
                }
            }
        }
    }

    /// Watches everything, at one server after the other.
    pub(super) async fn watch(self) {
        let watcher = self.fleet.common.record.lock().watches.add();
        loop {
            sleep(self.fleet.common.chance.millis(10, 100)).await;
            let processes = self.fleet.processes();
            if let Some(process) = self.fleet.common.chance.pick(&processes) {
                let stay = self.fleet.common.chance.millis(500, 4_000);
                let _ = timeout(stay, self.follow(watcher, process)).await;
            }
        }
    }

    /// First what the server has of the past, then what it tells.
    async fn follow(&self, watcher: usize, process: &Process) {
        let mut told = process.state.told.subscribe();
        self.catch_up(watcher, process);
        loop {
            match told.recv().await {
                Ok(Told::Revision(events)) => self.fleet.common.record.judge(|record| {
                    let next = record.watches.next(watcher);
                    // It was in the past that was read after the subscription.
                    if events.revision < next { Ok(()) } else { record.watches.sees(watcher, events) }
                }),
                Ok(Told::Restored) | Err(RecvError::Lagged(_)) => self.catch_up(watcher, process),
                Err(RecvError::Closed) => return,
            }
            if !process.is_alive() {
                return;
            }
        }
    }

    fn catch_up(&self, watcher: usize, process: &Process) {
        let next = self.fleet.common.record.lock().watches.next(watcher);
        let past = process.state.read(|read| kv::history(read, next, Revision(i64::MAX - 1), usize::MAX, false));
        for events in past.map(|history| history.revisions).unwrap_or_default() {
            self.fleet.common.record.judge(|record| record.watches.sees(watcher, events.into()));
        }
    }

    /// Writes where some server takes somebody for the leader.
    pub(super) async fn put(&self, key: String, value: String, lease: LeaseId) -> bool {
        let Some(process) = self.pick() else { return false };
        self.put_at(&process, key, value, lease).await
    }

    pub(super) async fn put_at(&self, process: &Process, key: String, value: String, lease: LeaseId) -> bool {
        let floor = self.fleet.common.record.lock().revisions.begin();
        let value = Bytes::from(value);
        let put = Put { key: key.into(), value: value.clone(), lease, ..Put::default() };
        let answer = change(process, UserCommand::Put(put)).await;
        let Some(UserAnswer::Put(answer)) = answer else { return false };
        self.fleet.common.record.judge(|record| {
            record.revisions.written(floor, answer.revision)?;
            record.writes.acknowledge(answer.revision, &value)
        });
        true
    }

    fn pick(&self) -> Option<Process> {
        let processes = self.fleet.processes();
        let asked = self.fleet.common.chance.pick(&processes)?;
        let leader = asked.raft.metrics().borrow_watched().current_leader.map(RaftId::from_u64);
        let named = processes.iter().find(|process| Some(process.id) == leader);
        Some(named.unwrap_or(asked).clone())
    }
}

/// Proposes to a server. No answer, no promise.
async fn change(process: &Process, change: UserCommand) -> Option<UserAnswer> {
    let written = timeout(PATIENCE, process.raft.client_write(command(change))).await.ok()?.ok()?;
    match format::decode_answer(&written.data.0).ok()? {
        Answer::User(Ok(answer)) if process.is_alive() => Some(answer),
        _ => None,
    }
}
