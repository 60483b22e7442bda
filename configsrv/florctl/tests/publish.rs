//! Publishing from desks, when others do so too.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod desk;
mod lab;

use std::{fs, process::Command};

use configsrv_fleet::Tree;
use desk::Desk;
use lab::Lab;
use serde_json::json;

/// Leaves what Git leaves in every file that both sides changed.
fn conflict(desk: &Desk) {
    for entry in fs::read_dir(desk.repo().join(".flor/compiled")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> theirs\n")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_second_takes_the_change_and_rebases() {
    let lab = Lab::new().await;
    let other = lab.colleague();
    let more = ("roles.yaml", "clerk: { allow: [shop] }", "clerk: { allow: [shop, data] }");
    other.edit(more.0, more.1, more.2);
    lab.run_at(&other, "compile").expect(0);
    lab.run_at(&other, "publish --yes").expect(0);

    lab.desk.edit("nodes.yaml", "tier: data", "tier: archive");
    lab.run("compile").expect(0);
    // The refusal says what the other one changed.
    let said = lab.run("publish --yes").expect(5);
    let (hint, changes) = said.err.split_once("from version 1 to 2:\n").unwrap();
    assert!(hint.contains("florctl rebase"), "{said:?}");
    assert!(changes.contains("+ user/tomas gains service/ledger on pier3"), "{said:?}");
    let said = lab.run("publish --yes -o json").expect(5);
    let error: serde_json::Value = serde_json::from_str(said.err.lines().last().unwrap()).unwrap();
    assert_eq!((&error["refusal"], &error["changes"]["from"]), (&json!("version_conflict"), &json!(1)), "{error}");
    assert_eq!(error["changes"]["access"]["gained"][0]["who"], "spiffe://quay.test/user/tomas", "{error}");
    let said = lab.run("publish --yes --base-version 1").expect(5);
    assert!(said.err.contains("the servers have version 2, not 1") && said.err.contains("to 2:\n+ "), "{said:?}");

    // Their change is here now, and no file of the compiled tree can be read.
    lab.desk.edit(more.0, more.1, more.2);
    conflict(&lab.desk);
    let said = lab.run("compile").expect(1);
    assert!(said.err.contains("florctl rebase"), "{said:?}");
    let said = lab.run("rebase -o json").expect(0);
    assert!(said.err.contains("warning: "), "{said:?}");
    let said = said.json();
    assert_eq!((&said["version"], &said["changed"]), (&json!(3), &json!(["pier3"])), "what the servers do not have");
    assert!(Tree::read(&lab.desk.repo().join(".flor/compiled")).unwrap().is_some());
    lab.run("publish --yes").expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebase_locks_nobody_out_by_the_way() {
    let lab = Lab::new().await;
    lab.desk.edit("users.yaml", "nodes: [mira-pad]", "nodes: []");
    conflict(&lab.desk);
    let said = lab.run("rebase").expect(3);
    assert!(said.err.contains("error[V23]") && said.err.contains("--allow-lockout"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_another_cluster_are_told_apart_first() {
    let lab = Lab::new().await;
    let other = Desk::empty();
    other.run("init . --name harbour.test").expect(0);
    other.run("ca init").expect(0);
    other.run("ca issue --missing").expect(0);
    lab.run_at(&other, "compile").expect(0);
    for words in ["plan", "diff --published", "rebase", "publish --yes"] {
        let said = lab.run_at(&other, words).expect(8);
        assert!(said.err.contains("these servers have cluster quay.test, the repository is harbour.test"), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_does_not_name_whom_somebody_else_revoked() {
    let lab = Lab::new().await;
    let other = lab.colleague();
    lab.run("revoke user/tomas --reason stolen --yes").expect(0);
    other.edit("nodes.yaml", "tier: data", "tier: archive");
    let said = lab.run_at(&other, "plan").expect(0);
    assert!(said.err.contains("error[V25]: user/tomas is revoked") && said.err.contains("git pull"), "{said:?}");
    assert_eq!(lab.run_at(&other, "plan -o json").expect(0).json()["revoked"][0]["rule"], "V25");
    lab.run_at(&other, "compile").expect(0);
    let said = lab.run_at(&other, "publish --yes").expect(3);
    assert!(said.err.contains("users.yaml:4:3: error[V25]") && said.err.contains("git pull"), "{said:?}");
    let users = other.read("users.yaml");
    fs::write(other.repo().join("users.yaml"), &users[..users.find("  tomas:").unwrap()]).unwrap();
    lab.run_at(&other, "compile").expect(0);
    lab.run_at(&other, "publish --yes").expect(0);
}

/// Whoever looks the commit up later must not find something else there.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_not_all_of_it_is_marked() {
    let lab = Lab::new().await;
    let git = |words: &str| {
        let author = ["-c", "user.name=mira", "-c", "user.email=mira@quay.test"];
        let done = Command::new("git").current_dir(lab.desk.repo()).args(author).args(words.split(' ')).status();
        assert!(done.unwrap().success(), "{words}");
    };
    git("init --quiet");
    git("add -A");
    git("commit --quiet -m begin");
    for (tier, is_committed) in [("archive", false), ("vault", true)] {
        let nodes = lab.desk.read("nodes.yaml");
        let labels = nodes.lines().find(|line| line.contains("tier: data") || line.contains("tier: archive")).unwrap();
        lab.desk.edit("nodes.yaml", labels, &format!("    labels: {{ site: quay, tier: {tier} }}"));
        lab.run("compile").expect(0);
        if is_committed {
            git("add -A");
            git("commit --quiet -m change");
        }
        let said = lab.run("publish --yes").expect(0);
        assert_eq!(said.err.contains("not committed"), !is_committed, "{said:?}");
        let newest = lab.run("versions -o json").expect(0).json()["versions"][0]["git_commit"].clone();
        assert_eq!(newest.as_str().unwrap().ends_with("-dirty"), !is_committed, "{newest}");
        assert_eq!(lab.run("versions").expect(0).out.lines().nth(1).unwrap().contains("-dirty"), !is_committed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_the_servers_own_word() {
    let lab = Lab::new().await;
    let said = lab.run("node pier9 -o json").expect(1);
    let error: serde_json::Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!((&error["error"], &error["refusal"]), (&json!("failed"), &json!("unknown_node")));
}

/// Who changed a file by hand is not somebody with a broken disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_contradicts_itself_is_not_trusted() {
    let lab = Lab::new().await;
    let path = lab.desk.repo().join(".flor/compiled/hub.json");
    let hub = fs::read_to_string(&path).unwrap();
    fs::write(&path, hub.replace("user/mira", "user/tomas")).unwrap();
    let said = lab.run("publish --yes").expect(6);
    assert!(said.err.contains("payload_digest"), "{said:?}");
    fs::remove_file(&path).unwrap();
    let said = lab.run("publish --yes").expect(6);
    assert!(said.err.contains("lists hub") && said.err.contains("florctl rebase"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_without_differences_is_said_in_a_line() {
    let lab = Lab::new().await;
    lab.run("rebase").expect(0);
    let said = lab.run("publish --yes").expect(0);
    assert!(said.err.contains("version 2 on top of 1:\nno difference\n"), "{said:?}");
}
