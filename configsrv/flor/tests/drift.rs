//! Files of the active version that somebody else changes, on a real disk: who is told, what is written again, and what waits
//! for a decision.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod node;
#[path = "../../server/tests/support/mod.rs"]
mod support;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use configsrv_server::ConfigService;
use node::{Node, PATIENCE, code, exits, fleet_view, serve};
use serde_json::{Value, json};
use support::{
    publish,
    tree::{Signer, Tree, file},
};
use tokio::process::Child;

struct Pier {
    address: SocketAddr,
    service: ConfigService,
    node: Node,
    signer: Signer,
}

impl Pier {
    /// With version 1 and this policy.
    async fn new(policy: &str) -> Self {
        let (address, service) = serve().await;
        let pier = Self { address, service, node: Node::new(address), signer: Signer::new("primary") };
        publish(address, &pier.tree(1, policy, "one\n"), 0).await;
        exits(&pier.node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
        pier
    }

    /// Two files, one of which a program is told of.
    fn tree(&self, version: u64, policy: &str, text: &str) -> Tree<'_> {
        let mut shop = file(&self.node.path("shop"), text);
        let note = format!("cat {} >> {}", self.node.path("shop"), self.node.path("told"));
        shop["activate"] = json!({ "run": ["sh", "-c", note] });
        let files = json!([file(&self.node.path("motd"), text), shop]);
        let patch = json!({ "schema_version": "1.2", "drift": policy });
        Tree::new(version, &self.signer).nodes(vec![("pier2", files)]).patched(patch)
    }

    async fn daemon(&self) -> Child {
        let daemon = self.node.spawn(&["agent", "run", "--look-every", "1s"]);
        self.node.until("the daemon", |status| status["daemon"] == true).await;
        daemon
    }

    fn change(&self, name: &str, text: &str) {
        fs::write(self.node.path(name), text).unwrap();
    }

