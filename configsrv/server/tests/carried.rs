//! Artifacts that somebody brought to a node, past the servers: what is known of it afterwards, and what may be published.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::sync::Arc;

use axum::{Router, body::Body};
use chainfire_client::{JournalSource as _, memory::MemoryStore};
use configsrv_server::{Settings, router};
use http::{Method, Request, StatusCode};
use iam_client::Identity;
use serde_json::{Value, json};
use support::{
    node, operator, service,
    tree::{Signer, Tree, file},
};
use tower::ServiceExt as _;

struct Fixture {
    router: Router,
    store: Arc<MemoryStore>,
}

impl Fixture {
    fn new() -> Self {
        let (service, store) = service(Settings::default());
        Self { router: router(service), store }
    }

    async fn send(&self, method: Method, caller: Identity, path: &str, body: String) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).extension(caller).body(Body::from(body)).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn publish(&self, tree: &Tree<'_>, base_version: u64) -> StatusCode {
        self.send(Method::POST, operator(), "/publish", tree.body(base_version)).await.0
    }

    async fn report(&self, report: &Value) -> StatusCode {
        self.send(Method::POST, node("pier2"), "/nodes/pier2/status", report.to_string()).await.0
    }

    fn count(&self, action: &str) -> usize {
        let records = self.store.read(None, 1000).unwrap();
        records.iter().filter(|record| record.action == action).count()
    }
}

#[tokio::test]
async fn what_went_past_the_servers_is_in_the_history_and_may_be_published() {
    let (fixture, signer) = (Fixture::new(), Signer::new("primary"));
    let tree = |version, text| Tree::new(version, &signer).nodes(vec![("pier2", json!([file("/etc/shop", text)]))]);
    assert_eq!(fixture.publish(&tree(1, "one"), 0).await, StatusCode::OK);
    let digest = tree(2, "two").artifacts()[0].payload_digest();
    let carried = json!([{ "version": 2, "digest": digest, "at_ms": 5, "unproven": true }]);
    let report =
        json!({ "active": 2, "confirmed": 2, "digest": digest, "result": "confirmed", "carried": carried.clone() });
    for _ in 0..2 {
        assert_eq!(fixture.report(&report).await, StatusCode::OK);
        assert_eq!(fixture.count("config.ReportCarried"), 1, "once, however often it is told");
    }
    // The next report does not tell of it again.
    let next = json!({ "active": 2, "confirmed": 2, "digest": digest, "result": "adopted" });
    assert_eq!(fixture.report(&next).await, StatusCode::OK);
    let (_, view) = fixture.send(Method::GET, operator(), "/nodes/pier2", String::new()).await;
    assert_eq!((&view["reported"]["carried"], &view["reported"]["result"]), (&carried, &json!("adopted")));
    assert_eq!((fixture.count("config.ReportCarried"), fixture.count("config.Confirm")), (1, 1));

    assert_eq!(fixture.publish(&tree(2, "another"), 1).await, StatusCode::CONFLICT);
    assert_eq!(fixture.publish(&tree(2, "two"), 1).await, StatusCode::OK);
    let many: Vec<Value> = (0..20).map(|at| json!({ "version": 2, "digest": digest, "at_ms": at })).collect();
    assert_eq!(fixture.report(&json!({ "carried": many })).await, StatusCode::BAD_REQUEST);
}
