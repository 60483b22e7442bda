//! The rotation of the signing key, on three servers as operators run them: with real time, short lifetimes, and servers
//! that are killed between the steps.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::wait_until;
use serde_json::Value;

use crate::{lab::SOON, plane::Plane};

const TOKEN: Duration = Duration::from_secs(20);
/// What every verifier forgives of time.
const LEEWAY: Duration = Duration::from_secs(30);
/// The caches' time and the stale limit, and what servers need to come back.
const STEP: Duration = Duration::from_secs(60);
/// Clocks and commands take their time.
const SLACK: Duration = Duration::from_secs(20);

const LIFETIMES: [&str; 5] =
    ["token_ttl_s: 20", "max_token_ttl_s: 20", "jwks_cache_s: 5", "stale_limit_s: 10", "key_retirement_s: 5"];

const CI: &str = "service/ci";

#[test]
fn a_signing_key_is_rotated_while_servers_are_killed() -> Result<()> {
    let Some(mut plane) = Plane::start(3, &LIFETIMES)? else { return Ok(()) };
    plane.admin(0, "principal create service/ci")?;
    plane.admin(0, "grant service/ci reader")?;
    let first = plane.keys(0)?.into_iter().next().context("the first key")?.0;

    let added = plane.admin(1, "key add")?;
    let second = added["kid"].as_str().context("its name")?.to_owned();
    plane.settled(&[(&first, "active"), (&second, "pending")])?;
    if let Some(published) = plane.published(2)? {
        ensure!(published == [first.clone(), second.clone()], "published before it signs: {published:?}");
    }
    let early = plane.refused(2, &format!("key activate {second}"))?;
    ensure!(early.contains("is pending; to activate it becomes possible in"), "{early}");
    ensure!(plane.token(0, CI)?.kid == first);

    // The step is taken with a server down, and the server learns of it.
    plane.kill(0)?;
    plane.step_in_time(1, &format!("key activate {second}"), SOON)?;
    ensure!(plane.token(2, CI)?.kid == second);
    plane.start_again(0)?;
    plane.settled(&[(&first, "verify-only"), (&second, "active")])?;

    // Back and forth: until it is retired, a key may come back.
    plane.admin(1, &format!("key activate {first}"))?;
    let old = plane.token(2, CI)?;
    ensure!(old.kid == first);
    plane.admin(2, &format!("key activate {second}"))?;
    plane.accepted_everywhere(&old)?;

    for step in ["retire", "purge"] {
        let early = plane.refused(0, &format!("key {step} {first}"))?;
        let why = if step == "retire" { "becomes possible in" } else { "retire it first" };
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
    plane.step_in_time(2, &format!("key retire {first}"), TOKEN + LEEWAY + SLACK)?;
    ensure!(SystemTime::now() >= old.expires + LEEWAY, "a token of the old key may still have been good");
    plane.settled(&[(&first, "retired"), (&second, "active")])?;
    if let Some(published) = plane.published(0)? {
        ensure!(published == [second.clone()], "{published:?}");
    }
    ensure!(plane.refused(1, &format!("key activate {first}"))?.contains("a retired one stays retired"));

    plane.step_in_time(1, &format!("key purge {first}"), SOON)?;
    plane.settled(&[(&second, "active")])?;
    plane.accepted_everywhere(&plane.token(0, CI)?)
}

/// `florctl iam rotate`: the servers take the steps, whichever of them are killed meanwhile.
#[test]
fn a_rotation_goes_on_while_servers_are_killed() -> Result<()> {
    let Some(mut plane) = Plane::start(3, &LIFETIMES)? else { return Ok(()) };
    plane.admin(0, "principal create service/ci")?;
    let plan = plane.admin(0, "rotate --plan")?;
    let stages: Vec<_> = plan["stages"].as_array().context("stages")?.iter().map(|stage| &stage["stage"]).collect();
    ensure!(stages == ["add", "activate", "retire", "purge"], "{plan}");

    let started = plane.admin(1, "rotate")?;
    let (from, to) = (text(&started["from"])?, text(&started["to"])?);
    let old = plane.token(1, CI)?;
    ensure!(old.kid == from, "the new key is published and does not sign yet");
    plane.kill(1)?;
    ensure!(plane.refused(2, "rotate")?.contains("must end before another one begins"));
    plane.rotation_reaches(2, "running", "activate", STEP)?;
    plane.start_again(1)?;
    plane.settled(&[(&from, "verify-only"), (&to, "active")])?;
    let new = plane.token(1, CI)?;
    ensure!(new.kid == to);
    plane.accepted_everywhere(&old)?;
    plane.accepted_everywhere(&new)?;

    plane.kill_all_and_start_again()?;
    plane.rotation_reaches(0, "running", "retire", TOKEN + LEEWAY + STEP)?;
    ensure!(SystemTime::now() >= old.expires + LEEWAY, "a token of the old key may still have been good");
    plane.kill(0)?;
    plane.rotation_reaches(1, "done", "purge", STEP)?;
    plane.start_again(0)?;
    plane.settled(&[(&to, "active")])?;
    plane.accepted_everywhere(&plane.token(0, CI)?)
}

#[test]
fn a_rotation_is_aborted_while_servers_are_killed() -> Result<()> {
    let Some(mut plane) = Plane::start(3, &LIFETIMES)? else { return Ok(()) };
    plane.admin(0, "principal create service/ci")?;
    let started = plane.admin(0, "rotate --until add")?;
    let (from, first) = (text(&started["from"])?, text(&started["to"])?);
    plane.kill(0)?;
    plane.admin(1, "rotate abort")?;
    plane.rotation_reaches(2, "aborted", "add", STEP)?;
    plane.start_again(0)?;
    plane.settled(&[(&from, "active"), (&first, "retired")])?;

    let second = text(&plane.admin(2, "rotate --until activate")?["to"])?;
    let old = plane.token(0, CI)?;
    plane.rotation_reaches(0, "paused", "activate", STEP)?;
    let new = plane.token(1, CI)?;
    ensure!((&old.kid, &new.kid) == (&from, &second));
    plane.admin(0, "rotate abort")?;
    plane.kill_all_and_start_again()?;
    plane.rotation_reaches(1, "aborting", "add", STEP)?;
    plane.settled(&[(&from, "active"), (&first, "retired"), (&second, "verify-only")])?;
    ensure!(plane.token(2, CI)?.kid == from);
    plane.accepted_everywhere(&old)?;
    plane.accepted_everywhere(&new)?;
    plane.rotation_reaches(2, "aborted", "add", TOKEN + LEEWAY + STEP)?;
    ensure!(SystemTime::now() >= new.expires + LEEWAY, "a token of the new key may still have been good");
    plane.settled(&[(&from, "active"), (&first, "retired"), (&second, "retired")])
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).context("text")
}
