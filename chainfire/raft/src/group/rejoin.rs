use openraft::{ServerState, async_runtime::watch::WatchReceiver as _};
use tokio::time::{sleep, timeout};

use super::Group;
use crate::{
    Machine, RaftId,
    machine::Applier,
    network::RejoinAnswerV1,
    rejoin::{Host, Roster, Step, unfinished},
    types::Peer,
};

impl<M: Machine> Group<M> {
    /// For a server with a new disk that asks for its slot's place.
    pub(super) async fn rejoin_for_peer(&self, who: RaftId) -> RejoinAnswerV1 {
        let inner = &self.inner;
        if !self.status().is_leader || inner.stop.is_requested() {
            return RejoinAnswerV1::NotLeader;
        }
        let Some(member) = inner.cluster.member(who.slot()) else {
            return RejoinAnswerV1::Wait(format!("there is no slot {}", who.slot()));
        };
        let peer = Peer::from(member);
        let admitting = async {
            let _alone = inner.changing.lock().await;
            self.host().admit(who, &peer).await
        };
        match timeout(inner.timing.request(), admitting).await {
            Ok(Ok(())) => RejoinAnswerV1::Admitted,
            Ok(Err(reason)) => RejoinAnswerV1::Wait(reason),
            Err(_) => RejoinAnswerV1::Wait("the change of the members is not committed in time".into()),
        }
    }

    /// Whether `id` was a member once and is none any more, by what is known to be committed here.
    pub(super) fn has_replaced(&self, id: RaftId) -> bool {
        let (roster, committed) = self.roster();
        roster.is_committed(committed) && !roster.contains(id) && self.inner.seen.lock().contains(&id)
    }

    pub(super) async fn tend_members(&self) {
        let inner = &self.inner;
        let mut metrics = inner.raft.metrics();
        while !inner.stop.is_requested() {
            let (roster, _) = self.roster();
            inner.seen.lock().extend(roster.ids());
            let open = unfinished(&roster) != Step::Rest;
            if open && metrics.borrow_watched().state == ServerState::Leader {
                let _alone = inner.changing.lock().await;
                if let Err(reason) = self.host().tend().await {
                    tracing::info!(group = %inner.id, reason, "a server has not got its place back yet");
                }
            }
            let changed = async {
                if open {
                    sleep(inner.timing.election_min).await;
                    return Ok(());
                }
                metrics.changed().await
            };
            tokio::select! {
                () = inner.stop.requested() => return,
                changed = changed => if changed.is_err() { return },
            }
        }
    }

    fn host(&self) -> Host<'_, Applier<M>> {
        let inner = &self.inner;
        Host::new(&inner.raft, inner.cluster.size(), inner.timing.election_max)
    }

    /// The newest membership, and up to where entries are committed as far as this server knows.
    fn roster(&self) -> (Roster, u64) {
        // Nothing is awaited while the metrics are borrowed.
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let committed = metrics.local_committed.map_or(0, |id| id.index);
        (Roster::of(&metrics.membership_config), committed)
    }
}
