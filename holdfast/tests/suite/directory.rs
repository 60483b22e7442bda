//! Groups, and rights on keys: what florctl gives and takes counts for etcd's clients at once.

use anyhow::{Context as _, Result, ensure};

use crate::{
    plane::Plane,
    programs::{Etcdctl, Said, run},
};

/// An etcd client with an access key.
struct Client<'a> {
    plane: &'a Plane,
    etcdctl: Etcdctl,
}

impl Client<'_> {
    fn says(&self, words: &[&str]) -> Result<Said> {
        let mut command = self.etcdctl.command(words);
        command.arg("--cacert").arg(&self.plane.ca);
        run(command)
    }

    fn may(&self, words: &[&str]) -> Result<bool> {
        let said = self.says(words)?;
        ensure!(said.code == Some(0) || said.err.contains("permission denied"), "{words:?}: {said:?}");
        Ok(said.code == Some(0))
    }
}

#[test]
fn rights_on_keys_are_given_forbidden_and_taken_back() -> Result<()> {
    let Some(plane) = Plane::start(1, &[])? else { return Ok(()) };
    plane.admin(0, "principal create service/ci")?;
    let made = plane.admin(0, "credential create service/ci")?;
    let (id, secret) = (made["access_key_id"].as_str().context("id")?, made["secret"].as_str().context("secret")?);
    let again = plane.admin(0, &format!("credential secret {id}"))?;
    ensure!(again["secret"] == secret, "an admin reads it back");
    let endpoint = format!("https://{}", plane.endpoints(0)?.api);
    let Some(etcdctl) = Etcdctl::find(&endpoint, Some(format!("{id}:{secret}")))? else { return Ok(()) };
    let client = Client { plane: &plane, etcdctl };
    ensure!(!client.may(&["put", "ci/a", "1"])?, "nothing is given yet");

    plane.admin(0, "group add robots service/ci")?;
    let given = plane.admin(0, "grant-keys group/robots readwrite ci/ --prefix")?;
    let name = given[0]["name"].as_str().context("its name")?.to_owned();
    plane.admin(0, "grant-keys service/ci read ci/secret/ --prefix --forbid")?;
    ensure!(client.may(&["put", "ci/a", "1"])? && client.may(&["get", "ci/a"])?);
    ensure!(client.may(&["put", "ci/secret/x", "1"])?, "only reading is forbidden");
    ensure!(!client.may(&["get", "ci/secret/x"])? && !client.may(&["get", "--prefix", "ci/"])?);
    ensure!(!client.may(&["put", "cj", "1"])?);

    let members = plane.admin(0, "group list robots")?;
    ensure!(members[0]["member"] == "service/ci", "{members}");
    let told = plane.told(0, "grants")?;
    ensure!(told.contains("-[ci/secret/, ci/secret0) r") && told.contains("[ci/, ci0) rw"), "{told}");
    ensure!(plane.refused(0, "group add robots group/robots")?.contains("cannot be in group/robots"));

    plane.admin(0, &format!("revoke-grant group/robots {name}"))?;
    ensure!(!client.may(&["put", "ci/a", "2"])?, "taken back");
    plane.admin(0, "grant-keys group/robots write ci/a")?;
    ensure!(client.may(&["put", "ci/a", "2"])? && !client.may(&["put", "ci/b", "2"])?);
    plane.admin(0, "group remove robots service/ci")?;
    ensure!(!client.may(&["put", "ci/a", "3"])?);

    // The token that the servers were set up with goes for good, by an admin of one's own.
    ensure!(plane.refused(0, "bootstrap disable --reason done")?.contains("an admin of your own"));
    plane.admin(0, "principal create user/mira")?;
    plane.admin(0, "grant user/mira admin")?;
    let mira = plane.token(0, "user/mira")?;
    ensure!(plane.iam(0, &mira.token, "bootstrap disable --reason done")?.err.contains("no admin has an access key"));
    plane.iam(0, &mira.token, "credential create user/mira")?.good()?;
    plane.iam(0, &mira.token, "bootstrap disable --reason done")?.good()?;
    let refused = plane.iam(0, plane.administrator(), "whoami")?;
    ensure!(refused.code != Some(0) && refused.err.contains("authentication failed"), "{refused:?}");
    Ok(())
}
