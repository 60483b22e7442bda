//! What a node knows of its looks at the servers: the ones that only look, and how the last one ended.

use std::sync::atomic::Ordering;

use configsrv_fleet::Version;

use super::{Fleet, WINDOW_MS, guarded, is_new};
use crate::{
    Error,
    agent::Demand,
    disk::forgetful::Crash,
    machine::SyncResult,
    outcome::{Outcome, SyncRequest},
};

#[tokio::test]
async fn a_dry_run_looks_past_what_waits_for_its_confirmation() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    agent.sync(&guarded()).await.unwrap();
    let look = SyncRequest { dry_run: true, ..guarded() };
    let same = agent.sync(&look).await.unwrap();
    assert!(matches!(&same, Outcome::Available { update: false, .. }), "{same:?}");
    fleet.publish(3, &[("/etc/shop", "three", None)]);
    let before = disk.operations();
    let newer = agent.sync(&look).await.unwrap();
    let Outcome::Available { version, active, update, .. } = &newer else { panic!("{newer:?}") };
    assert_eq!((version.get(), active.map(Version::get), *update), (3, Some(2), true));
    assert!(newer.to_string().starts_with("version 3 is available; active: version 2"), "{newer}");
    assert_eq!(disk.operations(), before, "it only looks");
    is_new(&disk, "pending");
    assert!(matches!(agent.sync(&guarded()).await, Err(Error::State(_))), "a sync that is none waits its turn");
}

/// What was typed is known afterwards, also where no daemon runs; the answer to whoever looks is known to all.
#[tokio::test]
async fn how_the_last_sync_ended_is_kept() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let last = || fleet.agent(&disk).status().looked.unwrap();
    assert_eq!((last().result, last().version.unwrap().get()), (SyncResult::Applied, 1));
    let agent = fleet.agent(&disk);
    fleet.pass(1000);
    agent.sync(&guarded()).await.unwrap();
    assert_eq!((last().result, last().version.unwrap().get()), (SyncResult::Applied, 2));
    let applied = last();
    agent.confirm(None, Demand::All).await.unwrap();
    assert_eq!(last(), applied, "a confirmation asks for nothing new");
    fleet.pass(1000);
    agent.sync(&guarded()).await.unwrap();
    assert_eq!((last().result, last().at_ms), (SyncResult::Unchanged, applied.at_ms + 1000));
    fleet.publish(1, &[("/etc/shop", "one", None)]);
    fleet.pass(1000);
    let refused = agent.sync(&guarded()).await.unwrap_err();
    let failed = last();
    assert_eq!(
        (failed.result, failed.at_ms, failed.failure),
        (SyncResult::Failed, applied.at_ms + 2000, Some(refused))
    );
    agent.sync(&SyncRequest { dry_run: true, ..guarded() }).await.unwrap_err();
    assert_eq!(last().at_ms, failed.at_ms, "a dry run is no sync");

    // What a daemon finds every few seconds is not written each time, and shown all the same.
    fleet.pass(1000);
    let before = disk.operations();
    agent.failed_to_look(&Error::Unreachable("nobody answers".into()));
    assert_eq!(agent.status().looked.unwrap().failure, Some(Error::Unreachable("nobody answers".into())));
    fleet.pass(1000);
    agent.found_nothing(true);
    let shown = agent.status().looked.unwrap();
    assert_eq!(
        (shown.result, shown.at_ms),
        (SyncResult::Failed, last().at_ms + 2000),
        "what is passed over still fails"
    );
    agent.found_nothing(false);
    assert_eq!(agent.status().looked.unwrap().result, SyncResult::Unchanged);
    assert_eq!((disk.operations(), last().at_ms), (before, failed.at_ms));
}

#[tokio::test]
async fn a_full_disk_fails_no_sync_that_did_its_work() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    agent.sync(&SyncRequest::default()).await.unwrap();
    let full = disk.after(Crash::Kill);
    full.stop_after(0);
    let agent = fleet.agent(&full);
    let before = fleet.server.downloads.load(Ordering::Relaxed);
    assert!(matches!(agent.sync(&guarded()).await, Ok(Outcome::Unchanged { .. })));
    assert_eq!(fleet.server.downloads.load(Ordering::Relaxed), before);
    assert_eq!(agent.status().looked.unwrap().result, SyncResult::Unchanged);
}

#[tokio::test]
async fn what_became_of_syncs_is_counted() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    agent.sync(&guarded()).await.unwrap();
    fleet.pass(WINDOW_MS);
    agent.tick(None).await.unwrap();
    agent.sync(&guarded()).await.unwrap_err();
    agent.sync(&SyncRequest { retry_rejected: true, ..guarded() }).await.unwrap();
    agent.confirm(None, Demand::All).await.unwrap();
    agent.sync(&guarded()).await.unwrap();
    fleet.publish(3, &[("/etc/shop", "three", Some("fail"))]);
    agent.sync(&guarded()).await.unwrap_err();
    let tally = agent.tally();
    let counts: Vec<_> = tally.syncs.iter().map(|sync| (sync.result.as_str(), sync.count)).collect();
    let expected = [("unchanged", 1), ("applied", 2), ("failed", 1), ("confirmed", 1), ("rolled_back", 2)];
    assert_eq!(counts, expected);
    // The program that is told to `reload` twice, and on the way back from either version.
    let of = |cause: &str| {
        let mut found = tally.restarts.iter().filter(|restart| restart.workload == "reload");
        found.find(|restart| restart.cause.as_str() == cause).map(|restart| restart.count)
    };
    assert_eq!((of("sync"), of("rollback"), of("repair")), (Some(2), Some(2), None));
}
