//! A node whose servers are gone, and somebody who comes with a file: what the operator types, what is checked all the same,
//! and what the servers learn when they are back.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod node;
#[path = "../../server/tests/support/mod.rs"]
mod support;

use std::{fs, net::SocketAddr, time::Instant};

use configsrv_fleet::compile::Tree as Compiled;
use configsrv_server::ConfigService;
use node::{
    Node, PATIENCE, exits, fleet_view,
    relay::{Relay, Way},
    serve,
};
use serde_json::{Value, json};
use support::{
    publish,
    tree::{Signer, Tree, file},
};

/// A node that has confirmed version 1, and three ways to its server.
struct Pier {
    address: SocketAddr,
    service: ConfigService,
    relays: [Relay; 3],
    node: Node,
    signer: Signer,
}

impl Pier {
    async fn new() -> Self {
        let (address, service) = serve().await;
        let relays = [Relay::to(address).await, Relay::to(address).await, Relay::to(address).await];
        let mut node = Node::new(address);
        node.asks(relays.iter().map(|relay| relay.address));
        let pier = Self { address, service, relays, node, signer: Signer::new("primary") };
        publish(address, &pier.tree(1, "one"), 0).await;
        exits(&pier.node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
        pier
    }

    fn tree(&self, version: u64, text: &str) -> Tree<'_> {
        Tree::new(version, &self.signer).nodes(vec![("pier2", json!([file(&self.node.path("shop"), text)]))])
    }

    fn become_all(&self, way: Way) {
        self.relays.iter().for_each(|relay| relay.becomes(way));
    }

    /// What florctl compile leaves in the repository for the node.
    fn compiled(&self, tree: &Tree<'_>) -> String {
        let folder = self.node.path(&format!("compiled-{}", tree.version));
        Compiled::new(tree.artifacts()).unwrap().write(folder.as_ref()).unwrap();
        format!("{folder}/pier2.json")
    }

    fn shop(&self) -> Option<String> {
        self.node.text("shop")
    }

