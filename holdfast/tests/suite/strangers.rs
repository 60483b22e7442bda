//! A server that does not belong to its cluster, or not any more, is kept out before it can do harm, and says why. The
//! others go on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_testkit::{Cluster, Launch, Server, wait_until};
use tonic::Code;

use crate::{
    http::Request,
    lab::{Caller, SOON, eventually},
    programs::{HOLDFAST, run},
    three::callers,
};

/// Three servers; `s3` is stopped and will come back as somebody else.
struct Changed {
    cluster: Cluster,
    launch: Launch,
}

impl Changed {
    fn start() -> Result<Self> {
        let mut cluster = Cluster::start(3)?;
        let third = cluster.servers_mut().get_mut(2).context("three servers")?;
        ensure!(third.terminate()?.success());
        let launch = Launch { name: "changed".into(), ..third.launch().clone() };
        Ok(Self { cluster, launch })
    }

    fn config(&self) -> Result<String> {
        let path = self.launch.config.as_ref().context("it has a configuration")?;
        Ok(fs::read_to_string(path)?)
    }

    /// With another configuration.
    fn configured(&mut self, text: &str) -> Result<()> {
        let path = self.folder()?.join("changed.yaml");
        fs::write(&path, text)?;
        self.launch.config = Some(path);
        Ok(())
    }

    fn folder(&self) -> Result<PathBuf> {
        Ok(self.launch.data.parent().context("data is in the server's folder")?.to_owned())
    }

    /// Starts it and returns what it says when it gives up.
    fn refused(&self) -> Result<String> {
        let mut server = Server::start(self.launch.clone())?;
        wait_until(SOON, "a refusal", || Ok((!server.is_running()).then_some(())))?;
        let said = server.log_tail();
        if server.ready().is_ok() {
            bail!("it was ready: {said}");
        }
        Ok(said)
    }

    async fn others_go_on(&self) -> Result<()> {
        let callers = callers(&self.cluster.servers()[..2])?;
        callers[0].put("others", "go on").await?;
        ensure!(callers[1].get("others").await?.as_deref() == Some("go on"));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_in_a_cluster_with_data() -> Result<()> {
    let changed = Changed::start()?;
    fs::remove_dir_all(&changed.launch.data)?;
    let said = changed.refused()?;
    ensure!(said.contains("this server's data folder is empty, but s"), "{said}");
    ensure!(said.contains("had another disk") && said.contains("restore the lost disk"), "{said}");
    changed.others_go_on().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_membership() -> Result<()> {
    let mut changed = Changed::start()?;
    let config = changed.config()?;
    let first = changed.cluster.servers()[0].endpoints()?.peer;
    changed.configured(
        &config.replace(&format!("{{name: s1, peer: \"{first}\"}}"), "{name: s1, peer: \"127.0.0.1:9\"}"),
    )?;
    let said = changed.refused()?;
    ensure!(said.contains("the configured membership differs from the stored one"), "{said}");
    ensure!(said.contains(&format!("slot 0 is s1 at 127.0.0.1:9 here and s1 at {first} in the data folder")), "{said}");

    // The same server under another name of the list.
    changed.configured(&config.replacen("name: s3", "name: s2", 1))?;
    let said = changed.refused()?;
    ensure!(said.contains("s3 (slot 2) in the data folder"), "{said}");
    changed.others_go_on().await
}

/// A certificate of another CA, and one of the right CA that names another server.
#[tokio::test(flavor = "multi_thread")]
async fn another_peer_certificate() -> Result<()> {
    let mut changed = Changed::start()?;
    let config = changed.config()?;
    let folder = changed.folder()?;
    let (own, foreign) = (folder.join("peer"), folder.join("foreign-peer"));
    issue(&folder.join("foreign-ca"), "s3", &foreign)?;
    let ca = folder.parent().context("the cluster's folder")?.join("peer-ca");
    let impostor = folder.join("impostor");
    peer_ca(&["issue", "--name", "s2", "--host", "127.0.0.1"], &[("--ca", &ca), ("--out", &impostor)])?;

    let swapped = |other: &Path, names: &[&str]| {
        let file = |folder: &Path, name: &str| folder.join(name).display().to_string();
        names.iter().fold(config.clone(), |config, name| config.replace(&file(&own, name), &file(other, name)))
    };
    // What the others would refuse, the server itself does.
    let pair = ["peer.crt", "peer.key"];
    for (other, complaint) in
        [(&foreign, "not accepted by"), (&impostor, "the certificate is s2's, and this server is s3")]
    {
        changed.configured(&swapped(other, &pair))?;
        let said = changed.refused()?;
        ensure!(said.contains("peer.crt") && said.contains(complaint), "{said}");
    }

    // With a CA of its own it trusts itself, and nobody else does.
    changed.configured(&swapped(&foreign, &[&pair[..], &["ca.crt"]].concat()))?;
    let mut server = Server::start(changed.launch.clone())?;
    let log = changed.launch.logs.join("changed.log");
    let complaint = "invalid peer certificate";
    wait_until(SOON, complaint, || Ok(fs::read_to_string(&log)?.contains(complaint).then_some(())))
        .map_err(|error| error.context(server.log_tail()))?;
    // It never hears of a leader.
    ensure!(!matches!(server.ready(), Ok(Some(_))), "a stranger was let in");
    changed.others_go_on().await
}

/// Its doors stay closed and say why; its vote counts, so that two wrong environments cannot take the store down.
#[tokio::test(flavor = "multi_thread")]
async fn another_master_key() -> Result<()> {
    let mut changed = Changed::start()?;
    let config = changed.config()?;
    let key = changed.folder()?.join("other-master.key");
    fs::write(&key, "5a".repeat(32))?;
    let line = config.lines().find(|line| line.contains("master_key_file:")).context("a master key")?;
    changed.configured(&config.replace(line, &format!("  master_key_file: {:?}", key.display().to_string())))?;
    // The folder knows the key that its data was sealed with.
    let said = changed.refused()?;
    ensure!(said.contains("IAM_CRED_MASTER_KEY: it is not the key that this server's data was sealed with"), "{said}");

    // On a folder that does not know, it finds out from the cluster.
    fs::remove_file(changed.launch.data.join("master-key.check"))?;
    let mut third = Server::start(changed.launch.clone())?;
    let at = third.wait_ready()?;
    ensure!(third.log_tail().contains("IAM_CRED_MASTER_KEY is not the cluster's"), "{}", third.log_tail());
    let token = changed.cluster.admin_token()?;
    let closed = Request::grpc("/etcdserverpb.KV/Range", b"\n\x01a").bearer(&token).send(&at.api)?;
    closed.expect_grpc(Code::Unavailable, "")?;
    let closed = Request::get("/versions").bearer(&token).send(&at.http)?;
    closed.expect(503, "error", "identity_unavailable")?;

    let two = changed.cluster.servers_mut();
    two[0].kill()?;
    let second = Caller::new(&two[1].endpoints()?.api, &token)?;
    eventually("its vote counts", || async { Ok(second.put("a", "1").await.ok()) }).await
}

fn issue(ca: &Path, name: &str, out: &Path) -> Result<()> {
    peer_ca(&["init"], &[("--out", ca)])?;
    peer_ca(&["issue", "--name", name, "--host", "127.0.0.1"], &[("--ca", ca), ("--out", out)])
}

fn peer_ca(arguments: &[&str], paths: &[(&str, &Path)]) -> Result<()> {
    let mut command = Command::new(HOLDFAST);
    command.arg("peer-ca").args(arguments);
    for (flag, path) in paths {
        command.arg(flag).arg(path);
    }
    run(command)?.good().map(drop)
}
