//! The real binary against a real server: what an operator types, what the node ends up with, how it exits.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod node;
#[path = "../../server/tests/support/mod.rs"]
mod support;

use std::{
    fs,
    net::SocketAddr,
    process::Output,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::get};
use configsrv_fleet::{artifact::MAX_ARTIFACT, to_canonical};
use configsrv_server::{ACCESS_HTTP, Settings, router};
use holdfast_service::Stop;
use iam_client::IamLayer;
use node::{Node, PATIENCE, exits, fleet_view, listen, serve};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{
    Rules, post, publish, service,
    tree::{Signer, Tree, file},
    until,
};
use tokio::{net::TcpListener, process::Child};

/// A server under somebody else's control: it serves whatever it is told.
async fn impostor() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let served: Arc<Mutex<Vec<u8>>> = Arc::default();
    let serve = |State(served): State<Arc<Mutex<Vec<u8>>>>| async move { served.lock().unwrap().clone() };
    let app = Router::new().route("/artifact/{node}", get(serve)).with_state(Arc::clone(&served));
    (listen(app).await, served)
}

/// One node's file `shop` with this text.
fn tree<'a>(version: u64, signer: &'a Signer, node: &Node, text: &str) -> Tree<'a> {
    Tree::new(version, signer).nodes(vec![("pier2", json!([file(&node.path("shop"), text)]))])
}

