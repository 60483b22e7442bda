//! Revoking from a desk: signed here, taken by a server, kept in the repository.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod desk;
mod lab;

use std::fs;

use configsrv_fleet::{Revocations, SigningKey, Version, revocation::FILE};
use desk::{Desk, Said};
use lab::{
    Lab,
    support::{self, lane::id},
};
use serde_json::json;
use time::OffsetDateTime;

fn cut_off(lab: &Lab, words: &str) -> Said {
    lab.run(&format!("revoke {words} --reason stolen --yes"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_revoked_settled_and_named_again() {
    let lab = Lab::new().await;
    assert!(lab.run("revocations").expect(0).out.contains("nobody has been revoked"));

    let said = cut_off(&lab, "user/tomas").expect(0);
    assert!(said.err.contains("- user/tomas loses service/stock on pier2") && !said.err.contains("gains"), "{said:?}");
    assert!(said.out.contains("sequence 1") && said.out.contains("take user/tomas out of the YAML"), "{said:?}");
    assert_eq!(lab.file().revocations().revoked, [id("user/tomas")].into());
    assert!(lab.desk.read("enrollment.log").lines().last().unwrap().contains(r#""event":"revoke""#));

    // Nodes say when it counts there.
    let lane = lab.lane();
    assert_eq!(
        (&lane["sequence"], &lane["revoked"], &lane["waiting"]),
        (&json!(1), &json!([id("user/tomas")]), &json!(5))
    );
    support::post(lab.address, "/nodes/hub/revocations", json!({ "sequence": 1 }).to_string()).await;
    let lane = lab.lane();
    let hub = lane["nodes"].as_array().unwrap().iter().find(|node| node["node"] == "hub").unwrap();
    assert_eq!((&hub["effective"], &lane["waiting"]), (&json!(true), &json!(4)), "{lane}");
    assert!(hub["effective_after_ms"].as_u64().is_some(), "{hub}");
    let said = lab.run("revocations").expect(0);
    assert!(said.out.contains("user/tomas is revoked") && said.out.contains("1 of 5 nodes apply it"), "{said:?}");

    // Again is nothing, and what is published still names him.
    assert!(cut_off(&lab, "user/tomas").expect(0).out.contains("nothing to do"));
    assert!(cut_off(&lab, "--settle").expect(0).out.contains("nothing to do"));
    let said = lab.run("compile").expect(3);
    assert!(said.err.contains("users.yaml") && said.err.contains("V25") && said.err.contains("user/tomas"), "{said:?}");
    assert!(!said.err.contains("V4"), "{said:?}");
    let said = lab.run("ca issue --missing").expect(0);
    assert!(said.out.contains("everybody else has") && said.out.contains("they get none: user/tomas"), "{said:?}");
    let users = lab.desk.read("users.yaml");
    let tomas = users.find("tomas:").unwrap();
    let line = users[..tomas].rfind('\n').map_or(0, |at| at + 1);
    fs::write(lab.desk.repo().join("users.yaml"), &users[..line]).unwrap();
    lab.publish();
    cut_off(&lab, "--settle").expect(0);
    let lane = lab.lane();
    assert_eq!((&lane["revoked"], &lane["settled"]), (&json!([]), &json!({ "spiffe://quay.test/user/tomas": 2 })));
    fs::write(lab.desk.repo().join("users.yaml"), users).unwrap();
    lab.run("ca issue --missing").expect(0);
    lab.publish();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_be_locked_out_must_be_meant() {
    let lab = Lab::new().await;
    for words in ["node/pier3", "user/mira", "service/config-server"] {
        let said = cut_off(&lab, words).expect(3);
        assert!(said.err.contains("--allow-lockout"), "{words}: {said:?}");
    }
    assert!(!lab.desk.repo().join(FILE).exists());
    cut_off(&lab, "node/pier3 --allow-lockout").expect(0);
    // It is said once.
    cut_off(&lab, "user/tomas spiffe://quay.test/service/stock").expect(0);
    let file = lab.file();
    assert_eq!(file.revocations().revoked, [id("node/pier3"), id("service/stock"), id("user/tomas")].into());
    assert_eq!(file.revocations().allow_lockout, [id("node/pier3")].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_posted_is_built_upon_if_it_is_trusted() {
    let lab = Lab::new().await;
    let pem = fs::read_to_string(lab.desk.sign_key()).unwrap();
    let key = SigningKey::from_pem(id("management-plane/primary"), &pem).unwrap();
    let cluster = "quay.test".parse().unwrap();
    let base = Version::new(1).unwrap();
    let mut first = Revocations::following(None, &cluster, base, OffsetDateTime::UNIX_EPOCH, "x".into()).unwrap();
    first.revoke(id("service/ledger"));
    let first = first.seal(&key).unwrap();
    let body = String::from_utf8(first.bytes().to_vec()).unwrap();
    assert!(support::post(lab.address, "/revocations", body).await.starts_with("HTTP/1.1 200"));
    cut_off(&lab, "user/tomas").expect(0);
    assert_eq!(lab.file().revocations().revoked, [id("service/ledger"), id("user/tomas")].into());
    assert_eq!(lab.lane()["sequence"], 2);

    // Whose key is not in cluster.yaml signs nothing.
    let said =
        lab.run(&format!("revoke user/ada --reason x --yes --sign-key {}", lab.desk.keys().join("ca.key").display()));
    said.expect(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_revokes_nobody() {
    let lab = Lab::new().await;
    for (slip, meant) in [("user/tomsa", "user/tomas"), ("service/pier2/shel", "service/pier2/shell")] {
        let said = cut_off(&lab, &format!("user/tomas {slip}")).expect(3);
        assert!(said.err.contains(&format!("the nearest names are {meant},")), "{said:?}");
        assert!(said.err.contains("--unknown"), "{said:?}");
    }
    cut_off(&lab, "spiffe://harbour.test/user/tomas").expect(3);
    assert_eq!(lab.lane()["sequence"], 0);
    // Whoever only the log knows may still have a certificate.
    lab.run("ca issue --kind user --name timo").expect(0);
    cut_off(&lab, "user/timo").expect(0);
    cut_off(&lab, "user/nobody --unknown").expect(0);
    assert!(cut_off(&lab, "user/nobody").expect(0).out.contains("nothing to do"));
}

/// What lies compiled only saves requests, so that nobody stays in because Git left a conflict in it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_stays_in_because_the_compiled_tree_cannot_be_read() {
    let lab = Lab::new().await;
    fs::write(lab.desk.repo().join(".flor/compiled/hub.json"), "<<<<<<< HEAD\n").unwrap();
    let said = cut_off(&lab, "user/tomas").expect(0);
    assert!(said.err.contains("warning: ") && said.err.contains("- user/tomas loses service/stock"), "{said:?}");
    assert_eq!(lab.lane()["sequence"], 1);
}

#[test]
fn wrong_words_end_with_2_and_nobody_with_7() {
    let desk = Desk::new();
    let key = desk.sign_key().display().to_string();
    let key = ("FLORCTL_SIGN_KEY", key.as_str());
    desk.command("revoke --reason x", &[key]).expect(2);
    desk.command("revoke user/tomas", &[key]).expect(2);
    desk.command("revoke user/tomas --reason x", &[]).expect(2);
    let variables = [key, ("HOLDFAST_HTTP", "http://127.0.0.1:1"), ("HOLDFAST_TOKEN", "t")];
    desk.command("revoke tomas --reason x --yes", &variables).expect(2);
    desk.command("revoke user/tomas --reason x --yes", &variables).expect(7);
}
