//! What comes between: another server's change, a quorum that is lost in the middle of something.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use axum::body::Body;
use chainfire_client::{Applied, Lineage, Page, StoreError, SystemStore, memory::MemoryStore};
use chainfire_core::{
    Origin,
    journal::Outcome,
    system::{LockGroup, Record, SystemAnswer, SystemCommand, SystemOp, SystemTxn},
};
use configsrv_server::{ConfigService, Settings, router};
use holdfast_format::{from_json, kind::CONFIG_RECORD, to_json};
use holdfast_service::Stop;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use iam_client::Identity;
use serde_json::{Value, json};
use support::{
    Rules, node, operator,
    tree::{Signer, Tree, file},
    until,
};
use tokio::sync::{Mutex, Notify, watch};
use tower::ServiceExt as _;

/// Says which commands something comes before, and what.
type Between = Box<dyn FnMut(&SystemTxn) -> Option<What> + Send>;

enum What {
    /// Another server's command is first.
    Other(SystemTxn),
    /// The quorum is gone before the command is.
    Lost,
    /// The command is slow: it arrives when the test says so.
    Late(Arc<Notify>),
}

/// A store where something comes between, once.
struct Interrupted {
    store: Arc<MemoryStore>,
    between: Mutex<Option<Between>>,
    /// Whether it has come.
    came: watch::Sender<bool>,
    /// How often somebody looked whether a publish is under way.
    looks: AtomicUsize,
}

impl Interrupted {
    fn new() -> Arc<Self> {
        let store = Arc::new(MemoryStore::new().unwrap());
        Arc::new(Self { store, between: Mutex::default(), came: watch::Sender::new(false), looks: AtomicUsize::new(0) })
    }

    async fn interrupt(&self, between: impl FnMut(&SystemTxn) -> Option<What> + Send + 'static) {
        self.came.send_replace(false);
        *self.between.lock().await = Some(Box::new(between));
    }

    /// Holds back the next command of this name until the test says so.
    async fn delay(&self, action: &'static str) -> Arc<Notify> {
        let go = Arc::new(Notify::new());
        let late = Arc::clone(&go);
        self.interrupt(move |txn| (txn.action == action).then(|| What::Late(Arc::clone(&late)))).await;
        go
    }

    async fn has_come(&self) {
        self.came.subscribe().wait_for(|came| *came).await.unwrap();
    }

    fn is_left(&self, prefix: &[u8]) -> usize {
        self.list(prefix, None, 100).unwrap().records.len()
    }
}

#[async_trait]
impl SystemStore for Interrupted {
    async fn submit(&self, origin: Origin, command: SystemCommand) -> Result<SystemAnswer, StoreError> {
        let mut between = self.between.lock().await;
        let what = match (&command, between.as_mut()) {
            (SystemCommand::Txn(txn), Some(decide)) => decide(txn),
            _ => None,
        };
        if what.is_some() {
            *between = None;
            self.came.send_replace(true);
        }
        drop(between);
        match what {
            Some(What::Other(txn)) => {
                self.store.submit(origin.clone(), SystemCommand::Txn(txn)).await?;
            }
            Some(What::Lost) => return Err(StoreError::Unavailable("no leader".into())),
            Some(What::Late(go)) => go.notified().await,
            None => {}
        }
        self.store.submit(origin, command).await
    }

    async fn barrier(&self) -> Result<Applied, StoreError> {
        self.store.barrier().await
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        if key == STAGING {
            self.looks.fetch_add(1, Ordering::Relaxed);
        }
        self.store.get(key)
    }

    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, StoreError> {
        self.store.list(prefix, after, limit)
    }

    fn lock_group(&self, group: &str) -> Result<Option<LockGroup>, StoreError> {
        self.store.lock_group(group)
    }

    fn lock_groups(&self, after: Option<&str>, limit: usize) -> Result<Vec<LockGroup>, StoreError> {
        self.store.lock_groups(after, limit)
    }

