//! The binary, ended right after every step of what it does: the node ends on the confirmed artifact or on the one that may
//! still be confirmed, and past the deadline on the confirmed one.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod node;
#[path = "../../server/tests/support/mod.rs"]
mod support;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    sync::Arc,
    time::{Duration, Instant},
};

use node::{Node, PATIENCE, exits, serve};
use serde_json::{Value, json};
use support::{
    publish,
    tree::{Signer, Tree, file},
};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

/// The signal of `abort`.
const ABORTED: i32 = 6;
const WINDOW: Duration = Duration::from_secs(2);
/// Nodes that are looked at side by side; they mostly wait.
const TOGETHER: usize = 6;
const NAMES: [&str; 4] = ["shop", "old", "motd", "new"];

/// What is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// Until the deadline has passed and the old version is back.
    Sync,
    Confirm,
    RollBack,
    Supersede,
    /// A start after the deadline.
    Recover,
}

const OPERATIONS: [Operation; 5] =
    [Operation::Sync, Operation::Confirm, Operation::RollBack, Operation::Supersede, Operation::Recover];

/// A node that has confirmed version 1, before an operation.
struct Case {
    node: Node,
    signer: Signer,
    address: SocketAddr,
}

impl Case {
    async fn new(operation: Operation) -> Self {
        let (address, _service) = serve().await;
        let case = Self { node: Node::new(address), signer: Signer::new("primary"), address };
        std::fs::create_dir(case.node.path("etc")).unwrap();
        std::fs::write(case.node.path("etc/motd"), "by hand").unwrap();
        case.publish(1).await;
        exits(&case.node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
        case.publish(2).await;
        match operation {
            Operation::Sync => {}
            Operation::Confirm | Operation::RollBack => case.leave_pending("1h").await,
            Operation::Supersede => {
                case.leave_pending("1h").await;
                case.publish(3).await;
            }
            Operation::Recover => {
                case.leave_pending("2s").await;
                sleep(WINDOW).await;
            }
        }
        case
    }

    async fn publish(&self, version: u64) {
        let row = FILES.iter().find(|(known, _)| *known == version).unwrap();
        let files: Vec<Value> = row
            .1
            .iter()
            .map(|(name, text)| {
                let mut file = file(&self.node.path(&format!("etc/{name}")), text);
                if *name == "shop" {
                    file["activate"] = json!({ "run": ["true"] });
                }
                file
            })
            .collect();
        let tree = Tree::new(version, &self.signer).nodes(vec![("pier2", json!(files))]);
        publish(self.address, &tree, version - 1).await;
    }

    /// Version 2 is active, and its agent was killed.
    async fn leave_pending(&self, window: &str) {
        let mut waiting = self.node.spawn(&["sync", "--commit-timeout", window]);
        self.node.until("version 2", |status| status["pending"]["phase"] == "active").await;
        waiting.kill().await.unwrap();
    }

    /// Runs the operation until the step; the steps that it took.
    async fn run(&self, operation: Operation, stop_at: &str) -> (Vec<String>, Option<i32>) {
        let words: &[&str] = match operation {
            Operation::Sync => &["sync", "--commit-timeout", "1s"],
            Operation::Confirm => &["sync", "--confirm"],
            Operation::RollBack => &["sync", "--cancel"],
            Operation::Supersede => &["sync", "--supersede", "--commit-timeout", "1s"],
            Operation::Recover => &["status"],
        };
        let mut command = self.node.command(words);
        let output = command.env("FLOR_STOP_AT", stop_at).env("FLOR_LOG", "flor::step=trace").output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let steps = said.lines().filter_map(|line| line.split_once(" step=")).map(|(_, step)| step.to_owned());
        (steps.collect(), output.status.signal())
    }

    fn files(&self) -> Vec<Option<String>> {
        NAMES.iter().map(|name| self.node.text(&format!("etc/{name}"))).collect()
    }

    /// One whole version; which is confirmed, once nothing waits any more.
    async fn come_back(&self, context: &str) -> u64 {
        let begun = Instant::now();
        loop {
            let status = self.node.status().await;
            let active = status["active"].as_u64().unwrap();
            let confirmed = status["confirmed"].as_u64().unwrap();
            assert_eq!(status["degraded"], Value::Null, "{context}: {status}");
            if status["pending"].is_null() {
                assert_eq!(active, confirmed, "{context}: {status}");
                assert_eq!(self.files(), content(active), "{context}: {status}");
                return confirmed;
            }
            // The deadline may come between two looks.
            if status["pending"]["seconds_left"].as_u64() > Some(1) {
                assert_eq!(status["pending"]["version"], active, "{context}: {status}");
                assert_eq!(self.files(), content(active), "{context}: {status}");
                if status["pending"]["seconds_left"].as_u64() > Some(60) {
                    exits(&self.node.flor(&["sync", "--cancel"]).await, 0);
                }
            }
            assert!(begun.elapsed() < PATIENCE, "{context}: {status}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What versions write into the node's folder `etc`.
const FILES: [(u64, &[(&str, &str)]); 4] = [
    (1, &[("shop", "one"), ("old", "one")]),
    (2, &[("shop", "two"), ("motd", "two"), ("new", "two")]),
    (3, &[("shop", "three")]),
    (4, &[("shop", "four"), ("motd", "four")]),
];

fn content(version: u64) -> Vec<Option<String>> {
    let written = FILES.iter().find(|(known, _)| *known == version).unwrap().1;
    let text = |name: &str| {
        let here = written.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        here.or((name == "motd").then_some("by hand")).map(str::to_owned)
    };
    NAMES.iter().map(|name| text(name)).collect()
}

async fn stopped(operation: Operation, step: String) {
    let case = Case::new(operation).await;
    let (steps, signal) = case.run(operation, &step).await;
    assert_eq!((steps.last(), signal), (Some(&step), Some(ABORTED)), "{operation:?} never came to {step}: {steps:?}");
    let context = format!("{operation:?}, stopped after {step}");
    let confirmed = case.come_back(&context).await;
    assert!(confirmed == 1 || (confirmed == 2 && operation == Operation::Confirm), "{context}: {confirmed}");
    // The node is still good for the next version.
    if operation != Operation::Supersede {
        case.publish(3).await;
    }
    case.publish(4).await;
    exits(&case.node.flor(&["sync", "--commit-timeout", "0"]).await, 0);
    assert_eq!(case.files(), content(4), "{context}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_ends_on_a_whole_artifact_wherever_it_is_stopped() {
    let (mut cases, together) = (JoinSet::new(), Arc::new(Semaphore::new(TOGETHER)));
    for operation in OPERATIONS {
        let (steps, signal) = Case::new(operation).await.run(operation, "nowhere").await;
        assert_eq!(signal, None, "{operation:?}");
        let names: BTreeSet<&str> = steps.iter().filter_map(|step| step.split('#').next()).collect();
        assert!(names.contains("state.rename") && names.contains("pending.remove"), "{operation:?}: {steps:?}");
        for step in steps {
            let together = Arc::clone(&together);
            cases.spawn(async move {
                let _turn = together.acquire().await.unwrap();
                stopped(operation, step).await;
            });
        }
    }
    assert!(cases.len() > 150, "{}", cases.len());
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}
