//! What is shown and asked before something is published or revoked, and whose word counts against it.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod desk;
mod lab;

use configsrv_fleet::revocation::FILE;
use lab::{Lab, support};
use serde_json::{Value, json};

fn current(lab: &Lab) -> Value {
    lab.run("versions -o json").expect(0).json()["current"].clone()
}

async fn report(lab: &Lab, path: &str, report: Value) {
    let answer = support::post(lab.address, path, report.to_string()).await;
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_shows_the_access_delta_and_needs_somebody_who_agrees() {
    let lab = Lab::new().await;
    lab.desk.edit("roles.yaml", "clerk: { allow: [shop] }", "clerk: { allow: [data] }");
    lab.run("compile").expect(0);
    let said = lab.run("publish").expect(2);
    for part in [
        "version 2 on top of 1:",
        "+ user/tomas gains service/ledger on pier3",
        "- user/tomas loses service/stock on",
        "--yes",
    ] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    assert_eq!(current(&lab), 1);
    let said = lab.run("publish --yes -o json").expect(0);
    assert!(said.err.contains("+ user/tomas gains service/ledger on pier3"), "{said:?}");
    assert_eq!(said.json()["diff"]["access"]["gained"][0]["who"], "spiffe://quay.test/user/tomas");
    assert_eq!(current(&lab), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_shows_the_access_delta_and_needs_somebody_who_agrees() {
    let lab = Lab::new().await;
    let said = lab.run("revoke user/tomas --reason stolen").expect(2);
    for part in ["sequence 1 on every node", "- user/tomas loses service/stock on pier2", "--yes"] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    assert_eq!(lab.lane()["sequence"], 0);
    assert!(!lab.desk.repo().join(FILE).exists());
    assert!(!lab.desk.read("enrollment.log").contains("stolen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_warns_of_certificates_that_end_soon() {
    let lab = Lab::new().await;
    let edit = |from: &str, to: &str| {
        lab.desk.edit("nodes.yaml", from, to);
        lab.run("compile").expect(0);
        lab.run("publish --yes").expect(0)
    };
    let said = edit("tier: data", "tier: archive");
    assert!(!said.err.contains("V22"), "{said:?}");
    // Of several certificates the one that lasts longest counts.
    lab.run("ca revoke --kind user --name tomas --reason lost").expect(0);
    lab.run("ca issue --kind user --name tomas --days 3").expect(0);
    let said = edit("tier: archive", "tier: vault");
    let warned = said.err.lines().any(|line| line.contains("warning[V22]") && line.contains("tomas"));
    assert!(warned, "{said:?}");
}

/// Compiling was told to go on, and publishing was not.
#[tokio::test(flavor = "multi_thread")]
async fn a_publish_locks_nobody_out_by_the_way() {
    let lab = Lab::new().await;
    lab.desk.edit("users.yaml", "nodes: [mira-pad]", "nodes: []");
    lab.run("compile --allow-lockout").expect(0);
    let said = lab.run("publish --yes").expect(3);
    assert!(said.err.contains("error[V23]") && said.err.contains("--allow-lockout"), "{said:?}");
    assert_eq!(current(&lab), 1);
    let said = lab.run("publish --yes --allow-lockout").expect(0);
    assert!(said.err.contains("warning[V23]"), "{said:?}");
    assert_eq!(current(&lab), 2);
}

/// As after a restore: what is made next goes above what nodes have, unless a node's word does not count.
#[tokio::test(flavor = "multi_thread")]
async fn versions_go_above_what_nodes_report() {
    let lab = Lab::new().await;
    report(&lab, "/nodes/hub/status", json!({ "active": 9, "confirmed": 9, "result": "confirmed" })).await;
    lab.desk.edit("nodes.yaml", "tier: data", "tier: archive");
    assert_eq!(lab.run("rebase --ignore-reports-of hub -o json").expect(0).json()["version"], 2);
    let said = lab.run("publish --yes").expect(5);
    assert!(said.err.contains("hub") && said.err.contains("florctl rebase"), "{said:?}");
    assert_eq!(current(&lab), 1);
    lab.run("publish --yes --ignore-reports-of pier2").expect(5);
    lab.run("publish --yes --ignore-reports-of pier2,hub").expect(0);
    assert_eq!(current(&lab), 2);

    lab.desk.edit("nodes.yaml", "tier: archive", "tier: vault");
    assert_eq!(lab.run("rebase -o json").expect(0).json()["version"], 10);
    lab.run("publish --yes").expect(0);
    assert_eq!(current(&lab), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_go_above_what_nodes_report() {
    let lab = Lab::new().await;
    report(&lab, "/nodes/hub/revocations", json!({ "sequence": 7 })).await;
    let revoke = |words: &str| lab.run(&format!("revoke {words} --reason x --yes -o json")).expect(0).json();
    assert_eq!(revoke("user/tomas --ignore-reports-of hub")["sequence"], 1);
    assert_eq!(revoke("service/ledger")["sequence"], 8);
    assert_eq!(lab.lane()["sequence"], 8);
}
