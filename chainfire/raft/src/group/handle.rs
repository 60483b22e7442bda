use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock, Weak},
};

use holdfast_service::Stop;
use openraft::Raft;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{Desk, Heard, rounds::Rounds};
use crate::{
    Cluster, FatalHook, GroupId, GroupMetrics, Incarnation, Limits, Machine, RaftId, ReadError, Slot, Stall, StateDb,
    Status, Timing, TransferError,
    genesis::Known,
    log::{LogReader, Unsynced},
    machine::Applier,
    network::Dialer,
    stall::StepDown,
    types::TypeConfig,
};

/// A Raft group on this server. Clones share it.
pub struct Group<M: Machine> {
    pub(super) inner: Arc<Inner<M>>,
}

pub(super) struct Inner<M: Machine> {
    pub(super) id: GroupId,
    pub(super) own: RaftId,
    pub(super) raft: Raft<TypeConfig, Applier<M>>,
    pub(super) machine: Arc<M>,
    pub(super) state: StateDb,
    pub(super) log: LogReader,
    unsynced: Unsynced,
    pub(super) step_down: tokio::sync::Mutex<StepDown>,
    pub(super) heard: Heard,
    pub(super) fatal: FatalHook,
    pub(super) dialer: Arc<Dialer>,
    pub(super) timing: Timing,
    pub(super) limits: Limits,
    pub(super) status: watch::Receiver<Status>,
    pub(super) metrics: GroupMetrics,
    /// Proposals wait until it is true; in the first group that is when genesis is in the state.
    pub(super) open: watch::Receiver<bool>,
    pub(super) stop: Stop,
    /// What this server is, and how its cluster began.
    known: Arc<Known>,
    /// The configured servers.
    pub(super) cluster: Cluster,
    /// Everybody who was a member of the group as far as this process knows.
    pub(super) seen: Mutex<BTreeSet<RaftId>>,
    /// One change of the membership at a time.
    pub(super) changing: tokio::sync::Mutex<()>,
    /// Weak, because the desk usually holds the group.
    pub(super) desk: OnceLock<Weak<dyn Desk>>,
    pub(super) reads: Rounds<Result<u64, ReadError>>,
}

/// What a group is made of; the node puts it together.
pub(crate) struct Parts<M: Machine> {
    pub(crate) id: GroupId,
    pub(crate) own: RaftId,
    pub(crate) raft: Raft<TypeConfig, Applier<M>>,
    pub(crate) machine: Arc<M>,
    pub(crate) state: StateDb,
    pub(crate) log: LogReader,
    pub(crate) unsynced: Unsynced,
    pub(crate) heard: Heard,
    pub(crate) fatal: FatalHook,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) limits: Limits,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) metrics: GroupMetrics,
    pub(crate) open: watch::Receiver<bool>,
    pub(crate) stop: Stop,
    pub(crate) known: Arc<Known>,
}

impl<M: Machine> Clone for Group<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<M: Machine> Group<M> {
    pub(crate) fn new(parts: Parts<M>) -> Self {
        let Parts {
            id,
            own,
            raft,
            machine,
            state,
            log,
            unsynced,
            heard,
            fatal,
            dialer,
            limits,
            status,
            metrics,
            open,
            stop,
            known,
        } = parts;
        let timing = dialer.timing();
        let (desk, reads) = (OnceLock::new(), Rounds::default());
        let inner = Inner {
            id,
            own,
            raft,
            machine,
            state,
            log,
            unsynced,
            step_down: tokio::sync::Mutex::default(),
            heard,
            fatal,
            dialer,
            timing,
            limits,
            status,
            metrics,
            open,
            stop,
            cluster: known.cluster().clone(),
            seen: Mutex::new(known.founders().collect()),
            known,
            changing: tokio::sync::Mutex::default(),
            desk,
            reads,
        };
        Self { inner: Arc::new(inner) }
    }

    pub fn state(&self) -> &StateDb {
        &self.inner.state
    }

    pub fn machine(&self) -> &Arc<M> {
        &self.inner.machine
    }

    pub fn id(&self) -> GroupId {
        self.inner.id
    }

    pub fn status(&self) -> Status {
        self.inner.status.borrow().clone()
    }

    /// Whether this server has no vote, because it comes back with a new disk.
    pub fn is_learner(&self) -> bool {
        let status = self.inner.status.borrow();
        status.learners.contains(&status.slot)
    }

