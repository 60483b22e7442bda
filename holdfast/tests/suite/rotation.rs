//! The rotation of the signing key, on three servers as operators run them: with real time, short lifetimes, and servers
//! that are killed between the steps.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{Server, wait_until};

use crate::{lab::SOON, plane::Plane};

const TOKEN: Duration = Duration::from_secs(20);
/// What every verifier forgives of time.
const LEEWAY: Duration = Duration::from_secs(30);
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
    for at in 0..3 {
        plane.kill(at)?;
    }
    plane.cluster.servers_mut().iter_mut().try_for_each(Server::start_again)?;
    plane.cluster.wait_ready()?;
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