async fn finish(mut child: Child) -> Output {
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    let output = child.wait_with_output().await.unwrap();
    Output { status, ..output }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_the_command_itself_keeps_watch() {
    let (address, _) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;

    let look = node.flor(&["sync", "--dry-run", "--exit-code"]).await;
    assert!(exits(&look, 4).contains("version 1 is available"));
    assert_eq!(node.text("shop"), None);
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    assert_eq!(node.text("shop").as_deref(), Some("one"));
    exits(&node.flor(&["sync", "--dry-run", "--exit-code"]).await, 0);
    assert!(exits(&node.flor(&["sync"]).await, 0).contains("nothing to do"));

    publish(address, &tree(2, &signer, &node, "two"), 1).await;
    let waiting = node.spawn(&["sync", "--commit-timeout", "5m"]);
    node.until("version 2 to be active", |status| status["pending"]["phase"] == "active").await;
    assert_eq!(node.text("shop").as_deref(), Some("two"));
    exits(&node.flor(&["sync"]).await, 8);
    exits(&node.flor(&["sync", "--confirm=1"]).await, 8);
    exits(&node.flor(&["sync", "--confirm"]).await, 0);
    exits(&finish(waiting).await, 0);
    exits(&node.flor(&["sync", "--confirm"]).await, 8);
    exits(&node.flor(&["sync", "--confirm=2"]).await, 0);
    let status = node.status().await;
    assert_eq!((&status["active"], &status["confirmed"], &status["pending"]), (&json!(2), &json!(2), &Value::Null));
}

/// Who syncs over a line that breaks: the node goes back all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_terminal_takes_no_guard_away() {
    let (address, _) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    publish(address, &tree(2, &signer, &node, "two"), 1).await;
    let mut waiting = node.spawn(&["sync", "--commit-timeout", "4s"]);
    drop((waiting.stdout.take(), waiting.stderr.take()));
    node.until("version 2 to be active", |status| status["pending"]["phase"] == "active").await;
    let id = Pid::from_raw(i32::try_from(waiting.id().unwrap()).unwrap()).unwrap();
    kill_process(id, Signal::HUP).unwrap();
    let ended = tokio::time::timeout(PATIENCE, waiting.wait()).await.expect("it ends").unwrap();
    assert_eq!(ended.code(), Some(9), "{ended:?}");
    assert_eq!(node.text("shop").as_deref(), Some("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_knows_how_far_the_node_is() {
    let (address, service) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    let view = until("the fetch is noted", async || {
        Some(fleet_view(service.clone()).await).filter(|view| view["fetched"]["version"] == 1)
    });
    let view = view.await;
    assert_eq!((&view["reported"]["confirmed"], &view["reported"]["result"]), (&json!(1), &json!("confirmed")));
    assert_eq!(view["stale"], false);
}

/// What should have been followed by something newer long ago goes on running, and everybody is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_fresh_any_more_raises_an_alarm() {
    let (address, _) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one").fresh_for("30d".parse().unwrap()), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    assert_eq!(node.text("shop").as_deref(), Some("one"));
    let status = node.status().await;
    assert_eq!(status["freshness"], json!({ "until_ms": 30_u64 * 24 * 3600 * 1000, "expired": true }), "{status}");
    assert!(exits(&node.flor(&["status"]).await, 0).contains("EXPIRED   something newer should have come"));
    assert!(exits(&node.flor(&["status", "--metrics"]).await, 0).contains("\nflor_artifact_expiry_seconds 2592000\n"));
    publish(address, &tree(2, &signer, &node, "one"), 1).await;
    exits(&node.flor(&["sync"]).await, 0);
    let status = node.status().await;
    assert_eq!((&status["freshness"], &status["active"]), (&Value::Null, &json!(2)), "the number alone was adopted");
}

/// Version 2, by a release that the node is too old for.
async fn publish_too_new(address: SocketAddr, signer: &Signer, node: &Node) {
    let mut newer: Value = serde_json::from_slice(tree(2, signer, node, "two").artifacts()[0].bytes()).unwrap();
    newer["payload"]["schema_version"] = json!("1.9");
    let body = support::tree::body(1, [signer.seal(newer).as_slice()]);
    assert!(post(address, "/publish", body).await.starts_with("HTTP/1.1 200"));
}

/// A server whose operators use a release that this node is too old for.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_knows_what_a_node_refused_and_why() {
    let (address, service) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    publish_too_new(address, &signer, &node).await;
    exits(&node.flor(&["sync"]).await, 6);
    let view = fleet_view(service.clone()).await;
    let reported = &view["reported"];
    assert_eq!((&reported["result"], &reported["rejected"]), (&json!("rejected"), &json!(2)), "{view}");
    assert!(reported["reason"].as_str().unwrap().contains("upgrade this program"), "{view}");
    assert_eq!((&reported["active"], &reported["confirmed"]), (&json!(1), &json!(1)), "{view}");
    let status = node.status().await;
    assert_eq!(status["refused"]["version"], 2, "{status}");
    assert!(exits(&node.flor(&["status"]).await, 0).contains("refused   version 2: the payload has schema 1.9"));
    publish(address, &tree(3, &signer, &node, "three"), 2).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    assert_eq!(fleet_view(service).await["reported"]["result"], "confirmed");
    assert_eq!(node.status().await["refused"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_confirms_and_the_old_state_comes_back() {
    let (address, service) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    publish(address, &tree(2, &signer, &node, "two"), 1).await;
    let said = exits(&node.flor(&["sync", "--commit-timeout", "1s"]).await, 9);
    assert!(said.contains("goes back to version 1") && said.contains("not confirmed in time"), "{said}");
    assert_eq!(node.text("shop").as_deref(), Some("one"));
    let status = node.status().await;
    assert_eq!((&status["active"], &status["rejected"][0]["target"]["version"]), (&json!(1), &json!(2)));
    let view = fleet_view(service.clone()).await;
    assert!(view["phase"] == "rolled_back" && view["reason"] == "not confirmed in time", "{view}");
    let said = exits(&node.flor(&["sync"]).await, 8);
    assert!(said.contains("--retry-rejected"), "{said}");
    exits(&node.flor(&["sync", "--retry-rejected", "--commit-timeout", "0"]).await, 0);
    assert_eq!(node.text("shop").as_deref(), Some("two"));
    let view = fleet_view(service).await;
    let reported = &view["reported"];
    assert!(view["phase"] == "confirmed" && reported["released"]["version"] == 2, "{view}");
    assert_eq!(reported["rolled_back"], Value::Null, "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_keeps_the_deadline() {
    let (address, _) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    let _daemon = node.daemon().await;
    exits(&node.flor(&["agent", "run"]).await, 8);
    exits(&node.flor(&["sync", "--commit-timeout", "5m"]).await, 0);
    exits(&node.flor(&["sync", "--confirm"]).await, 0);

    publish(address, &tree(2, &signer, &node, "two"), 1).await;
    exits(&node.flor(&["sync", "--commit-timeout", "1s"]).await, 0);
    assert_eq!(node.text("shop").as_deref(), Some("two"));
    node.until("the way back", |status| status["pending"].is_null()).await;
    assert_eq!(node.text("shop").as_deref(), Some("one"));

    publish(address, &tree(3, &signer, &node, "three"), 2).await;
    exits(&node.flor(&["sync", "--commit-timeout", "5m"]).await, 0);
    exits(&node.flor(&["sync", "--cancel"]).await, 0);
    assert_eq!(node.text("shop").as_deref(), Some("one"));
}

/// A daemon whose socket is gone still runs its data plane: nobody changes the state past it.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_not_reached_is_not_gone_past() {
    let (address, _) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    let mut daemon = node.daemon().await;
    fs::remove_file(node.socket()).unwrap();
    for words in [&["sync"][..], &["sync", "--confirm"], &["sync", "--cancel"], &["drift", "--repair"]] {
        assert!(exits(&node.flor(words).await, 7).contains("restart it"), "{words:?}");
    }
    assert_eq!(node.text("shop"), None);
    let said = exits(&node.flor(&["status"]).await, 0);
    assert!(said.contains("TROUBLE   a daemon runs here and is not reached"), "{said}");
    daemon.kill().await.unwrap();
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    assert_eq!(node.text("shop").as_deref(), Some("one"));
}

/// What cannot be brought in order keeps nobody from seeing how the node is, nor the node from its daemon.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_trouble_runs_on_and_shows_it() {
    let (address, _) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    let lock = node.cluster().join("state/agent/lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let said = exits(&node.flor(&["status"]).await, 0);
    assert!(said.contains("active    version 1") && said.contains("TROUBLE"), "{said}");
    let _daemon = node.daemon().await;
    let troubled = |status: &Value| status["troubles"].to_string().contains("state/agent/lock");
    let status = node.until("the trouble", troubled).await;
    assert_eq!((&status["daemon"], &status["active"]), (&json!(true), &json!(1)));
    assert!(exits(&node.flor(&["status", "--metrics"]).await, 0).contains("\nflor_troubles 1\n"));
    fs::remove_dir(&lock).unwrap();
    node.until("order", |status| status["troubles"] == json!([])).await;
}

/// Who syncs by the clock and lets people confirm.
#[tokio::test(flavor = "multi_thread")]
async fn a_timer_brings_what_a_person_confirms() {
    let (address, _) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    let timer = ["agent", "run", "--sync", "timer", "--interval", "1s", "--confirm-policy", "manual"];
    let mut daemon = node.spawn(&timer);
    node.until("the daemon", |status| status["daemon"] == true).await;
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    node.until("version 1", |status| status["pending"]["phase"] == "active").await;
    assert_eq!(node.text("shop").as_deref(), Some("one"));
    exits(&node.flor(&["sync", "--confirm=1"]).await, 0);
    publish(address, &tree(2, &signer, &node, "two"), 1).await;
    node.until("version 2", |status| status["pending"]["version"] == 2).await;
    exits(&node.flor(&["sync", "--cancel"]).await, 0);
    assert_eq!(node.text("shop").as_deref(), Some("one"));
    daemon.kill().await.unwrap();
    for (words, why) in [
        (&["--sync", "watch", "--commit-timeout", "0"][..], "way back"),
        (&["--interval", "1s"], "--sync timer"),
        (&["--sync", "timer", "--interval", "0"], "at least 1s"),
    ] {
        let said = exits(&node.flor(&[&["agent", "run"], words].concat()).await, 2);
        assert!(said.contains(why), "{said}");
    }
}

/// A refused version is downloaded once, and the watch goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_does_not_ask_again_for_what_it_refused() {
    let (service, _store) = service(Settings::default());
    tokio::spawn(service.clone().run(Stop::new()));
    let downloads: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&downloads);
    let app = router(service.clone()).layer(IamLayer::new(Arc::new(Rules), ACCESS_HTTP.iter().copied()));
    let app = app.layer(axum::middleware::map_response(move |response: axum::response::Response| {
        let artifact = response.headers().contains_key("flor-version") && response.status() == 200;
        counted.fetch_add(usize::from(artifact), Ordering::Relaxed);
        std::future::ready(response)
    }));
    let address = listen(app).await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    publish_too_new(address, &signer, &node).await;
    let _daemon = node.spawn(&["agent", "run", "--sync", "watch", "--confirm-policy", "manual"]);
    node.until("the refusal", |status| status["refused"]["version"] == 2).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(downloads.load(Ordering::Relaxed), 2);
    assert_eq!(fleet_view(service).await["reported"]["result"], "rejected");
    publish(address, &tree(3, &signer, &node, "three"), 2).await;
    node.until("version 3", |status| status["pending"]["phase"] == "active").await;
    assert_eq!(downloads.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_inside_the_window_it_goes_back_at_the_next_start() {
    let (address, _) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);

    // The deadline passes while nothing runs: the next command goes back.
    publish(address, &tree(2, &signer, &node, "two"), 1).await;
    let mut daemon = node.daemon().await;
    exits(&node.flor(&["sync", "--commit-timeout", "1s"]).await, 0);
    daemon.kill().await.unwrap();
    assert!(node.socket().exists(), "it was killed, not stopped");
    node.until("the way back", |status| status["pending"].is_null() && status["daemon"] == false).await;
    assert_eq!(node.text("shop").as_deref(), Some("one"));

    // A new daemon continues what is left of the window, and keeps its end.
    publish(address, &tree(3, &signer, &node, "three"), 2).await;
    let mut daemon = node.daemon().await;
    exits(&node.flor(&["sync", "--commit-timeout", "2s"]).await, 0);
    daemon.kill().await.unwrap();
    let mut daemon = node.daemon().await;
    node.until("the way back", |status| status["pending"].is_null()).await;
    assert_eq!(node.text("shop").as_deref(), Some("one"));

    // A waiting command that is killed leaves the same.
    publish(address, &tree(4, &signer, &node, "four"), 3).await;
    daemon.kill().await.unwrap();
    let mut waiting = node.spawn(&["sync", "--commit-timeout", "1s"]);
    node.until("version 4 to be pending or gone", |status| {
        status["pending"]["version"] == 4 || status["rejected"].to_string().contains(r#""version":4"#)
    })
    .await;
    waiting.kill().await.unwrap();
    node.until("the way back", |status| status["pending"].is_null()).await;
    assert_eq!(node.text("shop").as_deref(), Some("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_trusted_is_not_staged() {
    let (address, served) = impostor().await;
    let (node, signer, other) = (Node::new(address), Signer::new("primary"), Signer::new("other"));
    let serve = |bytes: &[u8]| *served.lock().unwrap() = bytes.to_vec();
    let artifact = |tree: &Tree<'_>| tree.artifacts()[0].bytes().to_vec();
    let sync = ["sync", "--commit-timeout", "0"];
    let four = artifact(&tree(4, &signer, &node, "four"));
    let five = artifact(&tree(5, &signer, &node, "five"));
    for bytes in [&four, &five] {
        serve(bytes);
        exits(&node.flor(&sync).await, 0);
    }

    let six = artifact(&tree(6, &signer, &node, "six"));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let replaced = |from: &str, to: &str| text(&six).replace(from, to).into_bytes();
    // What the operator's own key signed, though no tool of this release writes it.
    let signed = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&six).unwrap();
        change(&mut value);
        signer.seal(value)
    };
    let foreign = json!({ "ingress": [{ "target_spiffe_id": "spiffe://dock.test/service/stock", "allow": [] }] });
    let large = |size: usize| signed(&|value| value["payload"]["labels"] = json!({ "x": "y".repeat(size) }));
    for (what, bytes, expected, why) in [
        ("tampered", replaced("\"text\":\"six\"", "\"text\":\"sex\""), 6, "payload_digest says"),
        ("under another number", replaced("\"version\":6}", "\"version\":7}"), 6, "does not match"),
        ("replayed", four, 5, "refused as a replay"),
        ("downgraded", artifact(&tree(3, &signer, &node, "six")), 5, "refused as a replay"),
        ("twice the same number", artifact(&tree(5, &signer, &node, "5")), 5, "other content"),
        ("re-addressed", replaced("\"node\":\"pier2\"", "\"node\":\"pier3\""), 6, "payload_digest says"),
        ("for another node", artifact(&Tree::new(6, &signer).nodes(vec![("pier3", json!([]))])), 6, "not for pier2"),
        ("wrongly signed", artifact(&tree(6, &other, &node, "six")), 6, "not a trusted signer"),
        ("signed by a namesake", artifact(&tree(6, &Signer::new("primary"), &node, "six")), 6, "does not match"),
        ("unsigned", signed(&|_| {}), 6, "not signed"),
        ("of a newer envelope", signed(&|value| value["schema_version"] = json!("1.9")), 6, "upgrade this program"),
        ("of another age", signed(&|value| value["schema_version"] = json!("2.0")), 6, "upgrade this program"),
        (
            "of a newer payload",
            signed(&|value| {
                value["payload"]["schema_version"] = json!("1.9");
                value["payload"]["from_the_future"] = json!(true);
            }),
            6,
            "upgrade this program",
        ),
        ("too large", large(MAX_ARTIFACT), 6, "are allowed"),
        ("without an end", large(2 * MAX_ARTIFACT), 6, "longer than"),
        ("of another cluster", artifact(&Tree::new(6, &signer).patched(foreign)), 6, "not in the trust domain"),
        ("no JSON", b"<html>".to_vec(), 6, "not JSON"),
    ] {
        serve(&if what == "unsigned" { unsigned(&bytes) } else { bytes });
        let said = exits(&node.flor(&sync).await, expected);
        assert!(said.contains(why), "{what}: {said}");
        assert_eq!(node.text("shop").as_deref(), Some("five"), "{what}: {said}");
        let sets = fs::read_dir(node.cluster().join("artifacts/sets")).unwrap();
        assert_eq!(sets.count(), 2, "{what} was staged");
    }
    serve(&six);
    exits(&node.flor(&sync).await, 0);
    assert_eq!(node.text("shop").as_deref(), Some("six"));
}

fn unsigned(artifact: &[u8]) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(artifact).unwrap();
    value.as_object_mut().unwrap().remove("signature");
    to_canonical(&value).unwrap()
}

/// To start again does not help a machine whose own enrolment is damaged.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_enrolment_is_said_with_an_exit_code_of_its_own() {
    let (address, _) = serve().await;
    let node = Node::new(address);
    fs::write(node.cluster().join("cluster.json"), "{").unwrap();
    let said = exits(&node.flor(&["agent", "run"]).await, 78);
    assert!(said.contains("cluster.json"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_named_and_the_rest_is_shown() {
    let (address, _) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    let record = node.cluster().join("state/agent/pending");
    fs::write(&record, "x").unwrap();
    for words in [&["agent", "run"][..], &["sync"], &["sync", "--confirm"]] {
        let said = exits(&node.flor(words).await, 78);
        assert!(said.contains("state/agent/pending is damaged") && said.contains("move it away"), "{said}");
    }
    let said = exits(&node.flor(&["status"]).await, 0);
    assert!(said.contains("confirmed version 1") && said.contains("state/agent/pending is damaged"), "{said}");
    fs::remove_file(record).unwrap();
    exits(&node.flor(&["sync"]).await, 0);
    assert_eq!(node.status().await["troubles"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_do_not_answer_are_worth_another_try() {
    let (address, _) = serve().await;
    let node = Node::new(address);
    assert!(exits(&node.flor(&["sync"]).await, 7).contains("nothing has been published"));
    assert_eq!(node.urls.len(), 1);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    exits(&Node::new(closed).flor(&["sync"]).await, 7);
    exits(&node.flor(&["sync", "--confirm"]).await, 8);
    exits(&node.flor(&["sync", "--commit-timeout", "soon"]).await, 2);
    for two in [["--dry-run", "--confirm"], ["--commit-timeout=5m", "--dry-run"], ["--commit-timeout=5m", "--confirm"]]
    {
        exits(&node.flor(&["sync", two[0], two[1]]).await, 2);
    }
    exits(&node.flor(&["version"]).await, 0);
    assert!(exits(&node.flor(&["completions", "bash"]).await, 0).contains("_flor"));
    assert!(exits(&node.flor(&["man"]).await, 0).contains(".TH flor 1"));
    exits(&node.flor(&["man", "--out", &node.path("pages")]).await, 0);
    assert!(node.text("pages/flor-agent-run.1").unwrap().contains("confirm\\-policy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_and_their_failure_goes_back() {
    let (address, _) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    let with_hook = |version: u64, text: &str, hook: &str| {
        let mut shop = file(&node.path("shop"), text);
        shop["activate"] = json!({ "run": ["sh", "-c", hook] });
        Tree::new(version, &signer).nodes(vec![("pier2", json!([shop]))])
    };
    let note = format!("cat {} >> {}", node.path("shop"), node.path("seen"));
    publish(address, &with_hook(1, "one", &note), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    assert_eq!(node.text("seen").as_deref(), Some("one"));
    publish(address, &with_hook(2, "two", "echo no such port >&2; exit 78"), 1).await;
    let said = exits(&node.flor(&["sync"]).await, 9);
    assert!(said.contains("refused its configuration: no such port"), "{said}");
    assert_eq!((node.text("shop").as_deref(), node.text("seen").as_deref()), (Some("one"), Some("oneone")));
}
