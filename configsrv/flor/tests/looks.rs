//! What a node shows of its looks at the servers when there is nothing for it there, or nobody.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod node;
#[path = "../../server/tests/support/mod.rs"]
mod support;

use node::{
    Node, exits,
    relay::{Relay, Way},
    serve,
};
use serde_json::{Value, json};
use support::{
    publish,
    tree::{Signer, Tree, file},
};

fn tree<'a>(version: u64, signer: &'a Signer, node: &Node, text: &str) -> Tree<'a> {
    Tree::new(version, signer).nodes(vec![("pier2", json!([file(&node.path("shop"), text)]))])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_published_no_more_keeps_what_runs_and_says_so() {
    let (address, _service) = serve().await;
    let (node, signer) = (Node::new(address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    assert_eq!(node.status().await["looked"]["result"], "applied");
    publish(address, &Tree::new(2, &signer).nodes(vec![("pier3", json!([]))]), 1).await;

    let said = exits(&node.flor(&["sync"]).await, 8);
    assert!(said.contains("no artifact for node pier2") && said.contains("what runs here stays as it is"), "{said}");
    let status = node.status().await;
    assert_eq!((&status["active"], &status["confirmed"]), (&json!(1), &json!(1)), "{status}");
    let looked = &status["looked"];
    assert_eq!(
        (&looked["result"], &looked["failure"]["error"]),
        (&json!("failed"), &json!("unknown_node")),
        "{status}"
    );
    assert_eq!(node.text("shop").as_deref(), Some("one"));
    let said = exits(&node.flor(&["status"]).await, 0);
    assert!(said.contains("SYNC      failed at 2") && said.contains(" (unknown_node): the published tree"), "{said}");
    assert!(said.contains("last      version 1 committed at 2"), "{said}");
    let metrics = exits(&node.flor(&["status", "--metrics"]).await, 0);
    assert!(metrics.contains("\nflor_agent_last_sync_failed 1\n"), "{metrics}");
    assert!(!metrics.contains("flor_agent_sync_total"), "nobody counts without a daemon: {metrics}");

    // A daemon that looks by itself shows it as well, and takes what comes afterwards.
    let before = looked["at_ms"].as_u64();
    let daemon = ["agent", "run", "--sync", "timer", "--interval", "1s", "--confirm-policy", "manual"];
    let _daemon = node.spawn(&daemon);
    let later = |status: &Value| status["daemon"] == true && status["looked"]["at_ms"].as_u64() > before;
    let status = node.until("a look of the daemon's", later).await;
    assert_eq!(
        (&status["looked"]["failure"]["error"], &status["active"]),
        (&json!("unknown_node"), &json!(1)),
        "{status}"
    );
    let metrics = exits(&node.flor(&["status", "--metrics"]).await, 0);
    assert!(!metrics.contains("flor_agent_sync_total{result=\"failed\"} 0\n"), "{metrics}");
    publish(address, &tree(3, &signer, &node, "three"), 2).await;
    node.until("version 3", |status| status["pending"]["phase"] == "active").await;
    exits(&node.flor(&["sync", "--confirm"]).await, 0);
    let metrics = exits(&node.flor(&["status", "--metrics"]).await, 0);
    for line in ["flor_agent_sync_total{result=\"applied\"} 1", "flor_agent_sync_total{result=\"confirmed\"} 1"] {
        assert!(metrics.contains(&format!("\n{line}\n")), "{line}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_not_reached_are_seen_afterwards() {
    let (address, _service) = serve().await;
    let relay = Relay::to(address).await;
    let (node, signer) = (Node::new(relay.address), Signer::new("primary"));
    publish(address, &tree(1, &signer, &node, "one"), 0).await;
    exits(&node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    relay.becomes(Way::Gone);
    exits(&node.flor(&["sync", "--dry-run"]).await, 7);
    assert_eq!(node.status().await["looked"]["result"], "applied", "a dry run is no sync");
    exits(&node.flor(&["sync"]).await, 7);
    assert_eq!(node.status().await["looked"]["failure"]["error"], "unreachable");
    relay.becomes(Way::Open);
    exits(&node.flor(&["sync"]).await, 0);
    assert!(exits(&node.flor(&["status"]).await, 0).contains("sync      nothing new at 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_reads_which_program_this_is() {
    let (address, _service) = serve().await;
    let node = Node::new(address);
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(exits(&node.flor(&["version"]).await, 0), format!("flor {number}\n"));
    let said: Value = serde_json::from_str(&exits(&node.flor(&["version", "-o", "json"]).await, 0)).unwrap();
    assert_eq!(said, json!({ "version": number }));
}
