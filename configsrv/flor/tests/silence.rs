//! The binary while all of its servers accept connections and answer nothing.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod node;
#[path = "../../server/tests/support/mod.rs"]
mod support;

use node::{
    Node, exits,
    relay::{Relay, Way},
    serve,
};
use serde_json::json;
use support::{
    publish,
    tree::{Signer, Tree, file},
};

/// How much later than the deadline a way back may be done, in milliseconds, on a machine that has other things to do.
const LATE_MS: u64 = 1500;

/// Somebody's confirmation waits for the servers when the deadline comes, and so does whoever would replace the version.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_begins_in_time_though_no_server_answers() {
    let (address, _) = serve().await;
    let relays = [Relay::to(address).await, Relay::to(address).await, Relay::to(address).await];
    let (mut node, signer) = (Node::new(address), Signer::new("primary"));
    node.asks(relays.iter().map(|relay| relay.address));
    let tree = |version: u64, text: &str| {
        Tree::new(version, &signer).nodes(vec![("pier2", json!([file(&node.path("shop"), text)]))])
    };
    publish(address, &tree(1, "one"), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    let _daemon = node.daemon().await;
    for (version, words) in [(2, ["sync", "--confirm"]), (3, ["sync", "--supersede"])] {
        publish(address, &tree(version, "new"), version - 1).await;
        exits(&node.flor(&["sync", "--retry-rejected", "--commit-timeout", "4s"]).await, 0);
        let deadline_ms = node.status().await["pending"]["deadline_ms"].as_u64().unwrap();
        relays.iter().for_each(|relay| relay.becomes(Way::Silent));
        let asking = node.spawn(&words);
        let status = node.until("the way back", |status| status["pending"].is_null()).await;
        assert_eq!((&status["last"]["version"], &status["last"]["result"]), (&json!(version), &json!("rolled back")));
        assert_eq!(node.text("shop").as_deref(), Some("one"));
        let late_ms = status["last"]["at_ms"].as_u64().unwrap().saturating_sub(deadline_ms);
        assert!(late_ms <= LATE_MS, "{words:?}: {late_ms} ms");
        exits(&asking.wait_with_output().await.unwrap(), 7);
        relays.iter().for_each(|relay| relay.becomes(Way::Open));
    }
}
