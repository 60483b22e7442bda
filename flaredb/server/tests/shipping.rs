//! Every event arrives exactly once, whatever is interrupted.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::sync::{Arc, Mutex};

use chainfire_client::{JournalSource as _, StoreError, SystemStore as _, memory::MemoryStore};
use chainfire_core::{
    AuthenticatedBy, Origin,
    system::{Expect, Guard, SystemCommand, SystemOp, SystemTxn},
};
use holdfast_service::Stop;
use iam_client::{DecisionRecord, DecisionSource};
use support::{Server, eventually, folder};

async fn change(store: &MemoryStore, number: u32) {
    let origin = Origin {
        principal: "user/mira".into(),
        authenticated_by: AuthenticatedBy::Token,
        source: Some("10.0.0.1:9".into()),
        token_id: Some("j1".into()),
        request_id: format!("r{number}"),
    };
    let key = format!("thing/{number}").into_bytes();
    let command = SystemCommand::Txn(SystemTxn {
        guards: vec![Guard { key: key.clone(), expect: Expect::Absent }],
        ops: vec![SystemOp::Put { key, value: b"v".to_vec() }],
        action: "test.Create".into(),
        resource: format!("thing/{number}"),
    });
    store.submit(origin, command).await.unwrap();
}

const COUNT: &str = "SELECT count(*) FROM audit.events WHERE action = 'test.Create'";
const DISTINCT: &str = "SELECT count(DISTINCT resource) FROM audit.events WHERE action = 'test.Create'";

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_arrives_and_is_forgotten() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let store = Arc::new(MemoryStore::new().unwrap());
    for number in 0..1_200 {
        change(&store, number).await;
    }
    let stop = Stop::new();
    let shipper = tokio::spawn(server.flaredb.clone().ship_journal(store.clone(), stop.clone()));
    server.until(COUNT, "1200").await;
    // It wakes by itself, and drops what it has shipped.
    change(&store, 1_200).await;
    server.until(COUNT, "1201").await;
    eventually("the journal is empty", || async { store.read(None, 1).unwrap().is_empty() }).await;
    assert_eq!(server.column(DISTINCT).await, ["1201"]);
    let row = "SELECT actor || '|' || authenticated_by || '|' || source || '|' || token_id || '|' || request_id || '|' || outcome || '|' || service || '|' || (lineage IS NOT NULL) FROM audit.events WHERE resource = 'thing/7'";
    assert_eq!(server.column(row).await, ["user/mira|token|10.0.0.1:9|j1|r7|done|test|true"]);
    stop.request();
    shipper.await.unwrap();
    server.end().await;
}

/// chainfire loses its quorum right after a batch is in flaredb: the batch is offered again and recognized.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_could_not_be_forgotten_is_not_doubled() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let store = Arc::new(MemoryStore::new().unwrap());
    for number in 0..10 {
        change(&store, number).await;
    }
    store.fail_with(Some(StoreError::Unavailable("the test says so".into())));
    let stop = Stop::new();
    let shipper = tokio::spawn(server.flaredb.clone().ship_journal(store.clone(), stop.clone()));
    server.until(COUNT, "10").await;
    assert!(!store.read(None, 1).unwrap().is_empty());
    // The server ends there; another life begins with the same journal.
    stop.request();
    shipper.await.unwrap();
    server.end().await;

    store.fail_with(None);
    for number in 10..15 {
        change(&store, number).await;
    }
    let server = Server::start(folder.path()).await;
    let stop = Stop::new();
    let shipper = tokio::spawn(server.flaredb.clone().ship_journal(store.clone(), stop.clone()));
    server.until(COUNT, "15").await;
    eventually("the journal is empty", || async { store.read(None, 1).unwrap().is_empty() }).await;
    assert_eq!(server.column(DISTINCT).await, ["15"]);
    stop.request();
    shipper.await.unwrap();
    server.end().await;
}

/// A decision log in memory.
struct Decisions {
    id: Mutex<String>,
    records: Mutex<Vec<Arc<DecisionRecord>>>,
    shipped: Mutex<u64>,
}

impl Decisions {
    fn new(id: &str) -> Arc<Self> {
        Arc::new(Self { id: Mutex::new(id.to_owned()), records: Mutex::default(), shipped: Mutex::default() })
    }

    fn add(&self, sequence: u64) {
        self.add_as(&format!("e{sequence}"), sequence);
    }

