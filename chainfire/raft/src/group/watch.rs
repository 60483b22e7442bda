use openraft::{
    RaftMetrics, ServerState, async_runtime::watch::WatchReceiver as _, errors::Fatal,
    type_config::alias::WatchReceiverOf,
};
use tokio::sync::watch;

use crate::{FatalHook, GroupId, RaftId, Slot, Status, types::TypeConfig};

/// Turns openraft's metrics into [`Status`] until the group ends, and reports an end that nobody asked for.
pub(crate) async fn run(
    group: GroupId,
    mut metrics: WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>,
    status: watch::Sender<Status>,
    fatal: FatalHook,
) {
    loop {
        // Cloned at once: a borrowed value blocks openraft.
        let seen = metrics.borrow_watched().clone();
        let next = of(&seen);
        status.send_if_modified(|current| {
            let changed = *current != next;
            current.clone_from(&next);
            changed
        });
        match seen.running_state {
            Err(Fatal::Stopped) => return,
            Err(error) => return super::handle::report(&fatal, group, &error.to_string()),
            Ok(()) => {}
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

fn of(metrics: &RaftMetrics<TypeConfig>) -> Status {
    let slot = |id: u64| RaftId::from_u64(id).slot();
    Status {
        slot: slot(metrics.id),
        term: metrics.current_term,
        leader: metrics.current_leader.map(slot),
        is_leader: metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id),
        last_log: metrics.last_log_index.unwrap_or(0),
        committed: metrics.local_committed.map_or(0, |id| id.index),
        applied: metrics.last_applied.map_or(0, |id| id.index),
        failed: metrics.running_state.as_ref().err().map(ToString::to_string),
    }
}

/// The status before anything has happened.
pub(crate) fn initial(slot: Slot) -> Status {
    Status { slot, term: 0, leader: None, is_leader: false, last_log: 0, committed: 0, applied: 0, failed: None }
}