    fn lineage(&self) -> Result<Option<Lineage>, StoreError> {
        self.store.lineage()
    }

    fn applied(&self) -> Applied {
        self.store.applied()
    }

    fn progress(&self) -> watch::Receiver<u64> {
        self.store.progress()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        SystemStore::changes(self.store.as_ref())
    }
}

fn start(settings: Settings) -> (ConfigService, Arc<Interrupted>) {
    let store = Interrupted::new();
    (ConfigService::new(Arc::clone(&store) as _, Arc::new(Rules), settings), store)
}

/// One request, and the JSON of its answer if it is one.
async fn ask(service: &ConfigService, caller: Identity, mut request: Request<Body>) -> (StatusCode, Value) {
    request.extensions_mut().insert(caller);
    let response = router(service.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn publish(service: &ConfigService, tree: &Tree<'_>, base_version: u64) {
    let (status, answer) = try_to_publish(service, tree.body(base_version)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

async fn try_to_publish(service: &ConfigService, tree: String) -> (StatusCode, Value) {
    ask(service, operator(), Request::post("/publish").body(Body::from(tree)).unwrap()).await
}

/// A tree whose one file says `text`.
fn tree<'a>(version: u64, text: &str, signer: &'a Signer) -> Tree<'a> {
    Tree::new(version, signer).nodes(vec![("pier2", json!([file("/f", text)]))])
}

/// What is answered for pier2's artifact of a version.
async fn kept(service: &ConfigService, version: u64) -> StatusCode {
    let request = Request::get(format!("/artifact/pier2?version={version}")).body(Body::empty()).unwrap();
    ask(service, operator(), request).await.0
}

/// What pier2 itself is served.
async fn fetch(service: &ConfigService, intent: &str) -> StatusCode {
    let request = Request::get("/artifact/pier2").header("flor-sync-intent", intent).body(Body::empty()).unwrap();
    ask(service, node("pier2"), request).await.0
}

fn put(key: &[u8], value: &[u8]) -> SystemTxn {
    SystemTxn {
        guards: Vec::new(),
        ops: vec![SystemOp::Put { key: key.to_vec(), value: value.to_vec() }],
        action: "test.Put".into(),
        resource: "test".into(),
    }
}

const FETCHED: &[u8] = b"config/fetched/pier2";
const STAGING: &[u8] = b"config/staging";
const SETS: &[u8] = b"config/set/";
const CHUNKS: &[u8] = b"config/chunk/";
const MINUTE_MS: u64 = 60_000;

#[tokio::test]
async fn two_fetches_at_the_same_time_are_both_noted() {
    let (service, store) = start(Settings::default());
    let signer = Signer::new("primary");
    publish(&service, &Tree::new(1, &signer), 0).await;
    // The note that another server makes of a look, as it lies in a store.
    assert_eq!(fetch(&service, "dry-run").await, StatusCode::OK);
    let looked = until("the look is noted", async || store.get(FETCHED).unwrap()).await.value;
    let forget = SystemTxn { ops: vec![SystemOp::Delete { key: FETCHED.to_vec() }], ..put(b"", b"") };
    store.submit(operator().origin(), SystemCommand::Txn(forget)).await.unwrap();

    store.interrupt(move |txn| (txn.action == "config.Fetch").then(|| What::Other(put(FETCHED, &looked)))).await;
    assert_eq!(fetch(&service, "sync").await, StatusCode::OK);
    let view = until("the fetch is noted", async || {
        let (_, view) = ask(&service, operator(), Request::get("/nodes/pier2").body(Body::empty()).unwrap()).await;
        Some(view).filter(|view| view["fetched"]["version"] == 1)
    });
    assert_eq!(view.await["looked_at"]["version"], 1);
}

#[tokio::test]
async fn a_damaged_note_keeps_no_node_from_its_configuration() {
    let (service, store) = start(Settings::default());
    let signer = Signer::new("primary");
    publish(&service, &Tree::new(1, &signer), 0).await;
    store.submit(operator().origin(), SystemCommand::Txn(put(FETCHED, b"not a frame"))).await.unwrap();
    assert_eq!(fetch(&service, "sync").await, StatusCode::OK);
}

/// Runs the service until `done`, which is looked at again whenever something may have changed.
async fn run_until(service: &ConfigService, what: &str, done: impl Fn() -> bool) {
    let stop = Stop::new();
    let running = tokio::spawn(service.clone().run(stop.clone()));
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect(what);
    stop.request();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_collection_that_was_cut_off_is_taken_up_again() {
    let signer = Signer::new("primary");
    for interrupted in [CHUNKS, SETS] {
        let (service, store) = start(Settings { keep_versions: 1, ..Settings::default() });
        for version in 1..=3 {
            publish(&service, &tree(version, &version.to_string(), &signer), version - 1).await;
        }
        assert_eq!((store.is_left(SETS), store.is_left(CHUNKS)), (3, 3));

        let deletes = move |op: &SystemOp| matches!(op, SystemOp::Delete { key } if key.starts_with(interrupted));
        store.interrupt(move |txn| txn.ops.iter().any(deletes).then_some(What::Lost)).await;
        run_until(&service, "the collection to be cut off", || *store.came.borrow()).await;
        assert!(store.is_left(SETS) > 1, "heads say that there is more to do");

        run_until(&service, "old heads to go", || store.is_left(SETS) == 1).await;
        assert_eq!(store.is_left(CHUNKS), 1, "cut off at {}", String::from_utf8_lossy(interrupted));
    }
}

/// As if the publish that is under way had begun so long ago.
async fn age_staging(store: &Interrupted, ms: u64) {
    let mut staging: Value = from_json(CONFIG_RECORD, 1, &store.get(STAGING).unwrap().unwrap().value).unwrap();
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    staging["started_ms"] = json!(now - ms);
    let aged = put(STAGING, &to_json(CONFIG_RECORD, 1, &staging).unwrap());
    store.submit(operator().origin(), SystemCommand::Txn(aged)).await.unwrap();
}

#[tokio::test]
async fn what_a_dead_publish_left_goes_after_an_hour_and_no_earlier() {
    let signer = Signer::new("primary");
    let collect_every = Duration::from_millis(1);
    let (service, store) = start(Settings { keep_versions: 1, collect_every, ..Settings::default() });
    publish(&service, &tree(1, "one", &signer), 0).await;
    publish(&service, &tree(2, "two", &signer), 1).await;
    store.interrupt(|txn| (txn.action == "config.Publish").then_some(What::Lost)).await;
    let (status, answer) = try_to_publish(&service, tree(3, "three", &signer).body(2)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!((store.is_left(SETS), store.is_left(CHUNKS)), (3, 3));

    // It may still be at it: the collector leaves everything alone, also the first version, which has had its time.
    for age_ms in [0, 59 * MINUTE_MS] {
        age_staging(&store, age_ms).await;
        let before = store.looks.load(Ordering::Relaxed);
        // The second round begins when the first one has ended.
        run_until(&service, "two rounds", || store.looks.load(Ordering::Relaxed) >= before + 2).await;
        assert_eq!((store.is_left(SETS), store.is_left(CHUNKS), store.is_left(STAGING)), (3, 3, 1), "{age_ms}");
    }
    age_staging(&store, 61 * MINUTE_MS).await;
    run_until(&service, "orphans to go", || store.is_left(SETS) == 1).await;
    assert_eq!((store.is_left(CHUNKS), store.is_left(STAGING)), (1, 0));
    assert_eq!((kept(&service, 1).await, kept(&service, 2).await), (StatusCode::GONE, StatusCode::OK));
    publish(&service, &tree(3, "three", &signer), 2).await;
}

#[tokio::test]
async fn what_nodes_run_or_may_go_back_to_is_kept() {
    let signer = Signer::new("primary");
    let (service, store) = start(Settings { keep_versions: 1, ..Settings::default() });
    for version in 1..=6 {
        publish(&service, &tree(version, &version.to_string(), &signer), version - 1).await;
    }
    let report = async |name: &str, status: Value| {
        let request = Request::post(format!("/nodes/{name}/status")).body(Body::from(status.to_string())).unwrap();
        let (status, answer) = ask(&service, node(name), request).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    };
    report("pier2", json!({ "active": 2, "pending": 3, "confirmed": 1, "result": "pending" })).await;
    report("pier3", json!({ "active": 5, "confirmed": 5, "rolled_back": 4, "result": "rolled_back" })).await;
    run_until(&service, "what nobody has to go", || store.is_left(SETS) == 5).await;
    for version in 1..=6 {
        let answer = if version == 4 { StatusCode::GONE } else { StatusCode::OK };
        assert_eq!(kept(&service, version).await, answer, "version {version}");
    }

    report("pier2", json!({ "active": 6, "confirmed": 6, "result": "confirmed" })).await;
    run_until(&service, "what pier2 has left to go", || store.is_left(SETS) == 2).await;
    assert_eq!((kept(&service, 3).await, kept(&service, 5).await), (StatusCode::GONE, StatusCode::OK));
}

/// What the history will say of publishes: how they ended, and why or with what.
fn publishes(service: &ConfigService, store: &Interrupted) -> Vec<(Outcome, Option<String>)> {
    let records = service.explain(Arc::clone(&store.store) as _).read(None, 1000).unwrap().into_iter();
    records.filter(|record| record.action == "config.Publish").map(|record| (record.outcome, record.reason)).collect()
}

/// Two operators publish at two servers from the same base. One of them is late with the last step, which is where the
/// other one has begun already, or is through.
#[tokio::test]
async fn of_two_publishes_at_once_the_later_one_counts() {
    for is_through in [false, true] {
        let (service, store) = start(Settings::default());
        let other = ConfigService::new(Arc::clone(&store) as _, Arc::new(Rules), Settings::default());
        let signer = Signer::new("primary");
        publish(&service, &tree(1, "one", &signer), 0).await;
        let (mine, theirs) = (tree(2, "mine", &signer), tree(2, "theirs", &signer));

        let go = store.delay("config.Publish").await;
        let (late, body) = (service.clone(), mine.body(1));
        let late = tokio::spawn(async move { try_to_publish(&late, body).await });
        store.has_come().await;
        let go_on = store.delay("config.Publish").await;
        let body = theirs.body(1);
        let through = tokio::spawn(async move { try_to_publish(&other, body).await });
        store.has_come().await;
        if is_through {
            go_on.notify_one();
            until("the other one is through", async || (kept(&service, 2).await == StatusCode::OK).then_some(())).await;
        }
        go.notify_one();
        let (status, answer) = late.await.unwrap();
        assert_eq!((status, &answer["error"]), (StatusCode::CONFLICT, &json!("version_conflict")), "{answer}");
        assert_eq!(kept(&service, 2).await == StatusCode::OK, is_through, "nothing of it is published");
        go_on.notify_one();
        let (status, answer) = through.await.unwrap();
        assert_eq!((status, &answer["version"]), (StatusCode::OK, &json!(2)), "{answer}");

        let tree = answer["tree_digest"].as_str().unwrap();
        let (_, line) = ask(&service, operator(), Request::get("/versions/2").body(Body::empty()).unwrap()).await;
        assert_eq!(line["tree_digest"], tree, "the line of history is theirs");
        assert_eq!(store.is_left(STAGING), 0);
        let said = format!("tree {tree}; made from version 1; note: test");
        let refused = (Outcome::Refused("another change came first".into()), None);
        let mut later = publishes(&service, &store).split_off(1);
        if is_through {
            later.reverse();
        }
        assert_eq!(later, [refused, (Outcome::Done, Some(said))]);
    }
}
