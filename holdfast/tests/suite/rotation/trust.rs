//! The rotation of the authority that issues certificates, on three servers as operators run them, with connections that are
//! open meanwhile, and servers that are killed between the steps.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::wait_until;
use serde_json::Value;

use super::{
    open::{CUT, Open},
    text,
};
use crate::{lab::SOON, node::Node, plane::Plane, runbook::Runbook};

const RUNBOOK: &str = include_str!("../../../../deploy/runbooks/trust-rotation.md");
const CACHE: &str = "jwks_cache_s: 2";
fn states(answer: &Value) -> Vec<(String, String)> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let roots = answer["roots"].as_array().map(Vec::as_slice).unwrap_or_default();
    roots.iter().map(|root| (word(&root["id"]), word(&root["state"]))).collect()
}

/// Waits until every server shows the authorities in these states.
fn settled(plane: &Plane, expected: &[(&str, &str)]) -> Result<()> {
    for at in 0..3 {
        wait_until(SOON, &format!("server {at} to show {expected:?}"), || {
            let found = states(&plane.admin(at, "trust list")?);
            Ok(found.iter().map(|(id, state)| (id.as_str(), state.as_str())).eq(expected.iter().copied()).then_some(()))
        })?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_is_rotated_and_its_removal_closes_connections_on_every_server() -> Result<()> {
    let Some(mut plane) = Plane::start(3, &[CACHE, "stale_limit_s: 10", "key_retirement_s: 2"])? else { return Ok(()) };
    let runbook = Runbook::new(RUNBOOK);
    let first = states(&plane.admin(0, &runbook.iam("trust list", &[])?)?).remove(0).0;
    let old = Node::enroll(&plane, 0, "pier1").await?;

    let added = plane.admin(1, &runbook.iam("trust add", &[])?)?;
    let second = text(&added["id"])?;
    settled(&plane, &[(&first, "active"), (&second, "trusted")])?;
    let between = Node::enroll(&plane, 2, "pier2").await?;
    ensure!(between.answer.ca_bundle.len() == 2, "who joins meanwhile knows both");

    // Taken with a server down, which learns of it; its word is waited for, until time is up for it.
    plane.kill(0)?;
    plane.step_in_time(1, &runbook.iam("trust activate NEW-AUTHORITY", &[("NEW-AUTHORITY", &second)])?, SOON)?;
    plane.start_again(0)?;
    settled(&plane, &[(&first, "overlap"), (&second, "active")])?;
    let new = Node::enroll(&plane, 0, "pier3").await?;
    for at in 0..3 {
        for node in [&old, &between, &new] {
            ensure!(node.is_known(&plane, at).await?, "both count, at server {at}");
        }
    }

    let early = plane.refused(2, &runbook.iam("trust remove OLD-AUTHORITY", &[("OLD-AUTHORITY", &first)])?)?;
    ensure!(early.contains("is overlap; to retire it becomes possible in"), "{early}");
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), old.pem())?;
    let check = runbook.run(&plane, 0, "trust check", &[("node.crt", &file.path().display().to_string())])?;
    let verdict = |at: usize| (check["verdicts"][at]["when"].as_str(), check["verdicts"][at]["principal"].as_str());
    ensure!(verdict(0) == (Some("now"), Some("node/pier1")), "{check}");
    ensure!(verdict(1).1 == Some("") && verdict(2).1 == Some("node/pier1"), "{check}");

    let mut gone = Vec::new();
    let mut staying = Vec::new();
    for at in 0..3 {
        gone.push(tokio::spawn(Open::at(&plane, at, &old).await?.ended()));
        staying.push(Open::at(&plane, at, &new).await?);
    }
    let removed_at = Instant::now();
    let removed = plane.admin(1, &format!("trust remove {first} --force"))?;
    let answered_at = Instant::now();
    for (at, gone) in gone.into_iter().enumerate() {
        let ended = gone.await??;
        ensure!(ended <= answered_at + CUT, "server {at}: {:?} after the command began", ended - removed_at);
    }
    for server in removed["enforced"].as_array().context("what each server says")? {
        ensure!(server["enforced"] == true && server["closed"].as_u64() >= Some(3), "{removed}");
    }
    for (at, mut open) in staying.into_iter().enumerate() {
        let next = tokio::time::timeout(Duration::from_millis(1500), open.watch.message()).await;
        ensure!(next.is_err(), "the other node's watch goes on at server {at}");
        ensure!(!old.is_known(&plane, at).await? && new.is_known(&plane, at).await?, "at server {at}");
    }

    // What was decided stands whatever happens to the servers.
    for at in 0..3 {
        plane.kill(at)?;
    }
    for at in 0..3 {
        plane.cluster.servers_mut().get_mut(at).context("no such server")?.start_again()?;
    }
    plane.cluster.wait_ready()?;
    settled(&plane, &[(&first, "removed"), (&second, "active")])?;
    ensure!(!old.is_known(&plane, 0).await? && new.is_known(&plane, 2).await?);
    plane.step_in_time(2, &runbook.iam("trust purge", &[("OLD-AUTHORITY", &first)])?, SOON)?;
    settled(&plane, &[(&second, "active")])?;

    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), new.pem())?;
    let serial = plane.admin(0, &format!("trust check --cert {}", file.path().display()))?;
    let serial = serial["serial"].as_str().context("its serial number")?;
    let open = Open::at(&plane, 1, &new).await?;
    runbook.run(&plane, 2, "trust deny", &[("SERIAL", serial)])?;
    open.ended().await?;
    for at in 0..3 {
        ensure!(!new.is_known(&plane, at).await?, "denied at server {at}");
    }
    let denied = runbook.run(&plane, 0, "trust denied", &[])?;
    ensure!(denied[0]["serial"] == serial && denied[0]["reason"] == "stolen" && denied[1].is_null(), "{denied}");
    runbook.run(&plane, 2, "trust allow", &[("SERIAL", serial)])?;
    ensure!(new.is_known(&plane, 2).await?);
    ensure!(plane.admin(2, "trust denied")?[0].is_null(), "it counts again");

    // Somebody else has the key. The next one issues as soon as every server says that it knows it.
    let third = text(&plane.admin(0, &runbook.iam("trust add", &[])?)?["id"])?;
    runbook.run(&plane, 1, "trust activate NEW-AUTHORITY --now", &[("NEW-AUTHORITY", &third)])?;
    let newest = Node::enroll(&plane, 1, "pier4").await?;
    let opened = [Open::at(&plane, 0, &new).await?, Open::at(&plane, 2, &new).await?];
    let distrusted = runbook.run(&plane, 1, "trust distrust", &[("OLD-AUTHORITY", &second)])?;
    let answered_at = Instant::now();
    for open in opened {
        ensure!(open.ended().await? <= answered_at + CUT, "{distrusted}");
    }
    settled(&plane, &[(&second, "distrusted"), (&third, "active")])?;
    for at in 0..3 {
        ensure!(!new.is_known(&plane, at).await? && newest.is_known(&plane, at).await?, "at server {at}");
    }
    let back = plane.refused(0, &format!("trust activate {second} --force"))?;
    ensure!(back.contains("a retired one stays retired"), "{back}");
    let plan = runbook.run(&plane, 0, "rotate --family authority --plan", &[])?;
    ensure!(plan["from"] == third.as_str() && plan["stages"][3]["stage"] == "purge", "{plan}");
    runbook.run(&plane, 1, "rotate --family authority", &[])?;
    let status = runbook.run(&plane, 2, "rotate status --family authority", &[])?;
    ensure!(status["state"] == "running" && status["from"] == third.as_str(), "{status}");

    let steps = wait_until(SOON, "the history of the authorities", || {
        let shown = runbook.history(&plane)?;
        Ok(shown.contains("iam.AuthorityDistrust").then_some(shown))
    })?;
    ensure!(steps.contains("iam.AuthorityPurge"), "{steps}");
    runbook.is_done()
}
