//! What comes between: another server's change, a quorum that is lost in the middle of something.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::body::Body;
use chainfire_client::{Applied, Lineage, Page, StoreError, SystemStore, memory::MemoryStore};
use chainfire_core::{
    Origin,
    system::{LockGroup, Record, SystemAnswer, SystemCommand, SystemOp, SystemTxn},
};
use configsrv_server::{ConfigService, Settings, router};
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
use tokio::sync::{Mutex, watch};
use tower::ServiceExt as _;

/// Says which commands something comes before, and what.
type Between = Box<dyn FnMut(&SystemTxn) -> Option<What> + Send>;

enum What {
    /// Another server's command is first.
    Other(SystemTxn),
    /// The quorum is gone before the command is.
    Lost,
}

/// A store where something comes between, once.
struct Interrupted {
    store: Arc<MemoryStore>,
    between: Mutex<Option<Between>>,
    /// Whether it has come.
    came: watch::Sender<bool>,
}

impl Interrupted {
    fn new() -> Arc<Self> {
        let store = Arc::new(MemoryStore::new().unwrap());
        Arc::new(Self { store, between: Mutex::default(), came: watch::Sender::new(false) })
    }

    async fn interrupt(&self, between: impl FnMut(&SystemTxn) -> Option<What> + Send + 'static) {
        *self.between.lock().await = Some(Box::new(between));
    }
}

#[async_trait]
impl SystemStore for Interrupted {
    async fn submit(&self, origin: Origin, command: SystemCommand) -> Result<SystemAnswer, StoreError> {
        let mut between = self.between.lock().await;
        if let (SystemCommand::Txn(txn), Some(decide)) = (&command, between.as_mut())
            && let Some(what) = decide(txn)
        {
            *between = None;
            self.came.send_replace(true);
            match what {
                What::Other(txn) => {
                    self.store.submit(origin.clone(), SystemCommand::Txn(txn)).await?;
                }
                What::Lost => return Err(StoreError::Unavailable("no leader".into())),
            }
        }
        self.store.submit(origin, command).await
    }

    async fn barrier(&self) -> Result<Applied, StoreError> {
        self.store.barrier().await
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
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
    let request = Request::post("/publish").body(Body::from(tree.body(base_version))).unwrap();
    let (status, answer) = ask(service, operator(), request).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
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
    let is_left = |store: &Interrupted, prefix: &[u8]| store.list(prefix, None, 100).unwrap().records.len();
    for interrupted in ["config/chunk/", "config/set/"] {
        let (service, store) = start(Settings { keep_versions: 1, ..Settings::default() });
        for version in 1..=3 {
            let text = version.to_string();
            let tree = Tree::new(version, &signer).nodes(vec![("pier2", json!([file("/f", &text)]))]);
            publish(&service, &tree, version - 1).await;
        }
        assert_eq!((is_left(&store, b"config/set/"), is_left(&store, b"config/chunk/")), (3, 3));

        let deletes = |op: &SystemOp| matches!(op, SystemOp::Delete { key } if key.starts_with(interrupted.as_bytes()));
        let cut = move |txn: &SystemTxn| txn.ops.iter().any(deletes).then_some(What::Lost);
        store.interrupt(cut).await;
        run_until(&service, "the collection to be cut off", || *store.came.borrow()).await;
        assert!(is_left(&store, b"config/set/") > 1, "heads say that there is more to do");

        run_until(&service, "old heads to go", || is_left(&store, b"config/set/") == 1).await;
        assert_eq!(is_left(&store, b"config/chunk/"), 1, "cut off at {interrupted}");
    }
}
