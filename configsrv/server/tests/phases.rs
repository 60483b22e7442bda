//! Where a node stands, over both interfaces, and what the history calls what it reports.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use chainfire_client::{JournalSource as _, memory::MemoryStore};
use configsrv_server::{ACCESS_GRPC, ACCESS_HTTP, ConfigService, Settings, Waits, grpc, router};
use holdfast_proto::configsrv::{ListNodesRequest, Node, config_service_client::ConfigServiceClient};
use holdfast_service::Stop;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use iam_client::IamLayer;
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::{Value, json};
use support::{
    OPERATOR, Rules, service,
    tree::{Signer, Tree, file},
    until,
};
use tonic::service::Routes;
use tower::ServiceExt as _;

const NODE: &str = "node:pier2";

/// A server, and an operator who publishes one file for pier2.
struct Plane {
    app: Router,
    service: ConfigService,
    store: Arc<MemoryStore>,
    signer: Signer,
}

impl Plane {
    fn new(settings: Settings) -> Self {
        let (service, store) = service(settings);
        let rules = ACCESS_HTTP.iter().chain(ACCESS_GRPC).copied();
        let app = Routes::new(grpc(service.clone())).into_axum_router().merge(router(service.clone()));
        let app = app.layer(IamLayer::new(Arc::new(Rules), rules));
        Self { app, service, store, signer: Signer::new("primary") }
    }

