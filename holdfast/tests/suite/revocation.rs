//! What a revocation is worth on servers as operators run them: who enforces it, and who is not known to.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use crate::{
    plane::{Plane, Token},
    tokens,
};

/// The stale limit as the servers have it here.
const STALE: Duration = Duration::from_secs(60);

#[test]
fn a_revocation_counts_the_servers_that_enforce_it() -> Result<()> {
    let Some(mut plane) = Plane::start(3, &["stale_limit_s: 60"])? else { return Ok(()) };
    plane.admin(0, "principal create service/ci")?;
    let issued = [plane.token(0, "service/ci")?, plane.token(1, "service/ci")?];
    let [first, second] = &issued;
    for token in &issued {
        plane.accepted_everywhere(token)?;
    }

    let receipt = plane.admin(2, &format!("token revoke --jti {} --wait 20s", name(first)?))?;
    ensure!((&receipt["enforced"], &receipt["servers"]) == (&3.into(), &3.into()), "{receipt}");
    ensure!(receipt["servers_until_ms"] == 0, "{receipt}");
    for at in 0..3 {
        ensure!(!plane.accepts(at, first)?, "server {at} has said that it refuses it");
    }

    plane.kill(1)?;
    let asked = SystemTime::now();
    let receipt = plane.admin(2, &format!("token revoke --jti {} --wait 5s", name(second)?))?;
    ensure!((&receipt["enforced"], &receipt["servers"]) == (&2.into(), &3.into()), "{receipt}");
    ensure!(receipt["stragglers"][0]["verifier"] == "server/s2", "{receipt}");
    let until_ms = receipt["servers_until_ms"].as_u64().context("the worst case")?;
    ensure!(UNIX_EPOCH + Duration::from_millis(until_ms + 1) >= asked + STALE, "{receipt}");
    // What it knew before it was killed is not what it answers from.
    plane.start_again(1)?;
    for at in 0..3 {
        ensure!(!plane.accepts(at, second)?, "server {at} accepts it");
    }
    let verifiers = plane.admin(0, "verifiers")?;
    ensure!(verifiers["verifiers"].as_array().is_some_and(|all| all.len() == 3), "{verifiers}");
    Ok(())
}

fn name(token: &Token) -> Result<String> {
    tokens::opened(&token.token)?.1["jti"].as_str().map(str::to_owned).context("its name")
}
