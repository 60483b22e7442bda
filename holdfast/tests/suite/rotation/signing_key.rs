//! The rotation of the signing key step by step, by its runbook, with servers that are killed between the steps.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::wait_until;

use super::text;
use crate::{lab::SOON, plane::Plane, runbook::Runbook};

const RUNBOOK: &str = include_str!("../../../../deploy/runbooks/signing-key-rotation.md");

const TOKEN: Duration = Duration::from_secs(10);
/// What every verifier forgives of time.
const LEEWAY: Duration = Duration::from_secs(30);
/// Clocks and commands take their time.
const SLACK: Duration = Duration::from_secs(20);

const LIFETIMES: [&str; 5] =
    ["token_ttl_s: 10", "max_token_ttl_s: 10", "jwks_cache_s: 5", "stale_limit_s: 10", "key_retirement_s: 5"];

const CI: &str = "service/ci";

#[test]
fn a_signing_key_is_rotated_while_servers_are_killed() -> Result<()> {
    let Some(mut plane) = Plane::start(3, &LIFETIMES)? else { return Ok(()) };
    let runbook = Runbook::new(RUNBOOK);
    plane.admin(0, "principal create service/ci")?;
    plane.admin(0, "grant service/ci reader")?;
    let first = plane.keys(0)?.into_iter().next().context("the first key")?.0;

    let second = text(&runbook.run(&plane, 1, "key add", &[])?["kid"])?;
    plane.settled(&[(&first, "active"), (&second, "pending")])?;
    if let Some(published) = plane.published(2)? {
        ensure!(published == [first.clone(), second.clone()], "published before it signs: {published:?}");
    }
    let activate = runbook.iam("key activate KEY", &[("KEY", &second)])?;
    let early = plane.refused(2, &activate)?;
    ensure!(early.contains("is pending; to activate it becomes possible in"), "{early}");
    ensure!(plane.token(0, CI)?.kid == first);

    // The step is taken with a server down, and the server learns of it.
    plane.kill(0)?;
    plane.step_in_time(1, &activate, SOON)?;
    ensure!(plane.token(2, CI)?.kid == second);
    plane.start_again(0)?;
    plane.settled(&[(&first, "verify-only"), (&second, "active")])?;

    // Back and forth: until it is retired, a key may come back.
    plane.admin(1, &format!("key activate {first}"))?;
    let old = plane.token(2, CI)?;
    ensure!(old.kid == first);
    plane.admin(2, &activate)?;
    plane.accepted_everywhere(&old)?;

    let retire = runbook.iam("key retire OLD-KEY", &[("OLD-KEY", &first)])?;
    let purge = runbook.iam("key purge OLD-KEY", &[("OLD-KEY", &first)])?;
    for (step, words, why) in [("retire", &retire, "becomes possible in"), ("purge", &purge, "retire it first")] {
        let early = plane.refused(0, words)?;
        ensure!(early.contains(&format!("is verify-only; to {step} it")) && early.contains(why), "{early}");
    }
    ensure!(plane.refused(1, &format!("key retire {second}"))?.contains("activate another one first"));
    plane.kill_all_and_start_again()?;
    plane.settled(&[(&first, "verify-only"), (&second, "active")])?;

    // Good until its end, and useless after it, whoever is asked.
    for at in 0..3 {
        wait_until(TOKEN + LEEWAY + SLACK, "the old token to be refused", || {
            let asked = SystemTime::now();
            let accepted = plane.accepts(at, &old)?;
            ensure!(accepted || asked > old.expires, "refused before its end");
            Ok((!accepted).then_some(()))
        })?;
    }
    // Every server has said that it signs no more with the old key, so nobody waits for the worst case.
    plane.step_in_time(2, &retire, TOKEN + LEEWAY + SLACK)?;
    ensure!(SystemTime::now() >= old.expires + LEEWAY, "a token of the old key may still have been good");
    plane.settled(&[(&first, "retired"), (&second, "active")])?;
    if let Some(published) = plane.published(0)? {
        ensure!(published == [second.clone()], "{published:?}");
    }
    ensure!(plane.refused(1, &format!("key activate {first}"))?.contains("a retired one stays retired"));

    plane.step_in_time(1, &purge, SOON)?;
    plane.settled(&[(&second, "active")])?;
    let good = plane.token(0, CI)?;
    plane.accepted_everywhere(&good)?;

    // Somebody else has the key: what it signed is void at once, and it never comes back.
    let third = text(&runbook.run(&plane, 0, "key add", &[])?["kid"])?;
    runbook.run(&plane, 1, "key activate NEW-KEY --now", &[("NEW-KEY", &third)])?;
    let next = plane.token(2, CI)?;
    runbook.run(&plane, 2, "key compromise OLD-KEY", &[("OLD-KEY", &second)])?;
    plane.settled(&[(&second, "compromised"), (&third, "active")])?;
    for at in 0..3 {
        ensure!(!plane.accepts(at, &good)? && plane.accepts(at, &next)?, "at server {at}");
    }

    // Only its tokens shall end early.
    let fourth = text(&plane.admin(1, "key add")?["kid"])?;
    plane.admin(0, &format!("key activate {fourth} --now"))?;
    let last = plane.token(1, CI)?;
    let population = [("OLD-KEY", third.as_str())];
    let rehearsal = runbook.run(&plane, 0, "key retire OLD-KEY --revoke-population --dry-run", &population)?;
    ensure!(text(&rehearsal["breaks"])?.contains("void at once"), "{rehearsal}");
    plane.accepted_everywhere(&next)?;
    runbook.run(&plane, 0, "key retire OLD-KEY --revoke-population", &population)?;
    plane.settled(&[(&second, "compromised"), (&third, "retired"), (&fourth, "active")])?;
    for at in 0..3 {
        ensure!(!plane.accepts(at, &next)? && plane.accepts(at, &last)?, "at server {at}");
    }

    let plan = runbook.run(&plane, 0, "rotate --plan", &[])?;
    let stages: Vec<_> = plan["stages"].as_array().context("stages")?.iter().map(|stage| &stage["stage"]).collect();
    ensure!(stages == ["add", "activate", "retire", "purge"] && plan["from"] == fourth.as_str(), "{plan}");
    runbook.run(&plane, 1, "rotate", &[])?;
    let status = runbook.run(&plane, 2, "rotate status", &[])?;
    ensure!(status["state"] == "running" && status["from"] == fourth.as_str(), "{status}");
    wait_until(SOON, "the history of the keys", || {
        Ok(runbook.history(&plane)?.contains("iam.SigningKeyCompromise").then_some(()))
    })?;
    runbook.is_done()
}
