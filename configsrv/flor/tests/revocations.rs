//! The fast lane on a node: who is revoked is cut off at once, stays so whatever happens to the node, and nobody but a
//! trusted signer does it.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod node;
mod pier;
#[path = "../../server/tests/support/mod.rs"]
mod support;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use configsrv_fleet::{SealedRevocations, to_canonical};
use node::Node;
use pier::{Hub, Pier, broken, connect, echo, exits, ping};
use serde_json::{Value, json};
use support::{
    lane::{following, id, sealed},
    tree::{Signer, Tree},
};
use tokio::net::TcpStream;

async fn post(hub: &Hub, envelope: &SealedRevocations) {
    let body = String::from_utf8(envelope.bytes().to_vec()).unwrap();
    let answer = support::post(hub.address, "/revocations", body).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Posts an envelope, and says how long it took until `gone` was cut off.
async fn revoke(hub: &Hub, envelope: &SealedRevocations, gone: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    post(hub, envelope).await;
    broken(gone).await;
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_is_cut_off_at_once_and_nobody_else_notices() {
    let hub = Hub::start().await;
    let mut pier = Pier::new(&hub).await;
    let both = ["user/mira", "user/tomas"];
    hub.publish(&pier.tree(1, &both, &json!({}))).await;
    // Nobody syncs here, and still it takes no longer.
    let mut daemon = pier.daemon().await;
    pier.sync(0).await;
    let (mut mira, mut tomas) = (connect(pier.mira).await.unwrap(), connect(pier.tomas).await.unwrap());
    ping(&mut mira).await;
    ping(&mut tomas).await;
    let first = sealed(following(None, 1, &["user/tomas"]), &pier.signer);
    let took = revoke(&hub, &first, &mut tomas).await;
    ping(&mut mira).await;
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);
    let status = pier.until("the lane", |status| status["revocations"]["sequence"] == 1).await;
    assert_eq!(status["revocations"]["revoked"], json!([id("user/tomas")]));
    assert_eq!((&status["active"], &status["pending"]), (&json!(1), &Value::Null), "no version is involved");
    let heard = Instant::now();
    while hub.view().await["revocations"]["sequence"] != 1 {
        assert!(heard.elapsed() < pier::PATIENCE, "{}", hub.view().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let metrics = exits(&pier.flor(&["status", "--metrics"]).await, 0);
    assert!(metrics.contains("flor_revocations_sequence 1") && metrics.contains("flor_revoked 1"), "{metrics}");

    // A version that still names them does not bring them back, nor does the way back from it.
    pier.stock = echo().await;
    hub.publish(&pier.tree(2, &both, &json!({}))).await;
    exits(&pier.flor(&["sync", "--commit-timeout", "5m"]).await, 0);
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);
    ping(&mut connect(pier.mira).await.unwrap()).await;
    exits(&pier.flor(&["sync", "--cancel"]).await, 0);
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);

    // Nor does a new start.
    daemon.kill().await.unwrap();
    let _daemon = pier.daemon().await;
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);
    let mut mira = connect(pier.mira).await.unwrap();
    ping(&mut mira).await;
    let second = sealed(following(Some(&first), 2, &["user/mira"]), &pier.signer);
    let again = revoke(&hub, &second, &mut mira).await;
    assert!(took.min(again) < Duration::from_secs(1), "{took:?}, {again:?}");
    hub.serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_down_counts_after_a_crash() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    hub.publish(&pier.tree(1, &["user/mira", "user/tomas"], &json!({}))).await;
    let mut daemon = pier.daemon().await;
    pier.sync(0).await;
    daemon.kill().await.unwrap();

    let mut stopped = pier.command(&["agent", "run"]);
    let mut daemon = stopped.env("FLOR_STOP_AT", "revocations.rename").spawn().unwrap();
    pier.until("the daemon", |status| status["daemon"] == true).await;
    let mut tomas = connect(pier.tomas).await.unwrap();
    ping(&mut tomas).await;
    post(&hub, &sealed(following(None, 1, &["user/tomas"]), &pier.signer)).await;
    assert!(!daemon.wait().await.unwrap().success(), "it ends before the plane is told");

    // Nobody tells it again.
    hub.serving.abort();
    let _daemon = pier.daemon().await;
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2);
    ping(&mut connect(pier.mira).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_settled_counts_again_with_the_version_that_is_confirmed() {
    let hub = Hub::start().await;
    let pier = Pier::new(&hub).await;
    let both = ["user/mira", "user/tomas"];
    let dials_of_mira = json!([{
        "target_spiffe_id": id("service/stock"), "target_node": "pier2", "target_udp": "203.0.113.1:4500",
        "allow": [id("user/mira")],
    }]);
    let user =
        json!([{ "name": "mira", "spiffe_id": id("user/mira"), "socks5_proxy": format!("127.0.0.1:{}", pier.mira) }]);
    hub.publish(&pier.tree(1, &both, &json!({}))).await;
    let _daemon = pier.daemon().await;
    pier.sync(0).await;
    let mut tomas = connect(pier.tomas).await.unwrap();
    ping(&mut tomas).await;
    let first = sealed(following(None, 1, &["user/tomas"]), &pier.signer);
    revoke(&hub, &first, &mut tomas).await;
    // Version 2 does without them, 3 has them again; this node sees only the last.
    let without = json!({ "egress": dials_of_mira, "local_users": user });
    hub.publish(&pier.tree(2, &["user/mira"], &without)).await;
    let mut second = following(Some(&first), 2, &[]);
    second.settle(&id("user/tomas"));
    post(&hub, &sealed(second, &pier.signer)).await;
    pier.until("the lane", |status| status["revocations"]["sequence"] == 2).await;
    assert_eq!(connect(pier.tomas).await.unwrap_err(), 2, "version 1 is confirmed here");
    hub.publish(&pier.tree(3, &both, &json!({}))).await;
    pier.sync(0).await;
    ping(&mut connect(pier.tomas).await.unwrap()).await;
    hub.serving.abort();
}

/// What a server under somebody else's control serves.
#[derive(Default)]
struct Served {
    artifact: Vec<u8>,
    revocations: Vec<u8>,
}

async fn impostor() -> (std::net::SocketAddr, Arc<Mutex<Served>>) {
    let served: Arc<Mutex<Served>> = Arc::default();
    let artifact = |State(served): State<Arc<Mutex<Served>>>| async move { served.lock().unwrap().artifact.clone() };
    let revocations = |State(served): State<Arc<Mutex<Served>>>| async move {
        let bytes = served.lock().unwrap().revocations.clone();
        if bytes.is_empty() { (StatusCode::NOT_MODIFIED, bytes) } else { (StatusCode::OK, bytes) }
    };
    let app = Router::new()
        .route("/artifact/{node}", get(artifact))
        .route("/revocations", get(revocations))
        .with_state(Arc::clone(&served));
    (node::listen(app).await, served)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_trusted_signed_or_what_is_old_is_refused_and_shown() {
    let (address, served) = impostor().await;
    let (node, signer, stranger) = (Node::new(address), Signer::new("primary"), Signer::new("primary"));
    let serve = |revocations: &[u8]| served.lock().unwrap().revocations = revocations.to_vec();
    let sync = || async { exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0) };
    served.lock().unwrap().artifact = Tree::new(1, &signer).artifacts()[0].bytes().to_vec();
    sync().await;

    let first = sealed(following(None, 1, &["user/tomas"]), &signer);
    let second = sealed(following(Some(&first), 1, &["user/ada"]), &signer);
    serve(second.bytes());
    sync().await;
    let status = node.status().await;
    let taken = json!([id("user/ada"), id("user/tomas")]);
    assert_eq!((&status["revocations"]["sequence"], &status["revocations"]["revoked"]), (&json!(2), &taken));
    assert_eq!(status["revocations"]["refused"], Value::Null);

    let edited = |edit: fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(second.bytes()).unwrap();
        edit(&mut value);
        to_canonical(&value).unwrap()
    };
    let tampered = edited(|value| value["sequence"] = json!(3));
    let unsigned = edited(|value| drop(value.as_object_mut().unwrap().remove("signature")));
    let foreign = sealed(following(Some(&second), 1, &[]), &stranger);
    let mut fewer = following(Some(&first), 1, &[]);
    fewer.revoked.clear();
    let other_content = sealed(fewer, &signer);
    for (bytes, why) in [
        (first.bytes(), "replay"),
        (other_content.bytes(), "other content"),
        (tampered.as_slice(), "does not match"),
        (unsigned.as_slice(), "not signed"),
        (foreign.bytes(), "does not match"),
        (b"{}", "not understood"),
    ] {
        serve(bytes);
        let said = sync().await;
        assert!(said.contains("revocations were not taken") && said.contains(why), "{why}: {said}");
        let lane = node.status().await["revocations"].clone();
        assert_eq!((&lane["sequence"], &lane["revoked"]), (&json!(2), &taken), "{why}");
        assert!(lane["refused"]["reason"].as_str().unwrap().contains(why), "{why}: {lane}");
    }
    let text = exits(&node.flor(&["status"]).await, 0);
    assert!(text.contains("REFUSED   revocations") && text.contains("revoked   2"), "{text}");

    // What counts next ends it.
    serve(sealed(following(Some(&second), 1, &["user/zoe"]), &signer).bytes());
    sync().await;
    let lane = node.status().await["revocations"].clone();
    assert_eq!((&lane["sequence"], &lane["refused"]), (&json!(3), &Value::Null));
}