    /// What operators see, once it is so.
    async fn seen(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let view = fleet_view(self.service.clone()).await;
            if holds(&view["reported"]) {
                return view["reported"].clone();
            }
            assert!(begun.elapsed() < PATIENCE * 2, "waited for {what}: {view}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_repaired_by_hand_and_the_servers_learn_of_it() {
    let pier = Pier::new().await;
    let _daemon = pier.node.daemon().await;
    pier.become_all(Way::Gone);
    exits(&pier.node.flor(&["sync"]).await, 7);
    let two = pier.tree(2, "two");
    let path = pier.compiled(&two);
    let look = pier.node.flor(&["sync", "--from", &path, "--dry-run", "--exit-code"]).await;
    assert!(exits(&look, 4).contains("version 2 is available"));
    let said = exits(&pier.node.flor(&["sync", "--from", &path]).await, 0);
    assert!(said.contains("goes back to version 1") && said.contains("--confirm --local"), "{said}");
    assert_eq!(pier.shop().as_deref(), Some("two"));
    assert!(exits(&pier.node.flor(&["status"]).await, 0).contains("the servers do not know yet"));

    // A confirmation means that the servers are reached; who says otherwise says so.
    exits(&pier.node.flor(&["sync", "--confirm"]).await, 7);
    assert_eq!(pier.node.status().await["pending"]["version"], 2);
    exits(&pier.node.flor(&["sync", "--confirm", "--local"]).await, 0);
    let status = pier.node.status().await;
    assert_eq!((&status["confirmed"], &status["carried"][0]["unproven"]), (&json!(2), &json!(true)), "{status}");
    assert_eq!(status["last"]["result"], "confirmed without the servers");

    pier.become_all(Way::Open);
    let reported = pier.seen("the report", |reported| reported["active"] == 2).await;
    let carried = &reported["carried"][0];
    assert_eq!((&carried["version"], &carried["unproven"]), (&json!(2), &json!(true)), "{reported}");
    assert_eq!((&reported["confirmed"], &reported["result"]), (&json!(2), &json!("confirmed")), "{reported}");
    pier.node.until("nothing to tell", |status| status["carried"] == json!([])).await;

    // The servers take what the node has already, and go on from there; what was done stays known.
    publish(pier.address, &two, 1).await;
    assert!(exits(&pier.node.flor(&["sync"]).await, 0).contains("nothing to do"));
    publish(pier.address, &pier.tree(3, "three"), 2).await;
    exits(&pier.node.flor(&["sync"]).await, 0);
    let said = exits(&pier.node.flor(&["sync", "--confirm", "--local"]).await, 8);
    assert!(said.contains("came from the servers"), "{said}");
    exits(&pier.node.flor(&["sync", "--confirm"]).await, 0);
    let reported = pier.seen("version 3", |reported| reported["confirmed"] == 3).await;
    assert_eq!(reported["carried"][0]["version"], 2, "{reported}");
}

/// The same gates as for what comes from a server, with the same exit codes.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_believed_no_more_than_a_server() {
    let pier = Pier::new().await;
    pier.become_all(Way::Gone);
    let (other, newer) = (Signer::new("other"), pier.tree(2, "two"));
    let whole = fs::read_to_string(pier.compiled(&newer)).unwrap();
    let of = |tree: &Tree<'_>| String::from_utf8(tree.artifacts()[0].bytes().to_vec()).unwrap();
    let foreign = Tree::new(2, &pier.signer).nodes(vec![("pier3", json!([]))]);
    for (what, text, expected, why) in [
        ("tampered", whole.replace("\"text\":\"two\"", "\"text\":\"too\""), 6, "payload_digest says"),
        ("foreign", of(&foreign), 6, "it is for node pier3, this is pier2"),
        ("wrongly signed", of(&Tree::new(2, &other)), 6, "not a trusted signer"),
        ("the same number", of(&pier.tree(1, "1")), 5, "other content"),
        ("not JSON", "two".to_owned(), 6, "not JSON"),
        ("too large", " ".repeat(5 << 20), 6, "are allowed"),
    ] {
        let path = pier.node.path("brought.json");
        fs::write(&path, text).unwrap();
        let said = exits(&pier.node.flor(&["sync", "--from", &path]).await, expected);
        assert!(said.contains(why), "{what}: {said}");
        assert_eq!(pier.shop().as_deref(), Some("one"), "{what}");
    }
    exits(&pier.node.flor(&["sync", "--from", &pier.node.path("nowhere")]).await, 2);
    for words in [["--from=x", "--confirm"], ["--from=x", "--cancel"], ["--local", "--cancel"]] {
        exits(&pier.node.flor(&["sync", words[0], words[1]]).await, 2);
    }

    // An older one, after a newer one was kept.
    exits(&pier.node.flor(&["sync", "--from", &pier.compiled(&newer), "--commit-timeout", "0"]).await, 0);
    let said = exits(&pier.node.flor(&["sync", "--from", &pier.compiled(&pier.tree(1, "one"))]).await, 5);
    assert!(said.contains("refused as a replay"), "{said}");
    assert_eq!(pier.shop().as_deref(), Some("two"));
    // Nothing runs here all the time; whoever reaches a server next tells it. The server has an older version.
    assert_eq!(pier.node.status().await["carried"][0]["version"], 2);
    pier.become_all(Way::Open);
    exits(&pier.node.flor(&["sync"]).await, 5);
    assert_eq!(pier.node.status().await["carried"], json!([]));
    assert_eq!(fleet_view(pier.service.clone()).await["reported"]["carried"][0]["version"], 2);
}

/// Servers that say nothing any more do not eat up the window; and the confirmed set itself may be brought, too.
#[tokio::test(flavor = "multi_thread")]
async fn without_servers_there_is_still_a_way_back() {
    let pier = Pier::new().await;
    let _daemon = pier.node.daemon().await;
    fs::write(pier.node.cluster().join("artifacts/sets/v1/pier2.json"), "{").unwrap();
    let two = pier.compiled(&pier.tree(2, "two"));
    pier.become_all(Way::Gone);
    assert!(exits(&pier.node.flor(&["sync", "--from", &two]).await, 7).contains("takes version 1 from a file"));
    let one = pier.compiled(&pier.tree(1, "one"));
    assert!(exits(&pier.node.flor(&["sync", "--from", &one]).await, 0).contains("nothing to do"));

    pier.become_all(Way::Silent);
    let begun = Instant::now();
    exits(&pier.node.flor(&["sync", "--from", &two, "--commit-timeout", "8s"]).await, 0);
    assert!(begun.elapsed().as_secs() < 8, "it was active in time");
    assert_eq!(pier.shop().as_deref(), Some("two"));
    let deadline_ms = pier.node.status().await["pending"]["deadline_ms"].as_u64().unwrap();
    let status = pier.node.until("the way back", |status| status["pending"].is_null()).await;
    assert_eq!(pier.shop().as_deref(), Some("one"));
    let late_ms = status["last"]["at_ms"].as_u64().unwrap().saturating_sub(deadline_ms);
    assert!(late_ms <= 1500, "{late_ms} ms");
    pier.become_all(Way::Open);
    let reported = pier.seen("the way back", |reported| reported["result"] == "rolled_back").await;
    assert_eq!(reported["carried"][0]["version"], 2, "{reported}");
}
