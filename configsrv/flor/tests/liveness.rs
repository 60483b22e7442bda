//! Units that are restarted with a new file have to stay up with it. systemd is a stand-in here, a program named `systemctl`:
//! the real one needs a machine of its own. It says of a unit what the unit's file tells it to say.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod node;
#[path = "../../server/tests/support/mod.rs"]
mod support;

use std::{env, fs, os::unix::fs::PermissionsExt as _, process::Output};

use node::{Node, exits, serve};
use serde_json::json;
use support::{
    publish,
    tree::{Signer, Tree, file},
};

/// `restart` counts and fails if the file says so; `show` says the file's first line just after that, and its second line
/// later.
const SYSTEMCTL: &str = r#"#!/bin/sh
here=$(dirname "$0")
case "$1" in
restart|reload)
    echo "$1 $3" >> "$here/calls"
    rm -f "$here/shown"
    ! grep -q '^start fails' "$here/../shop" ;;
show)
    line=1; [ -e "$here/shown" ] && line=2
    touch "$here/shown"
    sed -n "${line}p" "$here/../shop" | tr ' ' '\n' ;;
esac
"#;

const UP: &str = "Type=simple ActiveState=active SubState=running Result=success NRestarts=0";
const AGAIN: &str = "Type=simple ActiveState=active SubState=running Result=success NRestarts=1";
const DEAD: &str = "Type=simple ActiveState=failed SubState=failed Result=exit-code ExecMainCode=1 ExecMainStatus=3";
const REFUSES: &str =
    "Type=simple ActiveState=failed SubState=failed Result=exit-code ExecMainCode=1 ExecMainStatus=78";

struct Machine {
    node: Node,
    path: String,
}

impl Machine {
    fn new(node: Node) -> Self {
        let folder = node.path("bin");
        fs::create_dir(&folder).unwrap();
        let program = format!("{folder}/systemctl");
        fs::write(&program, SYSTEMCTL).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{folder}:{}", env::var("PATH").unwrap());
        Self { node, path }
    }

    async fn flor(&self, words: &[&str]) -> Output {
        self.node.command(words).env("PATH", &self.path).env("FLOR_LIVENESS", "1s").output().await.unwrap()
    }

    fn calls(&self) -> Vec<String> {
        self.node.text("bin/calls").unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The unit's file says how the unit will be.
    fn tree<'a>(&self, version: u64, signer: &'a Signer, how: [&str; 2]) -> Tree<'a> {
        let mut shop = file(&self.node.path("shop"), &format!("{}\n{}\n# {version}\n", how[0], how[1]));
        shop["activate"] = json!({ "restart": "shop.service" });
        Tree::new(version, signer).nodes(vec![("pier2", json!([shop]))])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_does_not_stay_up_undoes_the_version() {
    let (address, _) = serve().await;
    let (machine, signer) = (Machine::new(Node::new(address)), Signer::new("primary"));
    publish(address, &machine.tree(1, &signer, [UP, UP]), 0).await;
    exits(&machine.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    let good = machine.node.text("shop").unwrap();
    assert_eq!(machine.calls(), ["restart shop.service"]);
    for (version, how, why) in [
        (2, [UP, DEAD], "shop.service: did not stay up: failed (failed), exit-code, status 3"),
        (3, [UP, AGAIN], "shop.service: ended, and systemd started it again (1 times)"),
        (4, [UP, REFUSES], "shop.service: refused its configuration"),
        (5, [REFUSES, "start fails"], "systemctl restart -- shop.service: refused its configuration"),
    ] {
        publish(address, &machine.tree(version, &signer, how), version - 1).await;
        let said = exits(&machine.flor(&["sync"]).await, 9);
        assert!(said.contains(why) && said.contains("running version 1"), "{version}: {said}");
        assert!(!said.contains("DEGRADED"), "the old file is good: {said}");
        assert_eq!(machine.node.text("shop").as_ref(), Some(&good), "{version}");
        assert_eq!(machine.calls().len(), 2 * usize::try_from(version).unwrap() - 1, "one there, one back: {version}");
        // It is not tried again by itself.
        let said = exits(&machine.flor(&["sync"]).await, 8);
        assert!(said.contains("--retry-rejected"), "{said}");
    }
    publish(address, &machine.tree(6, &signer, [UP, UP]), 5).await;
    exits(&machine.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    let status = machine.node.status().await;
    assert_eq!((&status["confirmed"], &status["degraded"]), (&json!(6), &json!(null)));

    // Who does not want it is not made to wait.
    publish(address, &machine.tree(7, &signer, [UP, DEAD]), 6).await;
    exits(&machine.flor(&["--liveness", "0", "sync", "--commit-timeout", "0"]).await, 0);
}

/// The way back ends in the old version whatever becomes of its units, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_does_not_stay_up_is_degraded() {
    let (address, _) = serve().await;
    let (machine, signer) = (Machine::new(Node::new(address)), Signer::new("primary"));
    publish(address, &machine.tree(1, &signer, [UP, DEAD]), 0).await;
    exits(&machine.flor(&["--liveness", "0", "sync", "--commit-timeout", "0"]).await, 0);
    publish(address, &machine.tree(2, &signer, [UP, DEAD]), 1).await;
    let said = exits(&machine.flor(&["sync"]).await, 9);
    assert!(said.contains("DEGRADED") && said.contains("running version 1"), "{said}");
    let status = machine.node.status().await;
    assert!(status["degraded"].as_str().unwrap().contains("the way back failed"), "{status}");
    assert_eq!((&status["active"], &status["pending"]), (&json!(1), &json!(null)));
}
