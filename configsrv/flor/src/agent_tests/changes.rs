//! What becomes of a node whose agent is left alone.

use std::sync::{Arc, atomic::Ordering};

use configsrv_fleet::Version;

use super::{Fleet, NoClock, Signer, Told, WINDOW_MS, guarded, is_new, is_old};
use crate::{
    Error,
    agent::Demand,
    disk::forgetful::{Crash, ForgetfulDisk},
    outcome::{Outcome, SyncRequest},
};

#[tokio::test]
async fn sync_confirm_and_the_way_back() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    assert!(matches!(agent.sync(&guarded()).await, Ok(Outcome::Pending { left_ms: WINDOW_MS, .. })));
    is_new(&disk, "pending");
    fleet.pass(WINDOW_MS);
    assert_eq!(agent.tick(None).await, Ok(None));
    is_old(&disk, "rolled back");
    let results: Vec<_> = fleet.server.reports.lock().unwrap().iter().filter_map(|report| report.result).collect();
    assert_eq!(results, ["acknowledged", "confirmed", "acknowledged", "pending", "rolled_back"]);
    let error = agent.confirm(None, Demand::All).await.unwrap_err();
    assert!(error.to_string().contains("version 2 was rolled back"), "{error}");

    let retry = SyncRequest { retry_rejected: true, ..guarded() };
    agent.sync(&retry).await.unwrap();
    agent.confirm(None, Demand::All).await.unwrap();
    fleet.pass(WINDOW_MS * 2);
    agent.recover().await.unwrap();
    is_new(&disk, "confirmed");
    let last = fleet.server.reports.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        (last.result, last.active, last.confirmed, last.pending),
        (Some("confirmed"), last.confirmed, last.active, None)
    );
}

#[tokio::test]
async fn a_hook_that_fails_undoes_everything() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    fleet.publish(2, &[("/etc/shop", "two", Some("fail")), ("/etc/motd", "two", None)]);
    let error = fleet.agent(&disk).sync(&guarded()).await.unwrap_err();
    assert!(matches!(&error, Error::RolledBack(reason) if reason.contains("it failed")), "{error}");
    is_old(&disk, "failed");
    assert!(matches!(fleet.agent(&disk).sync(&guarded()).await, Err(Error::State(_))), "the content is remembered");
}

#[tokio::test]
async fn a_superseded_version_leaves_nothing_behind() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    agent.sync(&guarded()).await.unwrap();
    fleet.publish(3, &[("/etc/shop", "three", None)]);
    assert!(matches!(agent.sync(&guarded()).await, Err(Error::State(_))));
    agent.sync(&SyncRequest { supersede: true, ..guarded() }).await.unwrap();
    assert_eq!(
        (disk.text("/etc/shop").as_deref(), disk.text("/etc/motd").as_deref()),
        (Some("three"), Some("by hand"))
    );
    assert_eq!(disk.text("/etc/new"), None);
    agent.cancel().await.unwrap();
    is_old(&disk, "cancelled");
}

/// What failed is known by its version; content that failed under another number is looked at once more.
#[tokio::test]
async fn what_failed_is_not_downloaded_again() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    agent.sync(&guarded()).await.unwrap();
    agent.cancel().await.unwrap();
    let downloads = || fleet.server.downloads.load(Ordering::Relaxed);
    let before = downloads();
    for _ in 0..2 {
        let error = agent.sync(&guarded()).await.unwrap_err();
        assert!(matches!(&error, Error::State(text) if text.contains("cancelled")), "{error}");
    }
    assert_eq!(downloads(), before);
    agent.sync(&SyncRequest { retry_rejected: true, ..guarded() }).await.unwrap();
    assert_eq!(downloads(), before + 1);
}