    async fn send(&self, method: Method, token: &str, path: &str, intent: &str, body: String) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header("flor-sync-intent", intent);
        let response = self.app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn tree(&self, version: u64, text: &str) -> Tree<'_> {
        Tree::new(version, &self.signer).nodes(vec![("pier2", json!([file("/etc/shop", text)]))])
    }

    async fn publish(&self, tree: &Tree<'_>) {
        let (status, answer) = self.send(Method::POST, OPERATOR, "/publish", "sync", tree.body(tree.version - 1)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    async fn fetch(&self, intent: &str) {
        assert_eq!(self.send(Method::GET, NODE, "/artifact/pier2", intent, String::new()).await.0, StatusCode::OK);
    }

    async fn report(&self, report: Value) {
        let sent = self.say(report).await;
        assert_eq!(sent.0, StatusCode::OK, "{}", sent.1);
    }

    async fn say(&self, report: Value) -> (StatusCode, Value) {
        self.send(Method::POST, NODE, "/nodes/pier2/status", "sync", report.to_string()).await
    }

    async fn view(&self) -> Value {
        self.send(Method::GET, OPERATOR, "/nodes/pier2", "sync", String::new()).await.1
    }

    /// What is shown of the node once it is in this phase: fetches are noted beside their answers.
    async fn stands(&self, phase: &str) -> Value {
        let mut view = self.view().await;
        for _ in 0..1000 {
            if view["phase"] == phase {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            view = self.view().await;
        }
        panic!("not {phase}: {view}");
    }

    /// The same node as gRPC lists it.
    async fn listed(&self) -> Node {
        let mut request = tonic::Request::new(ListNodesRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {OPERATOR}").parse().unwrap());
        let mut client = ConfigServiceClient::new(self.app.clone());
        client.list_nodes(request).await.unwrap().into_inner().nodes.remove(0)
    }

    async fn published_ms(&self, version: u64) -> Value {
        let path = format!("/versions/{version}");
        self.send(Method::GET, OPERATOR, &path, "sync", String::new()).await.1["published_ms"].clone()
    }

    /// What the journal calls what was done to the node.
    fn words(&self) -> Vec<String> {
        let records = self.store.read(None, 1000).unwrap().into_iter();
        records.filter(|record| record.resource == "node/pier2").map(|record| record.action).collect()
    }
}

fn digest(tree: &Tree<'_>) -> Value {
    json!(tree.artifacts()[0].payload_digest())
}

#[tokio::test]
async fn from_the_offer_to_the_confirmation() {
    let plane = Plane::new(Settings::default());
    let (one, two) = (plane.tree(1, "one"), plane.tree(2, "two"));
    plane.publish(&one).await;
    let offered = plane.stands("offered").await;
    assert_eq!((&offered["version"], &offered["since_ms"]), (&json!(1), &plane.published_ms(1).await));
    let week = offered["since_ms"].as_u64().unwrap() + 7 * 24 * 3_600_000;
    assert_eq!(offered["deadline_ms"], json!(week), "{offered}");
    plane.fetch("dry-run").await;
    plane.stands("looked_at").await;
    plane.fetch("sync").await;
    let fetched = plane.stands("fetched").await;
    assert_eq!(fetched["since_ms"], fetched["fetched"]["at_ms"]);

    let far = 4_000_000_000_000_u64;
    let soon = fetched["since_ms"].as_u64().unwrap() + 300_000;
    let under_way = |result: &str| json!({ "pending": 1, "digest": digest(&one), "deadline_ms": soon, "result": result, "offered": 1 });
    plane.report(under_way("acknowledged")).await;
    plane.stands("activating").await;
    let active = json!({ "active": 1, "pending": 1, "digest": digest(&one), "deadline_ms": soon, "result": "pending" });
    plane.report(active).await;
    let pending = plane.stands("pending").await;
    assert_eq!((&pending["deadline_ms"], &pending["was"]), (&json!(soon), &Value::Null));
    let good = json!({ "active": 1, "confirmed": 1, "digest": digest(&one), "result": "confirmed", "reason": "held" });
    plane.report(good).await;
    let confirmed = plane.stands("confirmed").await;
    assert_eq!((&confirmed["deadline_ms"], &confirmed["stale"]), (&Value::Null, &json!(false)));
    // The same numbers once more change nothing.
    plane.report(json!({ "active": 1, "confirmed": 1, "digest": digest(&one) })).await;
    let lasting = |mut view: Value| {
        view.as_object_mut().unwrap().remove("seen_ms");
        view
    };
    assert_eq!(lasting(plane.view().await), lasting(confirmed));

    plane.publish(&two).await;
    plane.stands("offered").await;
    let late = json!({
        "active": 2, "pending": 2, "confirmed": 1, "digest": digest(&two), "deadline_ms": 9, "result": "pending",
    });
    plane.report(late).await;
    let overdue = plane.stands("overdue").await;
    assert_eq!((&overdue["was"], &overdue["since_ms"]), (&json!("pending"), &json!(9)), "{overdue}");
    let words: Vec<_> = plane.words().into_iter().filter(|word| word != "config.Fetch").collect();
    assert_eq!(words, ["config.ReportStatus", "config.Activate", "config.Confirm", "config.Activate"]);

    // No window is believed that ends in a hundred years.
    let absurd = json!({
        "active": 2, "pending": 2, "confirmed": 1, "digest": digest(&two), "deadline_ms": far, "result": "pending",
    });
    plane.report(absurd).await;
    assert!(plane.stands("pending").await["deadline_ms"].as_u64().unwrap() < far);
}

#[tokio::test]
async fn a_window_is_measured_by_the_servers_clock() {
    let plane = Plane::new(Settings::default());
    let one = plane.tree(1, "one");
    plane.publish(&one).await;
    let told = |left_ms: u64| {
        json!({
            "active": 1, "pending": 1, "digest": digest(&one), "result": "pending",
            "deadline_ms": 9, "left_ms": left_ms,
        })
    };
    let window = |view: &Value| view["deadline_ms"].as_u64().unwrap() - view["since_ms"].as_u64().unwrap();
    plane.report(told(300_000)).await;
    let pending = plane.stands("pending").await;
    assert_eq!(window(&pending), 300_000, "whatever the node's own clock says: {pending}");
    plane.report(told(299_990)).await;
    assert_eq!(plane.stands("pending").await["deadline_ms"], pending["deadline_ms"]);
    plane.report(told(100_000)).await;
    assert!(window(&plane.stands("pending").await) < 200_000);
    plane.report(told(0)).await;
    assert_eq!(plane.stands("overdue").await["was"], "pending");
}

#[tokio::test]
async fn what_failed_is_remembered_until_it_is_released() {
    let plane = Plane::new(Settings::default());
    let (one, two, three) = (plane.tree(1, "one"), plane.tree(2, "two"), plane.tree(3, "two"));
    plane.publish(&one).await;
    let on_one = |more: Value| {
        let mut report = json!({ "active": 1, "confirmed": 1, "digest": digest(&one) });
        report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        report
    };
    plane.report(on_one(json!({ "result": "confirmed" }))).await;
    plane.publish(&two).await;
    plane.report(on_one(json!({ "rolled_back": 2, "result": "rolled_back", "reason": "the probe failed" }))).await;
    let view = plane.stands("rolled_back").await;
    assert_eq!(view["reason"], "the probe failed", "{view}");
    // The same content under another number, and a node that was set up anew and does not remember it.
    plane.publish(&three).await;
    plane.stands("rejected").await;
    plane.report(on_one(json!({ "offered": 1 }))).await;
    assert_eq!(plane.view().await["reported"]["rolled_back"], 2);
    plane.stands("rejected").await;

    let released = json!({ "version": 2, "at_ms": 5 });
    let retried = json!({
        "pending": 3, "digest": digest(&three), "deadline_ms": 4_000_000_000_000_u64, "result": "acknowledged",
        "released": released,
    });
    plane.report(on_one(retried)).await;
    let view = plane.stands("activating").await;
    assert_eq!((&view["reported"]["rolled_back"], &view["reported"]["released"]), (&Value::Null, &released));
    plane
        .report(on_one(json!({ "released": released, "result": "rejected", "rejected": 3, "reason": "forged" })))
        .await;
    assert_eq!(plane.stands("refused").await["reason"], "forged");
    let words = plane.words();
    assert_eq!(
        words,
        ["config.Confirm", "config.Rollback", "config.ReportStatus", "config.ReleaseRejected", "config.Reject"]
    );
}

/// Nobody lets a content in again by confirming another one, or by wiping the node.
#[tokio::test]
async fn what_failed_before_something_else_held_is_not_forgotten() {
    let plane = Plane::new(Settings::default());
    let trees: Vec<_> =
        [(1, "one"), (2, "bad"), (3, "three"), (4, "bad")].map(|(at, text)| plane.tree(at, text)).into();
    let on = |version: usize, more: Value| {
        let mut report = json!({ "active": version, "confirmed": version, "digest": digest(&trees[version - 1]) });
        report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        report
    };
    plane.publish(&trees[0]).await;
    plane.report(on(1, json!({ "result": "confirmed" }))).await;
    plane.publish(&trees[1]).await;
    plane.report(on(1, json!({ "rolled_back": 2, "result": "rolled_back" }))).await;
    plane.publish(&trees[2]).await;
    plane.report(on(3, json!({ "result": "confirmed", "failed": [] }))).await;
    plane.stands("confirmed").await;
    plane.publish(&trees[3]).await;
    let view = plane.stands("rejected").await;
    assert!(view["reason"].as_str().unwrap().contains("failed here as version 2"), "{view}");

    // It does not know that it lets something in again; the history does.
    let soon = json!({ "pending": 4, "digest": digest(&trees[3]), "left_ms": 300_000, "result": "acknowledged" });
    plane.report(on(3, soon)).await;
    assert_eq!(plane.stands("activating").await["reported"]["failed"], Value::Null);
    plane.report(on(4, json!({ "result": "confirmed" }))).await;
    plane.stands("confirmed").await;
    let words = plane.words();
    assert_eq!(
        words,
        ["config.Confirm", "config.Rollback", "config.Confirm", "config.ReleaseRejected", "config.Confirm"]
    );
}

/// Releases that follow one another do not begin a node's time anew.
#[tokio::test]
async fn who_lags_behind_lags_since_the_first_version_that_it_lacks() {
    let waits = Waits { fetched: Duration::from_millis(1), ..Waits::default() };
    let plane = Plane::new(Settings { waits, ..Settings::default() });
    let trees: Vec<_> = (1..=4).map(|version| plane.tree(version, &version.to_string())).collect();
    for tree in &trees {
        plane.publish(tree).await;
        // Times of publishes differ.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let since = |view: Value| view["deadline_ms"].as_u64().unwrap() - 1;
    let never = plane.stands("overdue").await;
    assert_eq!(never["was"], "offered");
    assert_eq!(json!(since(never)), plane.published_ms(1).await, "a node that never came");
    plane.report(json!({ "active": 2, "confirmed": 2, "digest": digest(&trees[1]) })).await;
    assert_eq!(json!(since(plane.stands("overdue").await)), plane.published_ms(3).await, "a node that has version 2");
}

#[tokio::test]
async fn nodes_that_the_servers_know_too_little_of() {
    let plane = Plane::new(Settings::default());
    let one = plane.tree(1, "one");
    plane.publish(&one).await;
    plane.fetch("sync").await;
    plane.stands("fetched").await;
    plane.report(json!({ "active": 5, "confirmed": 5, "digest": digest(&one), "result": "confirmed" })).await;
    let paused = plane.stands("paused").await;
    assert_eq!((&paused["version"], &paused["stale"]), (&json!(5), &json!(true)), "it does not run what is published");
    // It refuses what is older than what it has; that makes nothing better or worse.
    let refused = json!({
        "active": 5, "confirmed": 5, "digest": digest(&one), "rejected": 1, "result": "rejected", "reason": "a replay",
    });
    plane.report(refused).await;
    assert!(plane.stands("paused").await["reason"].as_str().unwrap().contains("restored"));
    let (status, answer) = plane.send(Method::POST, OPERATOR, "/publish", "sync", plane.tree(5, "five").body(1)).await;
    assert_eq!((status, answer["error"].as_str()), (StatusCode::CONFLICT, Some("version_conflict")), "{answer}");
    let (status, _) = plane.send(Method::POST, OPERATOR, "/publish", "sync", plane.tree(6, "one").body(1)).await;
    assert_eq!(status, StatusCode::OK);
    plane.stands("offered").await;

    // The number is the same, the content is not: that is no confirmation, and known.
    let other = format!("sha256:{}", "0".repeat(64));
    let (status, answer) =
        plane.say(json!({ "active": 6, "confirmed": 6, "digest": other, "result": "confirmed" })).await;
    assert_eq!((status, answer["error"].as_str()), (StatusCode::CONFLICT, Some("version_conflict")), "{answer}");
    assert!(plane.stands("paused").await["reason"].as_str().unwrap().contains("another content"));
    let elsewhere = Tree::new(7, &plane.signer).nodes(vec![("pier3", json!([]))]);
    plane.publish(&elsewhere).await;
    plane.stands("removed").await;
}

#[tokio::test]
async fn nodes_are_counted_by_their_phases() {
    let plane = Plane::new(Settings::default());
    let one = plane.tree(1, "one");
    plane.publish(&one).await;
    let drift = json!({ "policy": "report", "files": 1, "first": ["/etc/shop: missing"] });
    let good = json!({ "active": 1, "confirmed": 1, "digest": digest(&one), "result": "confirmed", "drift": drift });
    plane.report(good).await;
    let mut registry = Registry::default();
    plane.service.metrics().register(&mut registry);
    let stop = Stop::new();
    let running = tokio::spawn(plane.service.clone().run(stop.clone()));
    until("the nodes are counted", async || {
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let shows = |line: &str| text.lines().any(|found| found == line);
        let confirmed = shows(r#"holdfast_configsrv_nodes{phase="confirmed"} 1"#);
        let drifted = shows("holdfast_configsrv_nodes_drifted 1");
        (confirmed && drifted && shows(r#"holdfast_configsrv_nodes{phase="overdue"} 0"#)).then_some(())
    })
    .await;
    stop.request();
    running.await.unwrap().unwrap();
}

/// Such a node asks the servers for nothing: what it reported last has to explain it.
#[tokio::test]
async fn a_node_that_is_frozen_waits_with_the_right_reason() {
    let plane = Plane::new(Settings::default());
    let (one, two) = (plane.tree(1, "one"), plane.tree(2, "two"));
    plane.publish(&one).await;
    let drift = json!({ "policy": "freeze", "files": 2, "first": ["/etc/shop: missing", "/etc/till: missing"] });
    let frozen = json!({ "active": 1, "confirmed": 1, "digest": digest(&one), "drift": drift });
    plane.report(frozen).await;
    plane.stands("confirmed").await;
    plane.publish(&two).await;
    let view = plane.stands("offered").await;
    let reason = view["reason"].as_str().unwrap();
    assert!(reason.starts_with("2 files were changed on the node (/etc/shop: missing), "), "{view}");
    assert!(reason.contains("does not take version 2") && reason.contains("flor drift --repair"), "{view}");
    assert_eq!(plane.listed().await.reason, reason);
    // Somebody had them written again.
    plane.report(json!({ "active": 1, "confirmed": 1, "digest": digest(&one) })).await;
    assert!(plane.stands("offered").await["reason"].as_str().unwrap().contains("has not fetched it"));
}

#[tokio::test]
async fn the_same_over_grpc() {
    let plane = Plane::new(Settings::default());
    let one = plane.tree(1, "one");
    plane.publish(&one).await;
    let late = json!({
        "active": 1, "pending": 1, "digest": digest(&one), "deadline_ms": 9, "result": "pending",
        "released": { "version": 1, "at_ms": 5 },
    });
    plane.report(late).await;
    let view = plane.stands("overdue").await;
    let node = plane.listed().await;
    assert_eq!(
        json!({
            "phase": node.phase, "version": node.version, "since_ms": node.since_ms, "deadline_ms": node.deadline_ms,
            "reason": node.reason, "was": node.was,
        }),
        json!({
            "phase": view["phase"], "version": 1, "since_ms": 9, "deadline_ms": 9, "reason": view["reason"],
            "was": "pending",
        })
    );
    assert_eq!(node.reported.as_ref().unwrap().released, Some(1));
}
