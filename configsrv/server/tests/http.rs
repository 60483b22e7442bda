//! Every status and error word of the HTTP interface.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use chainfire_client::{StoreError, memory::MemoryStore};
use configsrv_server::{ConfigService, Limits, Settings, router};
use holdfast_service::Stop;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use iam_client::Identity;
use serde_json::{Value, json};
use support::{
    node, operator, service,
    tree::{self, Signer, Tree, body},
    until,
};
use tower::ServiceExt as _;

/// A server and who speaks to it.
struct Fixture {
    service: ConfigService,
    store: Arc<MemoryStore>,
    router: Router,
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    bytes: Vec<u8>,
}

impl Fixture {
    fn new(settings: Settings) -> Self {
        let (service, store) = service(settings);
        let router = router(service.clone());
        Self { service, store, router }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    async fn get(&self, caller: Identity, path: &str) -> Answer {
        self.send(Request::builder().uri(path).extension(caller).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, caller: Identity, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(Method::POST).uri(path).extension(caller).body(body.into()).unwrap();
        self.send(request).await
    }

    async fn publish(&self, tree: &Tree<'_>, base_version: u64) -> Answer {
        self.post(operator(), "/publish", tree.body(base_version)).await
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.bytes)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    fn refused(&self, status: u16, word: &str) {
        assert_eq!((self.status.as_u16(), self.json()["error"].as_str()), (status, Some(word)), "{}", self.json());
        assert!(!self.json()["message"].as_str().unwrap().is_empty());
    }

    #[track_caller]
    fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }
}

#[tokio::test]
async fn exactly_what_was_published_is_served() {
    let fixture = Fixture::new(Settings::default());
    let signer = Signer::new("primary");
    // Larger than one stored part.
    let large = "x".repeat(1_000_000);
    let tree =
        Tree::new(1, &signer).nodes(vec![("pier2", json!([tree::file("/etc/large", &large)])), ("pier3", json!([]))]);
    let published = fixture.publish(&tree, 0).await.ok();
    assert_eq!(
        (&published["version"], &published["nodes"], &published["unchanged"]),
        (&json!(1), &json!(2), &json!(false))
    );

    for artifact in tree.artifacts() {
        let name = artifact.node().as_str();
        let answer = fixture.get(node(name), &format!("/artifact/{name}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.bytes == artifact.bytes(), "the bytes of {name} differ");
        assert_eq!(answer.header("flor-version"), "1");
        assert_eq!(answer.header("etag"), format!("\"{}\"", artifact.payload_digest()));
    }
}

#[tokio::test]
async fn unchanged_is_304_by_version_and_by_digest() {
    let fixture = Fixture::new(Settings::default());
    let signer = Signer::new("primary");
    let tree = Tree::new(1, &signer);
    fixture.publish(&tree, 0).await.ok();
    let answer = fixture.get(node("pier2"), "/artifact/pier2?have=1").await;
    assert_eq!((answer.status, answer.bytes.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(answer.header("flor-version"), "1");
    assert_eq!(fixture.get(node("pier2"), "/artifact/pier2?have=2").await.status, StatusCode::OK);
    let with_tag = |tag: String| {
        let request = Request::builder().uri("/artifact/pier2").extension(node("pier2")).header("if-none-match", tag);
        request.body(Body::empty()).unwrap()
    };
    let digest = tree.artifacts()[0].payload_digest();
    assert_eq!(fixture.send(with_tag(format!("\"{digest}\""))).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(fixture.send(with_tag("\"other\"".to_owned())).await.status, StatusCode::OK);
}

#[tokio::test]
async fn reads_are_bound_to_identities() {
    let fixture = Fixture::new(Settings::default());
    let signer = Signer::new("primary");
    fixture.publish(&Tree::new(1, &signer), 0).await.ok();
    fixture.get(node("pier3"), "/artifact/pier2").await.refused(403, "permission_denied");
    assert_eq!(fixture.get(operator(), "/artifact/pier2").await.status, StatusCode::OK);
    let nobody = Request::builder().uri("/artifact/pier2").body(Body::empty()).unwrap();
    fixture.send(nobody).await.refused(401, "authentication_required");
    fixture.post(node("pier2"), "/publish", "{}").await.refused(403, "permission_denied");
    fixture.get(node("pier2"), "/nodes").await.refused(403, "permission_denied");
    fixture.get(node("pier2"), "/versions").await.refused(403, "permission_denied");
    fixture.post(node("pier3"), "/nodes/pier2/status", "{}").await.refused(403, "permission_denied");
    assert_eq!(fixture.get(node("pier2"), "/nodes/pier2").await.status, StatusCode::OK);
    fixture.get(node("pier3"), "/nodes/pier2").await.refused(403, "permission_denied");
}

#[tokio::test]
async fn before_the_first_publish() {
    let fixture = Fixture::new(Settings::default());
    let answer = fixture.get(node("pier2"), "/artifact/pier2").await;
    answer.refused(503, "not_published");
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(fixture.get(operator(), "/nodes").await.ok()["nodes"], json!([]));
    assert_eq!(fixture.get(operator(), "/versions").await.ok()["current"], json!(0));
    assert_eq!(fixture.get(operator(), "/healthz").await.status, StatusCode::OK);
    let ready = fixture.get(operator(), "/readyz").await;
    assert_eq!((ready.status, ready.json()), (StatusCode::OK, json!({ "ready": true })));
}

#[tokio::test]
async fn versions_that_are_not_there() {
    let fixture = Fixture::new(Settings { keep_versions: 2, ..Settings::default() });
    let signer = Signer::new("primary");
    for (version, base) in [(1, 0), (2, 1), (4, 2), (5, 4)] {
        let tree = Tree::new(version, &signer).nodes(vec![("pier2", json!([tree::file("/f", &version.to_string())]))]);
        fixture.publish(&tree, base).await.ok();
    }
    fixture.get(operator(), "/artifact/pier9").await.refused(404, "unknown_node");
    fixture.get(operator(), "/artifact/Pier2").await.refused(404, "unknown_node");
    fixture.get(operator(), "/artifact/pier2?version=3").await.refused(404, "unknown_version");
    fixture.get(operator(), "/artifact/pier2?version=6").await.refused(404, "unknown_version");
    assert_eq!(fixture.get(operator(), "/artifact/pier2?version=1").await.status, StatusCode::OK);
    fixture.get(operator(), "/versions/3").await.refused(404, "unknown_version");

    let stop = Stop::new();
    let running = tokio::spawn(fixture.service.clone().run(stop.clone()));
    let payloads = || chainfire_client::SystemStore::list(fixture.store.as_ref(), b"config/chunk/", None, 100).unwrap();
    until("payloads of pruned versions are gone, and no others", async || {
        (payloads().records.len() == 2).then_some(())
    })
    .await;
    stop.request();
    running.await.unwrap().unwrap();
    fixture.get(operator(), "/artifact/pier2?version=1").await.refused(410, "pruned");
    assert_eq!(fixture.get(operator(), "/versions/1").await.ok()["pruned"], json!(true));
    assert_eq!(fixture.get(operator(), "/artifact/pier2?version=4").await.status, StatusCode::OK);
    let history = fixture.get(operator(), "/versions?limit=2").await.ok();
    assert_eq!((&history["versions"][0]["version"], &history["more"]), (&json!(5), &json!(true)));
    let history = fixture.get(operator(), "/versions?before=4").await.ok();
    assert_eq!((&history["versions"][0]["version"], &history["more"]), (&json!(2), &json!(false)));
}

#[tokio::test]
async fn queries_are_read_strictly() {
    let fixture = Fixture::new(Settings::default());
    for path in [
        "/artifact/pier2?version=-1",
        "/artifact/pier2?version=18446744073709551616",
        "/artifact/pier2?version=1&version=1",
        "/artifact/pier2?wait=soon",
        "/artifact/pier2?other=1",
        "/nodes?version=x",
        "/nodes?limit=0",
        "/versions?from=1",
        "/versions/x",
    ] {
        fixture.get(operator(), path).await.refused(400, "bad_query");
    }
}

#[tokio::test]
async fn malformed_trees_change_nothing() {
    let fixture = Fixture::new(Settings::default());
    let (signer, other) = (Signer::new("primary"), Signer::new("second"));
    let one = Tree::new(1, &signer);
    let bytes = one.artifacts()[0].bytes().to_vec();
    let spaced = String::from_utf8(bytes.clone()).unwrap().replacen(':', ": ", 1).into_bytes();
    let ctrl = String::from_utf8(bytes.clone()).unwrap().replacen("\"mgmt\"", "\"ctrl\"", 1).into_bytes();
    let mut two = Tree::new(2, &signer).nodes(vec![("pier3", json!([]))]);
    let newer = two.artifacts()[0].bytes().to_vec();
    two.version = 1;
    two.announces = vec![&signer, &other];
    let other_signers = two.artifacts()[0].bytes().to_vec();
    for (what, body) in [
        ("not JSON", "{".to_owned()),
        ("no base", r#"{"artifacts":[]}"#.to_owned()),
        ("empty", body(0, [])),
        ("not canonical", body(0, [spaced.as_slice()])),
        ("another plane", body(0, [ctrl.as_slice()])),
        ("twice", body(0, [bytes.as_slice(), bytes.as_slice()])),
        ("two versions", body(0, [bytes.as_slice(), newer.as_slice()])),
        ("two sets of signers", body(0, [bytes.as_slice(), other_signers.as_slice()])),
        ("a number", r#"{"base_version":0,"artifacts":[1]}"#.to_owned()),
        ("too deep", format!(r#"{{"base_version":0,"artifacts":[{}1{}]}}"#, "[".repeat(100), "]".repeat(100))),
    ] {
        let answer = fixture.post(operator(), "/publish", body).await;
        assert_eq!(answer.json()["error"], "malformed_tree", "{what}: {}", answer.json());
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
    let stored = chainfire_client::SystemStore::list(fixture.store.as_ref(), b"config/", None, 10).unwrap();
    assert_eq!(stored.records, []);
}

#[tokio::test]
async fn size_has_limits() {
    let limits = Limits { body_bytes: 20_000, artifact_bytes: 5_000, ..Limits::default() };
    let fixture = Fixture::new(Settings { limits, ..Settings::default() });
    let signer = Signer::new("primary");
    let tree = |bytes: usize| {
        let text = "x".repeat(bytes);
        Tree::new(1, &signer).nodes(vec![("pier2", json!([tree::file("/f", &text)]))]).body(0)
    };
    fixture.post(operator(), "/publish", tree(30_000)).await.refused(413, "too_large");
    fixture.post(operator(), "/publish", tree(6_000)).await.refused(413, "too_large");
    fixture.post(operator(), "/publish", tree(1_000)).await.ok();
    let fixture = Fixture::new(Settings { limits: Limits { nodes: 1, ..Limits::default() }, ..Settings::default() });
    let two = Tree::new(1, &signer).nodes(vec![("pier2", json!([])), ("pier3", json!([]))]);
    fixture.publish(&two, 0).await.refused(400, "malformed_tree");
}

#[tokio::test]
async fn one_number_for_all_that_only_grows() {
    let fixture = Fixture::new(Settings::default());
    let signer = Signer::new("primary");
    let first = Tree::new(3, &signer);
    fixture.publish(&first, 2).await.refused(409, "version_conflict");
    fixture.publish(&first, 0).await.ok();
    // Again is fine, also under the other path and from the old base.
    let again = fixture.post(operator(), "/tree", first.body(0)).await.ok();
    assert_eq!(again["unchanged"], json!(true));
    let changed = |version| Tree::new(version, &signer).nodes(vec![("pier3", json!([]))]);
    fixture.publish(&changed(3), 3).await.refused(409, "version_conflict");
    fixture.publish(&changed(2), 3).await.refused(409, "version_conflict");
    fixture.publish(&changed(4), 2).await.refused(409, "version_conflict");
    fixture.publish(&changed(4), 3).await.ok();
    // A tree replaces the whole tree.
    fixture.get(operator(), "/artifact/pier2").await.refused(404, "unknown_node");
    assert_eq!(fixture.get(operator(), "/artifact/pier2?version=3").await.status, StatusCode::OK);
}

#[tokio::test]
async fn signers_follow_signers() {
    let fixture = Fixture::new(Settings::default());
    let (old, new) = (Signer::new("primary"), Signer::new("second"));
    let mut tree = Tree::new(1, &new);
    tree.announces = vec![&old];
    fixture.publish(&tree, 0).await.refused(403, "untrusted_signature");
    fixture.publish(&Tree::new(1, &old), 0).await.ok();
    // A key that nobody has announced.
    fixture.publish(&Tree::new(2, &new), 1).await.refused(403, "untrusted_signature");
    let mut rotation = Tree::new(2, &old);
    rotation.announces = vec![&old, &new];
    fixture.publish(&rotation, 1).await.ok();
    fixture.publish(&Tree::new(3, &new), 2).await.ok();
    fixture.publish(&Tree::new(4, &old), 3).await.refused(403, "untrusted_signature");

    let forged = Tree::new(4, &new).body(3).replacen("\"generated_at\":\"1970", "\"generated_at\":\"1971", 1);
    fixture.post(operator(), "/publish", forged).await.refused(403, "untrusted_signature");
}

#[tokio::test]
async fn a_fetch_by_the_node_itself_is_noted_once() {
    let fixture = Fixture::new(Settings::default());
    let signer = Signer::new("primary");
    fixture.publish(&Tree::new(1, &signer), 0).await.ok();
    fixture.get(operator(), "/artifact/pier2").await;
    let seen = |view: Value| view["nodes"][0]["fetched"]["version"].clone();
    assert_eq!(seen(fixture.get(operator(), "/nodes").await.ok()), Value::Null);
    let look = Request::builder().uri("/artifact/pier2").extension(node("pier2")).header("flor-sync-intent", "dry-run");
    fixture.send(look.body(Body::empty()).unwrap()).await;
    let view = until("the look is noted", async || {
        Some(fixture.get(operator(), "/nodes/pier2").await.ok()).filter(|view| view["looked_at"]["version"] == 1)
    });
    let view = view.await;
    assert_eq!((&view["fetched"], &view["stale"]), (&Value::Null, &json!(true)));
    assert!(view["seen_ms"].as_u64() > Some(0), "{view}");

    fixture.get(node("pier2"), "/artifact/pier2?have=1").await;
    until("the fetch is noted", async || {
        Some(seen(fixture.get(operator(), "/nodes").await.ok())).filter(|version| *version == 1)
    })
    .await;
    let revision = chainfire_client::SystemStore::applied(fixture.store.as_ref()).system_revision;
    fixture.get(node("pier2"), "/artifact/pier2?have=1").await;
    assert_eq!(chainfire_client::SystemStore::applied(fixture.store.as_ref()).system_revision, revision);
    let nodes = fixture.get(operator(), "/nodes?version=1").await.ok();
    assert_eq!((&nodes["nodes"][0]["stale"], seen(nodes.clone())), (&json!(false), json!(1)));
    fixture.publish(&Tree::new(2, &signer), 1).await.ok();
    assert_eq!(fixture.get(operator(), "/nodes").await.ok()["nodes"][0]["stale"], json!(true));
    assert_eq!(fixture.get(operator(), "/nodes?version=1").await.ok()["nodes"][0]["stale"], json!(false));
    fixture.get(operator(), "/nodes?version=3").await.refused(404, "unknown_version");
}

#[tokio::test]
async fn reports_are_kept_and_answered_with_what_was_published() {
    let fixture = Fixture::new(Settings::default());
    let signer = Signer::new("primary");
    let tree = Tree::new(7, &signer);
    fixture.publish(&tree, 0).await.ok();
    let digest = tree.artifacts()[0].payload_digest();
    let report =
        json!({ "active": 7, "pending": 7, "digest": digest, "deadline_ms": 9, "result": "pending", "nonce": "n" });
    let receipt = fixture.post(node("pier2"), "/nodes/pier2/status", report.to_string()).await.ok();
    assert_eq!(receipt, json!({ "node": "pier2", "nonce": "n", "version": 7, "digest": digest, "current": 7 }));
    let view = fixture.get(operator(), "/nodes/pier2").await.ok();
    assert_eq!((&view["reported"]["pending"], &view["reported"]["result"]), (&json!(7), &json!("pending")));

    let wrong =
        json!({ "active": 7, "confirmed": 7, "digest": format!("sha256:{}", "0".repeat(64)), "result": "confirmed" });
    fixture.post(node("pier2"), "/nodes/pier2/status", wrong.to_string()).await.refused(409, "version_conflict");
    fixture.post(node("pier2"), "/nodes/pier2/status", "{").await.refused(400, "bad_body");
    fixture.post(node("pier2"), "/nodes/pier2/status", "x".repeat(20_000)).await.refused(413, "too_large");

    // After a restore nodes may know more than the server.
    let ahead = json!({ "active": 9 });
    fixture.post(node("pier2"), "/nodes/pier2/status", ahead.to_string()).await.ok();
    fixture.publish(&Tree::new(8, &signer), 7).await.refused(409, "version_conflict");
    let mut excused: Value = serde_json::from_str(&Tree::new(8, &signer).body(7)).unwrap();
    excused["ignore_reports_of"] = json!(["pier2"]);
    fixture.post(operator(), "/publish", excused.to_string()).await.ok();
    fixture.publish(&Tree::new(10, &signer), 8).await.ok();
}

#[tokio::test]
async fn no_node_can_say_anything_that_keeps_everybody_from_publishing() {
    let fixture = Fixture::new(Settings::default());
    let signer = Signer::new("primary");
    fixture.publish(&Tree::new(7, &signer), 0).await.ok();
    let report = async |said: Value| fixture.post(node("pier2"), "/nodes/pier2/status", said.to_string()).await;
    for number in ["offered", "active", "pending", "confirmed", "rolled_back"] {
        for lie in [1_u64 << 53, 1008] {
            report(json!({ number: lie })).await.refused(409, "implausible_report");
        }
    }
    let view = fixture.get(operator(), "/nodes/pier2").await.ok();
    assert_eq!(view["reported"], Value::Null, "nothing of it is stored");

    report(json!({ "offered": 1007 })).await.ok();
    let refused = fixture.publish(&Tree::new(8, &signer), 7).await;
    refused.refused(409, "version_conflict");
    let said = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(said.contains("pier2") && said.contains("ignore_reports_of"), "{said}");
    // What a node refused may be anybody's forgery: that is told, and stands in nobody's way.
    report(json!({ "rejected": 1_u64 << 53, "result": "rejected" })).await.ok();
    fixture.publish(&Tree::new(8, &signer), 7).await.ok();
}

#[tokio::test]
async fn without_a_quorum_nodes_are_served_and_nothing_is_published() {
    let fixture = Fixture::new(Settings::default());
    let signer = Signer::new("primary");
    fixture.publish(&Tree::new(1, &signer), 0).await.ok();
    fixture.store.fail_with(Some(StoreError::Unavailable("no leader".into())));
    assert_eq!(fixture.get(node("pier2"), "/artifact/pier2").await.status, StatusCode::OK);
    fixture.publish(&Tree::new(2, &signer), 1).await.refused(503, "no_leader");
    fixture.get(operator(), "/readyz").await.refused(503, "no_leader");
    fixture.store.fail_with(Some(StoreError::Unknown("leader lost".into())));
    fixture.post(node("pier2"), "/nodes/pier2/status", r#"{"active":1}"#).await.refused(503, "outcome_unknown");
}

#[tokio::test]
async fn a_long_poll_ends_with_the_next_version() {
    let fixture = Fixture::new(Settings::default());
    let signer = Signer::new("primary");
    fixture.publish(&Tree::new(1, &signer), 0).await.ok();
    let stop = Stop::new();
    let running = tokio::spawn(fixture.service.clone().run(stop.clone()));
    let router = fixture.router.clone();
    let waiting = tokio::spawn(async move {
        let request = Request::builder().uri("/artifact/pier2?have=1&wait=30s").extension(node("pier2"));
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    });
    fixture.publish(&Tree::new(2, &signer), 1).await.ok();
    let answer = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["flor-version"]),
        (StatusCode::OK, &http::HeaderValue::from_static("2"))
    );
    let unchanged = fixture.get(node("pier2"), "/artifact/pier2?have=2&wait=1s").await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    stop.request();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn two_versions_are_compared_by_what_they_mean() {
    let fixture = Fixture::new(Settings { keep_versions: 2, ..Settings::default() });
    let signer = Signer::new("primary");
    let stock = "spiffe://quay.test/service/pier2/stock";
    let admits = |who: &[&str]| json!({ "ingress": [{ "target_spiffe_id": stock, "allow": who }] });
    let both = vec![("pier2", json!([])), ("pier3", json!([]))];
    let first = Tree::new(1, &signer).nodes(both).patched(admits(&["spiffe://quay.test/user/mira"]));
    fixture.publish(&first, 0).await.ok();
    let second = Tree::new(2, &signer).patched(admits(&["spiffe://quay.test/user/tomas"]));
    fixture.publish(&second, 1).await.ok();

    let diff = fixture.get(operator(), "/versions/1/diff/2").await.ok();
    assert_eq!((&diff["from"], &diff["to"], &diff["removed"]), (&json!(1), &json!(2), &json!(["pier3"])));
    assert_eq!(diff["changed"]["pier2"]["class"], "acl-only", "{diff}");
    assert_eq!(diff["access"]["gained"][0]["who"], "spiffe://quay.test/user/tomas");
    assert_eq!(diff["access"]["lost"].as_array().unwrap().len(), 2, "mira at both nodes: {diff}");
    let back = fixture.get(operator(), "/versions/2/diff/1").await.ok();
    assert_eq!((&back["added"], &back["access"]["lost"]), (&json!(["pier3"]), &diff["access"]["gained"]));
    let same = fixture.get(operator(), "/versions/2/diff/2").await.ok();
    assert_eq!((&same["changed"], &same["access"]["gained"]), (&json!({}), &json!([])));

    fixture.get(operator(), "/versions/1/diff/3").await.refused(404, "unknown_version");
    fixture.get(operator(), "/versions/+1/diff/2").await.refused(400, "bad_query");
    fixture.get(node("pier2"), "/versions/1/diff/2").await.refused(403, "permission_denied");
}
