use std::{sync::Arc, time::Duration};

use chainfire_core::{
    Origin,
    cluster::{ClusterAnswer, ClusterCommand},
    kv,
};
use holdfast_service::Stop;
use tokio::time::sleep;

use crate::{request::request_id, store::Store};

/// Versions that one log entry looks at.
const STEP_ROWS: u32 = 1_000;

/// Between two steps, so that clients' writes come through.
const PAUSE: Duration = Duration::from_millis(10);

/// After a step that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Removes compacted rows, in small steps, wherever the last leader stopped.
pub(crate) async fn remove_compacted(store: Arc<Store>, stop: Stop) {
    let mut compactions = store.machine().compactions();
    let mut status = store.group().status_changes();
    loop {
        compactions.mark_unchanged();
        let leads = status.borrow_and_update().is_leader;
        let pause = if leads { step(&store).await } else { None };
        let again = async {
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.requested() => return,
            () = again => {}
            changed = compactions.changed(), if pause.is_none() => if changed.is_err() { return },
            changed = status.changed(), if pause.is_none() => if changed.is_err() { return },
        }
    }
}

/// One step; how long to wait before the next, or none if nothing is left.
async fn step(store: &Store) -> Option<Duration> {
    match kv::compaction_pending(&store.view()) {
        Ok(true) => {}
        Ok(false) => return None,
        Err(halt) => {
            tracing::error!(%halt, "the state cannot be read");
            return Some(RETRY);
        }
    }
    let origin = Origin::system("compaction", request_id());
    match store.govern(origin, ClusterCommand::CompactStep { rows: STEP_ROWS }).await {
        Ok(ClusterAnswer::CompactStep { finished: true, removed }) => {
            tracing::debug!(removed, "compacted rows removed");
            None
        }
        Ok(_) => Some(PAUSE),
        Err(error) => {
            tracing::debug!(%error, "compacted rows not removed");
            Some(RETRY)
        }
    }
}
