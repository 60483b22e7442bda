//! Servers that accept what they are sent, and never answer.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::{Fleet, WINDOW_MS, guarded, is_new, is_old};
use crate::{
    Error,
    agent::Demand,
    outcome::{Outcome, SyncRequest},
};

#[tokio::test(start_paused = true)]
async fn a_version_becomes_active_well_within_its_window() {
    for (window, at_most) in [(8, 5), (12, 7), (300, 41), (0, 41)] {
        let fleet = Fleet::new();
        let disk = fleet.settled().await;
        let bytes = fleet.server.bytes.lock().unwrap().clone();
        fleet.server.silent.store(true, Ordering::Relaxed);
        let (begun, request) = (Instant::now(), SyncRequest { window_ms: window * 1000, ..SyncRequest::default() });
        let outcome = fleet.agent(&disk).take(&bytes, &request).await.unwrap();
        assert!(begun.elapsed() <= Duration::from_secs(at_most), "{window} s: {:?}", begun.elapsed());
        assert_eq!(matches!(outcome, Outcome::Pending { .. }), window > 0, "{outcome:?}");
        is_new(&disk, "active");
    }
}

/// Whoever asks the servers has the turn, which the way back needs, too.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_server_past_the_end_of_the_window() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    agent.sync(&guarded()).await.unwrap();
    fleet.server.silent.store(true, Ordering::Relaxed);
    fleet.pass(WINDOW_MS - 5000);
    for supersede in [false, true] {
        let begun = Instant::now();
        let ended = match supersede {
            true => agent.sync(&SyncRequest { supersede, ..guarded() }).await,
            false => agent.confirm(None, Demand::All).await,
        };
        assert!(matches!(&ended, Err(Error::Unreachable(text)) if text.contains("window")), "{ended:?}");
        assert_eq!(begun.elapsed().as_secs(), 5, "supersede: {supersede}");
    }
    is_new(&disk, "pending");
    fleet.pass(5000);
    agent.tick(None).await.unwrap();
    is_old(&disk, "rolled back");
}