    fn add_as(&self, event_id: &str, sequence: u64) {
        self.records.lock().unwrap().push(Arc::new(DecisionRecord {
            sequence,
            event_id: event_id.to_owned(),
            time_ms: 1_700_000_000_000,
            principal: "user/eve".into(),
            authenticated_by: "nothing".into(),
            source: None,
            token_id: None,
            request_id: format!("r{sequence}"),
            action: "kv.Put".into(),
            resource: "key/\u{0}x".into(),
            outcome: "denied".into(),
            reason: Some("no".into()),
            count: 3,
        }));
    }
}

impl DecisionSource for Decisions {
    fn id(&self) -> String {
        self.id.lock().unwrap().clone()
    }

    fn position(&self) -> u64 {
        *self.shipped.lock().unwrap()
    }

    fn read(&self, after: u64, limit: usize) -> Result<Vec<Arc<DecisionRecord>>, String> {
        let records = self.records.lock().unwrap();
        Ok(records.iter().filter(|record| record.sequence > after).take(limit).cloned().collect())
    }

    fn shipped(&self, sequence: u64) -> Result<(), String> {
        *self.shipped.lock().unwrap() = sequence;
        Ok(())
    }

    fn renew(&self) -> Result<(), String> {
        self.id.lock().unwrap().push_str("-renewed");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_arrive_with_their_gaps() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let first = Decisions::new("aaa");
    for sequence in (1..=600).chain(611..=700) {
        first.add(sequence);
    }
    let stop = Stop::new();
    let shipper = tokio::spawn(server.flaredb.clone().ship_decisions(first.clone(), stop.clone()));
    server.until("SELECT count(*) FROM audit.events WHERE action = 'kv.Put'", "690").await;
    let gap =
        "SELECT reason || '|' || count || '|' || sequence || '|' || node FROM audit.events WHERE action = 'audit.Gap'";
    assert_eq!(server.column(gap).await, ["decisions 601 to 610 of server one are missing|10|601|one"]);
    eventually("the log knows", || async { *first.shipped.lock().unwrap() == 700 }).await;
    stop.request();
    shipper.await.unwrap();

    // Another spool begins at 1 again: its rows stand beside the old ones, and the loss is said once.
    let second = Decisions::new("bbb");
    second.add(1);
    let stop = Stop::new();
    let shipper = tokio::spawn(server.flaredb.clone().ship_decisions(second.clone(), stop.clone()));
    server.until("SELECT count(*) FROM audit.events WHERE stream = 'decisions/one/bbb'", "2").await;
    second.add(2);
    server.until("SELECT count(*) FROM audit.events WHERE stream = 'decisions/one/bbb'", "3").await;
    assert_eq!(server.column("SELECT count(*) FROM audit.events WHERE outcome = 'gap'").await, ["2"]);
    stop.request();
    shipper.await.unwrap();
    server.end().await;
}

/// The spool's folder comes back from an old copy, which gives numbers that are shipped to other decisions: none of
/// those is taken for shipped, however far they have come before the shipper looks.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_decision_log_swallows_nothing() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    for (new, id) in [(11..=14_u64, "behind"), (11..=30, "beyond")] {
        let before = Decisions::new(id);
        (1..=20).for_each(|sequence| before.add(sequence));
        let (all, stop) = (format!("stream = 'decisions/one/{id}' AND action = 'kv.Put'"), Stop::new());
        let shipper = tokio::spawn(server.flaredb.clone().ship_decisions(before, stop.clone()));
        server.until(&format!("SELECT count(*) FROM audit.events WHERE {all}"), "20").await;
        stop.request();
        shipper.await.unwrap();

        let copy = Decisions::new(id);
        *copy.shipped.lock().unwrap() = 8;
        (1..=10).for_each(|sequence| copy.add(sequence));
        new.clone().for_each(|sequence| copy.add_as(&format!("{id}{sequence}"), sequence));
        let stop = Stop::new();
        let shipper = tokio::spawn(server.flaredb.clone().ship_decisions(copy.clone(), stop.clone()));
        let arrived = format!("SELECT count(*) FROM audit.events WHERE event_id LIKE '{id}%'");
        server.until(&arrived, &new.count().to_string()).await;
        assert_eq!(copy.id(), format!("{id}-renewed"));
        stop.request();
        shipper.await.unwrap();
    }
    let gaps = "SELECT stream FROM audit.events WHERE outcome = 'gap' AND stream LIKE '%-renewed' ORDER BY stream";
    assert_eq!(server.column(gaps).await, ["decisions/one/behind-renewed", "decisions/one/beyond-renewed"]);
    server.end().await;
}
