//! Policies that somebody wrote, on three servers as operators run them.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use holdfast_testkit::wait_until;

use crate::{
    lab::SOON,
    plane::{Plane, Token},
};

/// Spec §2: "A change is effective on every server within one second".
const EFFECTIVE: Duration = Duration::from_secs(1);

const QUESTION: &str = "explain config.Publish versions/*";

fn allowed(plane: &Plane, at: usize, token: &Token) -> Result<bool> {
    let said = plane.iam(at, &token.token, QUESTION)?.good()?;
    let answer: serde_json::Value = serde_json::from_str(&said)?;
    Ok(answer["allowed"] == true)
}

/// How long it takes until all servers say so.
fn until_everywhere(plane: &Plane, token: &Token, expected: bool) -> Result<Duration> {
    let begun = Instant::now();
    for at in 0..3 {
        wait_until(SOON, &format!("server {at} to say {expected}"), || {
            Ok((allowed(plane, at, token)? == expected).then_some(()))
        })?;
    }
    Ok(begun.elapsed())
}

fn put(plane: &Plane, at: usize, file: &Path, text: &str) -> Result<()> {
    fs::write(file, text)?;
    plane.admin(at, &format!("policy put releases {}", file.display())).map(drop)
}

#[test]
fn a_policy_is_effective_everywhere_and_outlives_its_servers() -> Result<()> {
    let Some(mut plane) = Plane::start(3, &[])? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("releases.cedar");
    plane.admin(0, "principal create service/ci")?;
    let ci = plane.token(0, "service/ci")?;
    ensure!(until_everywhere(&plane, &ci, false)? < SOON);

    let permit = "permit (principal == Service::\"ci\", action == Action::\"config.Publish\", resource is Versions);";
    put(&plane, 1, &file, permit)?;
    let took = until_everywhere(&plane, &ci, true)?;
    // Three programs are started meanwhile, one after the other.
    ensure!(took < EFFECTIVE + Duration::from_secs(2), "{took:?}");

    fs::write(&file, "permit (principal, action ==\n  Action::\"config.Polish\", resource);")?;
    let said = plane.iam(2, plane.administrator(), &format!("policy put releases {}", file.display()))?;
    ensure!(said.err.contains("policy releases, line 2, column 3: unrecognized action"), "{said:?}");
    let shown = plane.admin(0, "policy show releases")?;
    ensure!(shown["text"] == permit && shown["changed_by"] == "bootstrap/admin", "{shown}");

    for at in 0..3 {
        plane.kill(at)?;
    }
    for at in 0..3 {
        plane.cluster.servers_mut()[at].start_again()?;
    }
    plane.cluster.wait_ready()?;
    ensure!(until_everywhere(&plane, &ci, true)? < SOON);

    // One of three may be down.
    plane.kill(0)?;
    plane.admin(1, "policy delete releases")?;
    for at in 1..3 {
        ensure!(!allowed(&plane, at, &ci)?, "server {at}");
    }
    let gone = plane.iam(2, plane.administrator(), "policy show releases")?;
    ensure!(gone.err.contains("there is no policy releases"), "{gone:?}");
    Ok(())
}

#[test]
fn a_person_is_told_why() -> Result<()> {
    let Some(plane) = Plane::start(1, &[])? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("night.cedar");
    plane.admin(0, "principal create user/mira")?;
    plane.admin(0, "grant user/mira operator")?;
    let night = "forbid (principal, action == Action::\"config.Publish\", resource)\n\
        when { context has source && context.source.isInRange(ip(\"10.0.0.0/8\")) };";
    fs::write(&file, night)?;
    let tried = plane.admin(0, &format!("policy put night {} --dry-run", file.display()))?;
    ensure!(tried["revision"] == 0, "{tried}");
    plane.admin(0, &format!("policy put night {}", file.display()))?;
    let ask = |words: &str| plane.told(0, &format!("{QUESTION} --principal user/mira {words}"));
    let allowed = ask("--source 192.0.2.1")?;
    let expected = "allowed by builtin-operator\n\
        permit builtin-operator applies\n\
        forbid night does not apply\n  \
          when { context has source }: holds\n  \
          when { context.source.isInRange(ip(\"10.0.0.0/8\")) }: does not hold\n\
        role operator from binding operator: user/mira\n";
    ensure!(allowed == expected, "{allowed}");
    let denied = ask("--source 10.1.2.3")?;
    ensure!(denied.starts_with("denied by night\n"), "{denied}");
    let simulated = plane.told(0, "policy simulate night --delete")?;
    ensure!(simulated.contains("decisions of ") && simulated.contains("would change"), "{simulated}");
    ensure!(plane.told(0, "policy schema")?.contains("entity Role;"));
    ensure!(plane.told(0, "policy list")?.contains("night"));
    Ok(())
}
