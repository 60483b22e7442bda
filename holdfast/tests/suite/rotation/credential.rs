//! The rotation of an access key: the new one is made before the old one goes, whatever happens to the servers between.

use anyhow::{Result, ensure};

use crate::plane::{AccessKey, Plane};

#[test]
fn an_access_key_is_replaced_while_servers_are_killed() -> Result<()> {
    let Some(mut plane) = Plane::start(3, &[])? else { return Ok(()) };
    plane.admin(0, "principal create service/ci")?;
    let old = plane.access_key(0, "service/ci")?;
    let only = plane.refused(1, &format!("credential revoke {}", old.id))?;
    ensure!(only.contains("the only live"), "{only}");
    let leader = plane.leader(0)?;
    plane.kill_and_start_again([leader])?;

    let new = plane.access_key(leader, "service/ci")?;
    plane.kill_and_start_again([leader])?;
    for key in [&old, &new] {
        plane.logs_in_everywhere(key)?;
    }
    let leader = plane.leader(0)?;
    let read = plane.admin(leader, &format!("credential secret {}", new.id))?;
    ensure!(read["secret"] == new.secret.as_str(), "what is read back is the secret");
    plane.kill_and_start_again([leader])?;
    let new = AccessKey { secret: super::text(&read["secret"])?, ..new };
    plane.logs_in_everywhere(&new)?;

    let leader = plane.leader(0)?;
    plane.admin(leader, &format!("credential revoke {}", old.id))?;
    plane.kill_and_start_again([leader])?;
    for at in 0..plane.count() {
        ensure!(plane.logs_in(at, &old)? != Some(true), "server {at} lets the old one in");
    }
    plane.kill_all_and_start_again()?;
    ensure!(plane.logs_in(0, &old)? != Some(true));
    plane.logs_in_everywhere(&new)?;
    let listed = plane.admin(2, "credential list service/ci")?;
    let live = listed.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter(|key| key["revoked"] == false);
    ensure!(live.count() == 1, "{listed}");
    Ok(())
}