    /// The disk with which this server has come back; none while it has the one that its cluster began with.
    pub fn replaced_disk(&self) -> Option<Incarnation> {
        self.inner.known.has_rejoined().then(|| self.inner.own.incarnation())
    }

    /// For how long this server's disk has not synced the log, if that is too long.
    pub fn disk_stall(&self) -> Option<Stall> {
        Stall::of(self.inner.unsynced.age(), &self.inner.timing)
    }

    /// What this server measures of the group.
    pub fn metrics(&self) -> &GroupMetrics {
        &self.inner.metrics
    }

    /// Wakes when leader, term or positions change. Do not hold a borrowed value over an await.
    pub fn status_changes(&self) -> watch::Receiver<Status> {
        self.inner.status.clone()
    }

    /// Hands leadership to `to` and returns when it leads. Only the leader can.
    pub async fn transfer_leader(&self, to: Slot) -> Result<(), TransferError> {
        let status = self.status();
        if !status.is_leader {
            return Err(TransferError::NotLeader);
        }
        if to == self.inner.own.slot() {
            return Ok(());
        }
        let voter = self.inner.raft.voter_ids().map(RaftId::from_u64).find(|voter| voter.slot() == to);
        let voter = voter.ok_or(TransferError::NoSuchMember(to))?;
        self.hand_over(voter).await
    }

    pub(super) async fn hand_over(&self, to: RaftId) -> Result<(), TransferError> {
        let inner = &self.inner;
        inner.raft.trigger().transfer_leader(to.to_u64()).await.map_err(|_| TransferError::Stopped)?;
        let mut status = inner.status.clone();
        let taken = status.wait_for(|status| status.leader == Some(to.slot()));
        match timeout(inner.timing.election_max * 2, taken).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(TransferError::Stopped),
            Err(_) => Err(TransferError::Timeout),
        }
    }

    /// When a request that begins now is given up.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.inner.timing.request()
    }

    /// Waits for a change that may bring a leader; a short pause where the change is not visible here.
    pub(super) async fn something_new(&self) {
        let mut status = self.inner.status.clone();
        status.mark_unchanged();
        let _ = timeout(self.inner.timing.heartbeat, status.changed()).await;
    }

    pub(super) async fn leader(&self) -> Option<RaftId> {
        self.inner.raft.current_leader().await.map(RaftId::from_u64)
    }

    /// Waits until entry `index` is in the local state.
    pub(super) async fn applied(&self, index: u64) {
        let mut applied = self.inner.state.applied_changes();
        // The sender lives in the state, which `self` holds.
        let _ = applied.wait_for(|applied| *applied >= index).await;
    }
}

/// openraft's settings for a group.
pub(crate) fn settings(config: &crate::GroupConfig, timing: Timing) -> Result<openraft::Config, crate::Error> {
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let settings = openraft::Config {
        cluster_name: config.name.to_owned(),
        heartbeat_interval: millis(timing.heartbeat),
        // openraft waits for the old leader's lease, which is its longest time-out, and then for a time-out of its
        // own: the sum lies between 1.1 and 1.4 of our shortest, far enough apart for one to be the first, and soon
        // enough for a new leader to have acknowledged a write within 1.5 of it.
        election_timeout_min: millis(timing.election_min * 2 / 5),
        election_timeout_max: millis(timing.election_min * 7 / 10),
        // Only a limit for a transfer that makes no progress; the stream has shorter ones of its own.
        install_snapshot_timeout: 30 * 60 * 1000,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(config.snapshot_every.max(1)),
        max_in_snapshot_log_to_keep: config.keep_entries,
        replication_lag_threshold: config.snapshot_every.saturating_add(config.keep_entries).saturating_mul(2),
        max_payload_entries: 1024,
        enable_pre_vote: Some(true),
        // A leader that restarts in its old term answers reads with what it knew to be committed when it was last synced,
        // which may be less than it has acknowledged. It must win an election first.
        enable_leader_restore: Some(false),
        // A leader without quorum goes quiet for a while, so that the others can elect another one.
        quorum_loss_probe_interval: Some(millis(timing.election_max).saturating_mul(2)),
        ..openraft::Config::default()
    };
    settings.validate().map_err(|error| crate::Error::Config(error.to_string()))
}

/// Says why a group has failed, once.
pub(super) fn report(fatal: &FatalHook, group: GroupId, reason: &str) {
    fatal.call(&format!("group {group}: {reason}"));
}
