use std::sync::Arc;

use holdfast_service::Stop;
use openraft::{
    Instant as _, RaftMetrics, ServerState, async_runtime::watch::WatchReceiver as _, errors::Fatal,
    type_config::alias::WatchReceiverOf,
};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::leadership::{Leadership, News};
use crate::{FatalHook, GroupId, RaftId, Slot, Status, Timing, genesis::Known, rejoin::Roster, types::TypeConfig};

/// When this server has last accepted something from the group's leader. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Option<Instant>>>);

impl Heard {
    pub(super) fn now(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    fn last(&self) -> Option<Instant> {
        *self.0.lock()
    }
}

/// Turns openraft's metrics into [`Status`] until the group ends, and reports an end that nobody asked for.
pub(crate) struct Watch {
    pub(crate) group: GroupId,
    pub(crate) metrics: WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>,
    pub(crate) heard: Heard,
    pub(crate) timing: Timing,
    pub(crate) known: Arc<Known>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) fatal: FatalHook,
    pub(crate) stop: Stop,
}

impl Watch {
    pub(crate) async fn run(mut self) {
        let mut leadership = Leadership::default();
        loop {
            // Cloned at once: a borrowed value blocks openraft.
            let seen = self.metrics.borrow_watched().clone();
            let look_again = self.publish(&seen);
            self.tell(&seen, &mut leadership);
            match seen.running_state {
                Err(Fatal::Stopped) => return,
                Err(error) => return super::handle::report(&self.fatal, self.group, &error.to_string()),
                Ok(()) => {}
            }
            let changed = tokio::select! {
                changed = self.metrics.changed() => changed,
                () = sleep_until(look_again) => Ok(()),
            };
            if changed.is_err() {
                // A core that panics tells nobody.
                if !self.stop.is_requested() {
                    super::handle::report(&self.fatal, self.group, "Raft has ended, and nobody has asked it to");
                }
                return;
            }
        }
    }

    /// Tells the log who leads. Before the group has members nobody can.
    fn tell(&self, seen: &RaftMetrics<TypeConfig>, leadership: &mut Leadership) {
        if self.stop.is_requested() || seen.membership_config.membership().voter_ids().next().is_none() {
            return;
        }
        let leader = self.status.borrow().leader;
        let (group, term) = (self.group, seen.current_term);
        match leadership.news(leader, Instant::now()) {
            Some(News::Leads(slot)) => {
                let server = self.known.cluster().member(slot).map_or("", |member| &member.name);
                tracing::info!(%group, server, term, "a server leads");
            }
            Some(News::Nobody(lasting)) => {
                let majority = self.known.cluster().size() / 2 + 1;
                tracing::warn!(
                    %group,
                    ?lasting,
                    majority,
                    "no server leads, so that nothing can be written: a majority has to run and to reach each other"
                );
            }
            None => {}
        }
    }

    /// Returns when the status may be another one although openraft sees no change.
    fn publish(&self, seen: &RaftMetrics<TypeConfig>) -> Instant {
        let now = Instant::now();
        let silent = last_contact(seen, &self.heard, now).map(|last| last + self.timing.election_max);
        let silent = silent.filter(|silent| *silent > now);
        let next = Status { learners: learners(seen, &self.known), ..of(seen, silent.is_some()) };
        self.status.send_if_modified(|current| {
            let changed = *current != next;
            current.clone_from(&next);
            changed
        });
        silent.unwrap_or(now + self.timing.heartbeat)
    }
}

/// When the leader was last known to lead: as the leader when a quorum has answered, as a follower when something came.
/// openraft names a leader until there is another one.
fn last_contact(metrics: &RaftMetrics<TypeConfig>, heard: &Heard, now: Instant) -> Option<Instant> {
    if metrics.state != ServerState::Leader {
        return heard.last();
    }
    let alone = metrics.membership_config.membership().voter_ids().count() == 1;
    if alone { Some(now) } else { metrics.last_quorum_acked.and_then(|acked| now.checked_sub(acked.elapsed())) }
}

fn of(metrics: &RaftMetrics<TypeConfig>, leader_lives: bool) -> Status {
    let slot = |id: u64| RaftId::from_u64(id).slot();
    Status {
        slot: slot(metrics.id),
        term: metrics.current_term,
        leader: metrics.current_leader.filter(|_| leader_lives).map(slot),
        is_leader: metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id),
        learners: Vec::new(),
        last_log: metrics.last_log_index.unwrap_or(0),
        committed: metrics.local_committed.map_or(0, |id| id.index),
        applied: metrics.last_applied.map_or(0, |id| id.index),
        failed: metrics.running_state.as_ref().err().map(ToString::to_string),
    }
}