    async fn seen(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let view = fleet_view(self.service.clone()).await;
            if holds(&view["reported"]) {
                return view["reported"].clone();
            }
            assert!(begun.elapsed() < PATIENCE, "waited for {what}: {view}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_is_told_to_whoever_asks() {
    let pier = Pier::new("report").await;
    let _daemon = pier.daemon().await;
    assert!(exits(&pier.node.flor(&["drift"]).await, 0).contains("every file is as it was written"));
    assert!(exits(&pier.node.flor(&["status", "--metrics"]).await, 0).contains("\nflor_files_drifted 0\n"));
    pier.change("shop", "one\nby hand\n");
    fs::set_permissions(pier.node.path("motd"), fs::Permissions::from_mode(0o666)).unwrap();

    let status = pier.node.until("both files", |status| status["drift"]["files"][1].is_object()).await;
    let faults = |at: usize| status["drift"]["files"][at]["faults"].clone();
    assert_eq!(faults(0), json!([{ "fault": "mode", "wanted": "0644", "found": "0666" }]), "{status}");
    assert_eq!(
        (faults(1), &status["drift"]["policy"]),
        (json!([{ "fault": "content" }]), &json!("report")),
        "{status}"
    );
    assert!(exits(&pier.node.flor(&["status"]).await, 0).contains("shop: another content"));
    assert!(exits(&pier.node.flor(&["status", "--metrics"]).await, 0).contains("\nflor_files_drifted 2\n"));
    let diff = exits(&pier.node.flor(&["drift", "--diff"]).await, 0);
    assert!(diff.contains("@@ -1,1 +1,2 @@\n one\n+by hand\n"), "{diff}");
    let reported = pier.seen("two files", |reported| reported["drift"]["files"] == 2).await;
    assert!(reported["drift"]["first"][1].as_str().unwrap().ends_with("shop: another content"), "{reported}");
    assert_eq!(reported["result"], "confirmed", "what happened is as it was: {reported}");

    // Nothing is written by itself; a person may, and a newer version does.
    assert_eq!(pier.node.text("shop").as_deref(), Some("one\nby hand\n"));
    assert!(exits(&pier.node.flor(&["drift", "--repair"]).await, 0).starts_with("written again: "));
    assert_eq!(
        (pier.node.text("shop").as_deref(), pier.node.text("told").as_deref()),
        (Some("one\n"), Some("one\none\n"))
    );
    pier.seen("no drift", |reported| reported["drift"].is_null()).await;
    pier.change("motd", "by hand");
    publish(pier.address, &pier.tree(2, "report", "two\n"), 1).await;
    exits(&pier.node.flor(&["sync"]).await, 0);
    exits(&pier.node.flor(&["sync", "--confirm"]).await, 0);
    assert_eq!(pier.node.status().await["drift"]["files"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_is_written_again() {
    let pier = Pier::new("repair").await;
    let daemon = pier.daemon().await;
    pier.change("shop", "by hand");
    pier.node.until("the repair", |status| status["repaired"]["paths"] == json!([pier.node.path("shop")])).await;
    assert_eq!(pier.node.text("shop").as_deref(), Some("one\n"));
    assert_eq!(pier.node.text("told").as_deref(), Some("one\none\n"), "its program knows");
    fs::remove_file(pier.node.path("motd")).unwrap();
    std::os::unix::fs::symlink(pier.node.path("shop"), pier.node.path("motd")).unwrap();
    pier.node.until("another one", |status| status["repaired"]["paths"] == json!([pier.node.path("motd")])).await;
    assert!(fs::symlink_metadata(pier.node.path("motd")).unwrap().is_file());
    assert_eq!(pier.node.text("told").as_deref(), Some("one\none\n"), "nobody else is told");
    drop(daemon);

    // Killed between the file and its program: the next command goes on.
    pier.node.until("no daemon", |status| status["daemon"] == false).await;
    pier.change("shop", "by hand");
    let mut command = pier.node.command(&["drift", "--repair"]);
    let output = command.env("FLOR_STOP_AT", "file:shop.rename").output().await.unwrap();
    assert_eq!(output.status.code(), None, "{output:?}");
    assert_eq!(pier.node.text("shop").as_deref(), Some("one\n"));
    assert_eq!(pier.node.text("told").as_deref(), Some("one\none\n"));
    pier.node.status().await;
    assert_eq!(pier.node.text("told").as_deref(), Some("one\none\none\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_waits_for_a_decision() {
    let pier = Pier::new("freeze").await;
    pier.change("shop", "by hand");
    publish(pier.address, &pier.tree(2, "freeze", "two\n"), 1).await;
    exits(&pier.node.flor(&["sync", "--dry-run"]).await, 0);
    let said = exits(&pier.node.flor(&["sync"]).await, 8);
    assert!(said.contains("flor drift --repair") && said.contains("shop: another content"), "{said}");
    assert!(exits(&pier.node.flor(&["status"]).await, 0).contains("FROZEN"));
    assert_eq!(pier.node.text("shop").as_deref(), Some("by hand"));
    exits(&pier.node.flor(&["drift", "--repair"]).await, 0);
    exits(&pier.node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    assert_eq!(pier.node.text("shop").as_deref(), Some("two\n"));

    // A machine that syncs by itself waits, and goes on when it is decided.
    let timer =
        ["agent", "run", "--sync", "timer", "--interval", "1s", "--confirm-policy", "manual", "--look-every", "1s"];
    let _daemon = pier.node.spawn(&timer);
    pier.node.until("the daemon", |status| status["daemon"] == true).await;
    pier.change("shop", "by hand");
    pier.seen("the change", |reported| reported["drift"]["policy"] == "freeze").await;
    publish(pier.address, &pier.tree(3, "freeze", "three\n"), 2).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = pier.node.status().await;
    assert_eq!((&status["active"], &status["refused"]), (&json!(2), &Value::Null), "{status}");
    let overwrite = pier.node.flor(&["sync", "--overwrite-drift"]).await;
    assert_eq!(code(&overwrite), 0, "{overwrite:?}");
    assert_eq!(pier.node.text("shop").as_deref(), Some("three\n"));
    exits(&pier.node.flor(&["sync", "--confirm"]).await, 0);
    pier.change("shop", "by hand");
    publish(pier.address, &pier.tree(4, "freeze", "four\n"), 3).await;
    exits(&pier.node.flor(&["drift", "--repair"]).await, 0);
    pier.node.until("version 4", |status| status["pending"]["version"] == 4).await;
}
