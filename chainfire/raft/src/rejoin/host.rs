use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ChangeMembers, Raft, ReadPolicy, async_runtime::watch::WatchReceiver as _, errors::RaftError, raft::Precondition,
    storage::RaftStateMachine,
};
use tokio::time::{Instant, timeout_at};

use super::{
    Roster,
    plan::{Step, requested, unfinished},
};
use crate::{
    RaftId,
    types::{LogId, Peer, TypeConfig},
};

/// The leader's part of giving a slot its place back. Every change is made only while the membership is still the one
/// that it was decided on, so that two leaders, or two requests, cannot both act.
pub(crate) struct Host<'a, SM: RaftStateMachine<TypeConfig>> {
    raft: &'a Raft<TypeConfig, SM>,
    /// Slots of the cluster.
    members: u16,
    /// How long a learner is waited for at a time.
    patience: Duration,
}

/// What a quorum has confirmed.
struct Confirmed {
    roster: Roster,
    /// The membership entry.
    at: Option<LogId>,
    /// Everything up to here is committed.
    committed: u64,
}

impl<'a, SM: RaftStateMachine<TypeConfig>> Host<'a, SM> {
    pub(crate) fn new(raft: &'a Raft<TypeConfig, SM>, members: u16, patience: Duration) -> Self {
        Self { raft, members, patience }
    }

    /// Takes the old disk of the slot out and lets `who` learn. Returns once both are committed; asking again does no
    /// harm. The error says why not yet.
    pub(crate) async fn admit(&self, who: RaftId, peer: &Peer) -> Result<(), String> {
        loop {
            let confirmed = self.confirm().await?;
            let step = requested(&confirmed.roster, who, self.members).map_err(|refusal| refusal.to_string())?;
            if step == Step::Rest {
                return Ok(());
            }
            self.take(step, &confirmed, peer).await?;
        }
    }

    /// Takes the next step of a rejoin that has begun, if it can be taken already.
    pub(crate) async fn tend(&self) -> Result<(), String> {
        let confirmed = self.confirm().await?;
        let step = unfinished(&confirmed.roster);
        if let Step::Promote(learner) = step
            && !self.matches(learner, confirmed.committed).await
        {
            return Ok(());
        }
        self.take(step, &confirmed, &Peer::default()).await
    }

    /// Proves to a quorum that this server leads, and returns the membership and what is committed by then. A removed
    /// voter is not in that quorum, so that an index read here is behind the removal.
    async fn confirm(&self) -> Result<Confirmed, String> {
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.map_err(|error| match error {
            RaftError::APIError(error) => error.to_string(),
            RaftError::Fatal(error) => error.to_string(),
        })?;
        let committed = linearizer.read_log_id().index();
        // Cloned at once: a borrowed value blocks openraft.
        let stored = self.raft.metrics().borrow_watched().membership_config.clone();
        let roster = Roster::of(&stored);
        if !roster.is_committed(committed) {
            return Err("a change of the members is not committed yet".into());
        }
        Ok(Confirmed { roster, at: *stored.log_id(), committed })
    }

    async fn take(&self, step: Step, confirmed: &Confirmed, peer: &Peer) -> Result<(), String> {
        let set = |id: RaftId| BTreeSet::from([id.to_u64()]);
        let change = match step {
            Step::Rest => return Ok(()),
            Step::Settle => ChangeMembers::AddVoterIds(BTreeSet::new()),
            Step::Remove(id) => ChangeMembers::RemoveVoters(set(id)),
            Step::Dismiss(id) => ChangeMembers::RemoveNodes(set(id)),
            Step::Admit(id) => ChangeMembers::AddNodes(BTreeMap::from([(id.to_u64(), peer.clone())])),
            Step::Promote(id) => ChangeMembers::AddVoterIds(set(id)),
        };
        tracing::info!(?step, "a server with a new disk is given its place back");
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: confirmed.at };
        let changed = self.raft.change_membership_if(change, false, [unchanged]).await;
        changed.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Waits until `learner` has on disk what was committed at `index`, but not for ever.
    async fn matches(&self, learner: RaftId, index: u64) -> bool {
        let until = Instant::now() + self.patience;
        let mut metrics = self.raft.metrics();
        loop {
            let replication = metrics.borrow_watched().replication.clone().unwrap_or_default();
            let matched = replication.get(&learner.to_u64()).copied().flatten();
            if matched.is_some_and(|matched| matched.index >= index) {
                return true;
            }
            if !matches!(timeout_at(until, metrics.changed()).await, Ok(Ok(()))) {
                return false;
            }
        }
    }
}