/// Slots without a vote. A server with a new disk is one of them, although nobody has told it yet.
fn learners(metrics: &RaftMetrics<TypeConfig>, known: &Known) -> Vec<Slot> {
    let roster = Roster::of(&metrics.membership_config);
    if roster.is_empty() && known.has_rejoined() {
        return vec![known.id().slot()];
    }
    roster.without_vote(known.cluster().size()).collect()
}

/// The status before anything has happened.
pub(crate) fn initial(slot: Slot) -> Status {
    Status {
        slot,
        term: 0,
        leader: None,
        is_leader: false,
        learners: Vec::new(),
        last_log: 0,
        committed: 0,
        applied: 0,
        failed: None,
    }
}

#[cfg(test)]
mod tests {
    use openraft::{async_runtime::watch::WatchSender as _, type_config::TypeConfigExt as _};

    use super::*;
    use crate::Cluster;

    type Metrics = RaftMetrics<TypeConfig>;

    struct Watched {
        metrics: openraft::type_config::alias::WatchSenderOf<TypeConfig, Metrics>,
        heard: Heard,
        status: watch::Receiver<Status>,
        reasons: Arc<Mutex<Vec<String>>>,
        stop: Stop,
        running: tokio::task::JoinHandle<()>,
    }

    fn watched() -> Watched {
        let (metrics, seen) = TypeConfig::watch_channel(Metrics::new_initial(1));
        let (heard, stop, reasons) = (Heard::default(), Stop::new(), Arc::new(Mutex::new(Vec::new())));
        let (status, statuses) = watch::channel(initial(Slot(0)));
        let folder = tempfile::tempdir().unwrap();
        let told = Arc::clone(&reasons);
        let watch = Watch {
            group: GroupId(1),
            metrics: seen,
            heard: heard.clone(),
            timing: Timing::default(),
            known: Arc::new(Known::open(folder.path(), Cluster::single("a", "a:2380"), "a").unwrap()),
            status,
            fatal: FatalHook::new(move |reason| told.lock().push(reason.to_owned())),
            stop: stop.clone(),
        };
        Watched { metrics, heard, status: statuses, reasons, stop, running: tokio::spawn(watch.run()) }
    }

    #[tokio::test]
    async fn a_core_that_vanishes_is_fatal() {
        let Watched { metrics, reasons, running, .. } = watched();
        drop(metrics);
        running.await.unwrap();
        assert_eq!(*reasons.lock(), ["group 1: Raft has ended, and nobody has asked it to"]);

        let Watched { metrics, reasons, running, stop, .. } = watched();
        stop.request();
        drop(metrics);
        running.await.unwrap();
        assert!(reasons.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_has_a_leader_as_long_as_it_hears_of_it() {
        let mut watched = watched();
        let mut known = Metrics::new_initial(1);
        known.current_leader = Some(2);
        watched.metrics.send(known).unwrap();
        watched.heard.now();
        watched.status.wait_for(|status| status.leader.is_some()).await.unwrap();
        let heard = Instant::now();
        watched.status.wait_for(|status| status.leader.is_none()).await.unwrap();
        assert!(heard.elapsed() >= Timing::default().election_max - Timing::default().heartbeat);
        watched.heard.now();
        watched.status.wait_for(|status| status.leader.is_some()).await.unwrap();
    }

    #[tokio::test]
    async fn a_leader_without_quorum_has_no_leader() {
        let mut watched = watched();
        let mut leading = Metrics::new_initial(1);
        (leading.state, leading.current_leader) = (ServerState::Leader, Some(1));
        watched.heard.now();
        watched.metrics.send(leading.clone()).unwrap();
        watched.status.wait_for(|status| status.is_leader).await.unwrap();
        assert_eq!(watched.status.borrow().leader, None);
        leading.last_quorum_acked = Some(openraft::metrics::SerdeInstant::new(TypeConfig::now()));
        watched.metrics.send(leading).unwrap();
        watched.status.wait_for(|status| status.leader == Some(Slot(0))).await.unwrap();
    }
}
