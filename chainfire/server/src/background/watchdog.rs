use std::{sync::Arc, time::Duration};

use chainfire_core::journal;
use holdfast_service::Stop;
use tokio::time::{MissedTickBehavior, interval};

use crate::{metrics::Metrics, store::Store};

const JOURNAL_CHECK: Duration = Duration::from_secs(30);

/// Counts leaders, and says when the audit journal fills up because nobody ships it.
pub(crate) async fn watch_over(store: Arc<Store>, metrics: Metrics, stop: Stop) {
    let mut status = store.group().status_changes();
    let mut leader = status.borrow_and_update().leader;
    let mut checks = interval(JOURNAL_CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned = false;
    loop {
        tokio::select! {
            () = stop.requested() => return,
            _ = checks.tick() => warned = check_journal(&store, warned),
            changed = status.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = status.borrow_and_update().leader;
                if now != leader && now.is_some() {
                    metrics.leader_changes.inc();
                }
                leader = now;
            }
        }
    }
}

/// Warns once when the journal is half full; returns whether it is.
fn check_journal(store: &Store, warned: bool) -> bool {
    let usage = match journal::usage(&store.view()) {
        Ok(usage) => usage,
        Err(halt) => {
            tracing::error!(%halt, "the audit journal cannot be read");
            return warned;
        }
    };
    let filling = usage.used >= usage.budget / 2;
    if filling && !warned {
        let (used, budget) = (usage.used, usage.budget);
        tracing::warn!(used, budget, "the audit journal is more than half full: its records are not being shipped");
    }
    filling
}