/// A staged artifact counts as long as it is the one that was verified. What is confirmed is fetched again when it is not,
/// also when there is something newer: it is the way back.
#[tokio::test]
async fn what_was_verified_is_what_runs() {
    let fleet = Fleet::new();
    let disk = ForgetfulDisk::default();
    let agent = fleet.agent(&disk);
    let sync = SyncRequest::default();
    fleet.publish(1, &[("/etc/shop", "another", None)]);
    let another = fleet.server.bytes.lock().unwrap().clone();
    fleet.publish(1, &[("/etc/shop", "one", None)]);
    agent.sync(&sync).await.unwrap();
    let staged = "/flor/artifacts/sets/v1/pier2.json";
    let whole = disk.text(staged).unwrap();
    for damaged in [another.as_slice(), b"{", &whole.as_bytes()[1..]] {
        disk.plant(staged, damaged);
        let error = agent.connect().await.unwrap_err();
        assert!(error.to_string().contains(staged), "{error}");
        assert!(matches!(agent.sync(&sync).await, Ok(Outcome::Unchanged { .. })));
        assert_eq!(disk.text(staged).as_ref(), Some(&whole));
        agent.connect().await.unwrap();
    }
    disk.plant(staged, b"{");
    fleet.publish(2, &[("/etc/shop", "two", None)]);
    agent.sync(&guarded()).await.unwrap();
    agent.cancel().await.unwrap();
    assert_eq!(disk.text("/etc/shop").as_deref(), Some("one"));

    // Neither another content under the number, nor somebody else's signature, nor silence takes its place.
    let first = Version::new(1).unwrap();
    let forged = Signer::new("primary").seal(serde_json::from_str(&whole).unwrap());
    fleet.publish(3, &[("/etc/shop", "three", None)]);
    for kept in [Some(another), Some(forged.clone()), None] {
        disk.plant(staged, b"{");
        match kept {
            Some(bytes) => drop(fleet.server.kept.lock().unwrap().insert(first, bytes)),
            None => drop(fleet.server.kept.lock().unwrap().remove(&first)),
        }
        assert!(agent.sync(&guarded()).await.is_err());
        assert_eq!(disk.text(staged).as_deref(), Some("{"));
        assert_eq!(disk.text("/etc/shop").as_deref(), Some("one"));
    }
    let carried = SyncRequest { carried: true, ..guarded() };
    assert!(agent.take(&forged, &carried).await.is_err());
    assert_eq!(disk.text(staged).as_deref(), Some("{"));
    assert!(matches!(agent.take(whole.as_bytes(), &carried).await, Ok(Outcome::Unchanged { .. })));
    assert_eq!(disk.text(staged).as_ref(), Some(&whole));
}

/// Whose signature counts is said by a bundle, or over a connection to a server; whoever brings a file says it to nobody.
#[tokio::test]
async fn a_file_introduces_no_signer() {
    let fleet = Fleet::new();
    let disk = ForgetfulDisk::default();
    let agent = fleet.agent(&disk);
    fleet.publish(1, &[("/etc/shop", "one", None)]);
    let bytes = fleet.server.bytes.lock().unwrap().clone();
    let carried = SyncRequest { carried: true, ..SyncRequest::default() };
    for request in [SyncRequest { dry_run: true, ..carried.clone() }, carried.clone()] {
        let refused = agent.take(&bytes, &request).await.unwrap_err();
        assert!(matches!(&refused, Error::Untrusted(text) if text.contains("from the servers")), "{refused}");
    }
    assert_eq!(disk.text("/etc/shop"), None);
    agent.sync(&SyncRequest::default()).await.unwrap();
    fleet.publish(2, &[("/etc/shop", "two", None)]);
    let bytes = fleet.server.bytes.lock().unwrap().clone();
    agent.take(&bytes, &carried).await.unwrap();
    assert_eq!(disk.text("/etc/shop").as_deref(), Some("two"));
}

/// Wherever a full disk stops a sync or the way back from it, the look at the deadline ends in the old version.
#[tokio::test]
async fn a_disk_that_is_full_for_a_while_keeps_nothing_that_nobody_confirmed() {
    let fleet = Fleet::new();
    let settled = fleet.settled().await;
    let now = fleet.clock.0.lock().unwrap().clone();
    for operations in 0.. {
        *fleet.clock.0.lock().unwrap() = now.clone();
        let full = settled.after(Crash::Kill);
        full.stop_after(operations);
        let agent = fleet.agent(&full);
        let synced = agent.sync(&guarded()).await;
        fleet.pass(WINDOW_MS);
        let rolled_back = agent.tick(None).await;
        let room = full.after(Crash::Kill);
        let agent = fleet.agent(&room);
        assert_eq!(agent.tick(None).await, Ok(None), "{operations}");
        is_old(&room, &format!("{operations} operations"));
        assert_eq!(agent.status().pending, None, "{operations}");
        if synced.is_ok() && rolled_back.is_ok() {
            return;
        }
    }
}

/// Without the time nobody could keep the deadline.
#[tokio::test]
async fn a_machine_without_a_clock_changes_nothing() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let before = disk.operations();
    let error =
        fleet.agent_on(Arc::new(disk.clone()), Arc::new(Told), Arc::new(NoClock)).sync(&guarded()).await.unwrap_err();
    assert!(error.to_string().contains("/proc/uptime"), "{error}");
    assert_eq!(disk.operations(), before);
    is_old(&disk, "no clock");
}

/// Whoever looks takes no turn: between any two files that it reads, somebody else may have finished.
#[tokio::test]
async fn a_look_while_somebody_confirms_sees_no_way_back() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    fleet.agent(&disk).sync(&guarded()).await.unwrap();
    let confirmed = disk.after(Crash::Kill);
    fleet.agent(&confirmed).confirm(None, Demand::All).await.unwrap();
    for reads in 0..4 {
        let disk = disk.after(Crash::Kill);
        disk.turns_into(&confirmed, reads);
        let status = fleet.agent(&disk).status();
        let two = Some(Version::new(2).unwrap());
        assert_eq!(status.active, two, "after {reads} reads");
        assert!(status.pending.is_some() || status.confirmed == two, "after {reads} reads");
    }
}
