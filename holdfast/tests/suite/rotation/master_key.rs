//! The rotation of the master key, by its runbook.

use anyhow::{Result, ensure};
use holdfast_testkit::wait_until;

use crate::{lab::SOON, plane::Plane, runbook::Runbook};

pub(super) const RUNBOOK: &str = include_str!("../../../../deploy/runbooks/master-key-rotation.md");
const FAMILY: &str = "master-key";
const SETTING: &str = "previous_master_key_file";

/// Makes a new key, as the runbook says; the servers have it from their next starts on.
pub(super) fn make_new(plane: &Plane, runbook: &Runbook) -> Result<()> {
    let secrets = plane.secrets()?;
    runbook.shell(&secrets, "umask 077; openssl")?;
    runbook.shell(&secrets, "mv master.key master.key.previous")
}

/// Gives server `at` the key before beside the new one, for its next start.
pub(super) fn hold_both(plane: &Plane, at: usize) -> Result<()> {
    let previous = plane.secrets()?.join("master.key.previous");
    plane.configure(at, |text| text.replacen("secrets:\n", &format!("secrets:\n  {SETTING}: {previous:?}\n"), 1))
}

pub(super) fn hold_one(plane: &Plane, at: usize) -> Result<()> {
    plane.configure(at, |text| {
        text.lines().filter(|line| !line.contains(SETTING)).map(|line| format!("{line}\n")).collect()
    })
}

#[test]
fn the_master_key_is_rotated_by_the_runbook() -> Result<()> {
    let Some(mut plane) = Plane::start(3, &["stale_limit_s: 10", "key_retirement_s: 2"])? else { return Ok(()) };
    let runbook = Runbook::new(RUNBOOK);
    plane.admin(0, "principal create service/ci")?;
    let before = plane.access_key(0, "service/ci")?;
    let token = plane.token(0, "service/ci")?;
    let early = plane.refused(1, "rotate --family master-key")?;
    ensure!(early.contains("IAM_CRED_MASTER_KEY of this server is the active master key"), "{early}");

    make_new(&plane, &runbook)?;
    for at in [0, 1] {
        hold_both(&plane, at)?;
        plane.kill_and_start_again([at])?;
    }
    let behind = || -> Result<Vec<String>> {
        let plan = runbook.run(&plane, 0, "rotate --family master-key --plan", &[])?;
        let behind = plan["behind"].as_array().cloned().unwrap_or_default();
        behind.iter().map(|word| super::text(&word["verifier"])).collect()
    };
    wait_until(SOON, "two servers to say that they hold the new key", || {
        Ok((behind()? == ["server/s3"]).then_some(()))
    })?;
    runbook.run(&plane, 1, "rotate --family master-key --until retire", &[])?;
    let waits = runbook.run(&plane, 0, "rotate status --family master-key", &[])?;
    ensure!(super::text(&waits["waits"])?.contains("becomes possible once these acknowledge: server/s3"), "{waits}");
    ensure!(plane.rotation_is(2, FAMILY, "running", "add")?);

    hold_both(&plane, 2)?;
    plane.kill_and_start_again([2])?;
    plane.rotation_reaches(0, FAMILY, "paused", "retire", SOON)?;
    plane.logs_in_everywhere(&before)?;
    plane.accepted_everywhere(&token)?;

    // The new key is enough now, and the old one is not any more.
    for at in 0..3 {
        hold_one(&plane, at)?;
        plane.kill_and_start_again([at])?;
    }
    plane.logs_in_everywhere(&before)?;
    plane.logs_in_everywhere(&plane.access_key(1, "service/ci")?)?;
    plane.accepted_everywhere(&plane.token(2, "service/ci")?)?;
    plane.configure(1, |text| text.replace("master.key", "master.key.previous"))?;
    plane.kill(1)?;
    let refused = plane.start_refused(1)?;
    ensure!(refused.contains("exit status: 78"), "{refused}");
    ensure!(
        refused.contains("IAM_CRED_MASTER_KEY: it is not the key") && refused.contains("one that was replaced"),
        "{refused}"
    );
    plane.configure(1, |text| text.replace("master.key.previous", "master.key"))?;
    plane.start_again(1)?;

    runbook.run(&plane, 2, "rotate resume --family master-key", &[])?;
    plane.rotation_reaches(1, FAMILY, "done", "purge", SOON)?;
    let steps = wait_until(SOON, "the history of the rotation", || {
        let shown = runbook.history(&plane)?;
        Ok(shown.contains("iam.MasterKeyPurge").then_some(shown))
    })?;
    for step in ["iam.MasterKeyAdd", "iam.MasterKeyActivate", "iam.MasterKeyRetire"] {
        ensure!(steps.contains(step), "{steps}");
    }
    runbook.is_done()
}
