//! What node and servers remember of each other, and what they do where that differs.

use std::{sync::atomic::Ordering, time::Duration};

use configsrv_fleet::Version;
use tokio::time::timeout;

use super::{Fleet, guarded, is_new};
use crate::{
    Error,
    outcome::{Outcome, SyncRequest},
    server::Report,
};

impl Fleet {
    fn last_report(&self) -> Report {
        self.server.reports.lock().unwrap().last().unwrap().clone()
    }
}

/// Servers that were restored from a backup have less than the node: it stays as it is, and they hear what it has.
#[tokio::test]
async fn a_node_is_never_taken_back_by_servers_that_forgot() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    agent.sync(&SyncRequest::default()).await.unwrap();
    fleet.publish(1, &[("/etc/shop", "one", Some("reload")), ("/etc/old", "one", None)]);
    for request in [guarded(), SyncRequest { supersede: true, retry_rejected: true, ..guarded() }] {
        let error = agent.sync(&request).await.unwrap_err();
        assert!(matches!(&error, Error::Replay(text) if text.contains("version 1 is older than version 2")), "{error}");
        is_new(&disk, "paused");
        let told = fleet.last_report();
        let [confirmed, active, rejected] =
            [told.confirmed, told.active, told.rejected].map(|version| version.map(Version::get));
        assert_eq!((told.result, confirmed, active, rejected), (Some("rejected"), Some(2), Some(2), Some(1)));
    }
    // The same number with another content is none of theirs either.
    fleet.publish(2, &[("/etc/shop", "another two", None)]);
    let bytes = fleet.server.bytes.lock().unwrap().clone();
    let error = agent.take(&bytes, &guarded()).await.unwrap_err();
    assert!(matches!(&error, Error::Replay(text) if text.contains("other content")), "{error}");
    is_new(&disk, "paused");
    // What is newer than both goes on.
    fleet.publish(3, &[("/etc/shop", "three", None)]);
    agent.sync(&SyncRequest::default()).await.unwrap();
    assert_eq!(disk.text("/etc/shop").as_deref(), Some("three"));
}

/// Servers that were restored have another content under the number that is confirmed here: they are told the number and the
/// digest all the same, once, and can say that the node is paused.
#[tokio::test]
async fn servers_that_do_not_believe_a_confirmation_are_told_what_runs() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    fleet.server.forked.store(true, Ordering::Relaxed);
    // A daemon that starts says how its node is.
    let agent = fleet.agent(&disk);
    let before = fleet.last_report();
    assert_eq!(agent.retell().await, Ok(Vec::new()));
    let told = fleet.last_report();
    assert_eq!((before.result, told.result), (Some("confirmed"), None));
    assert_eq!((told.active, told.confirmed, told.digest), (before.active, before.confirmed, before.digest));
    assert!(told.digest.is_some());
    // Nothing is owed after that.
    assert!(timeout(Duration::from_millis(10), agent.owes_a_report()).await.is_err());
    agent.sync(&SyncRequest::default()).await.unwrap();
    assert_eq!((fleet.last_report().result, fleet.last_report().confirmed.map(Version::get)), (None, Some(2)));
}

/// What failed is let in again by somebody who says so, and the servers are told of it with the first report.
#[tokio::test]
async fn a_release_is_reported() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    agent.sync(&guarded()).await.unwrap();
    agent.cancel().await.unwrap();
    let told = fleet.last_report();
    assert_eq!((told.rolled_back.map(Version::get), told.released), (Some(2), None));
    assert!(matches!(agent.sync(&guarded()).await, Err(Error::State(_))));
    let asked = SyncRequest { retry_rejected: true, ..guarded() };
    agent.sync(&SyncRequest { dry_run: true, ..asked.clone() }).await.unwrap();
    assert!(matches!(agent.sync(&guarded()).await, Err(Error::State(_))), "a look lets nothing in");

    fleet.server.reports.lock().unwrap().clear();
    assert!(matches!(agent.sync(&asked).await, Ok(Outcome::Pending { .. })));
    let reports = fleet.server.reports.lock().unwrap().clone();
    assert_eq!(reports[0].result, Some("acknowledged"));
    for told in &reports {
        let released = told.released.expect("the release is told");
        assert_eq!((released.version.get(), told.rolled_back), (2, None), "{told:?}");
    }
    let first = reports[0].released;
    agent.cancel().await.unwrap();
    assert_eq!(fleet.last_report().rolled_back.map(Version::get), Some(2), "it failed again");
    fleet.pass(1);
    agent.sync(&asked).await.unwrap();
    assert_ne!(fleet.last_report().released, first, "each release is one of its own");
}

/// A report that was lost is made up for by the next sync, though it finds nothing new.
#[tokio::test]
async fn a_sync_without_news_says_how_things_are() {
    let fleet = Fleet::new();
    let disk = fleet.settled().await;
    let agent = fleet.agent(&disk);
    agent.sync(&SyncRequest::default()).await.unwrap();
    fleet.server.reports.lock().unwrap().clear();
    agent.sync(&SyncRequest { dry_run: true, ..guarded() }).await.unwrap();
    assert!(fleet.server.reports.lock().unwrap().is_empty(), "a look says nothing");
    assert!(matches!(agent.sync(&guarded()).await, Ok(Outcome::Unchanged { .. })));
    let told = fleet.last_report();
    assert_eq!((told.result, told.active), (None, told.confirmed));
}
