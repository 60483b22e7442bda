//! The runbook of backup and restore, as an operator would type it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_proto::etcdserverpb::{SnapshotRequest, maintenance_client::MaintenanceClient};
use holdfast_testkit::{Binaries, Launch, Server, free_ports};
use serde_json::Value;
use tonic::Status;

use crate::{
    http::{Answer, Request},
    lab::{Caller, Lab, eventually},
    programs::{Said, run},
    tree,
};

const RUNBOOK: &str = include_str!("../../../deploy/runbooks/backup-restore.md");

/// Where the runbook restores to.
const DATA: &str = "/var/lib/holdfast";

/// The commands of the runbook that begin with `words`.
fn commands(words: &str) -> Result<Vec<&'static str>> {
    let found: Vec<_> = RUNBOOK
        .lines()
        .filter(|line| line.starts_with("    "))
        .map(str::trim)
        .filter(|line| line.starts_with(words))
        .collect();
    ensure!(!found.is_empty(), "the runbook has no command that begins with {words:?}");
    Ok(found)
}

/// An operator's desk beside a server.
struct Desk {
    florctl: PathBuf,
    folder: tempfile::TempDir,
}

impl Desk {
    /// Runs a command of the runbook, with `data` in the place of the folder that it names.
    fn run(&self, command: &str, data: &Path) -> Result<Said> {
        let words = command.split_whitespace().skip(1);
        let mut program = Command::new(&self.florctl);
        program.current_dir(self.folder.path()).env("HOLDFAST_DEV_DIR", self.folder.path().join("data"));
        program.args(words.map(|word| if word == DATA { data.as_os_str() } else { word.as_ref() }));
        run(program)
    }

    /// A server whose HTTP door keeps its port: the tokens' issuer is its address.
    fn serve(&self, data: PathBuf, port: u16) -> Result<Lab> {
        let mut launch = Launch::dev(&Binaries::find()?, self.folder.path());
        launch.arguments = vec!["--http".into(), format!("127.0.0.1:{port}")];
        launch.admin_token = data.join("admin.token");
        launch.data = data;
        let mut server = Server::start(launch)?;
        server.wait_ready()?;
        Lab::of(server)
    }
}

/// An access key.
struct Key {
    id: String,
    secret: String,
}

impl Key {
    fn create(desk: &Desk, principal: &str) -> Result<Self> {
        let said = desk.run(&format!("florctl --output json iam credential create {principal}"), Path::new(""))?;
        let made: Value = serde_json::from_str(&said.good()?)?;
        let text = |name: &str| made[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        Ok(Self { id: text("access_key_id")?, secret: text("secret")? })
    }

    /// What its holder is told.
    fn versions(&self, lab: &Lab) -> Result<Answer> {
        let basic = STANDARD.encode(format!("{}:{}", self.id, self.secret));
        Request::get("/versions").header("authorization", format!("Basic {basic}")).send(&lab.at.http)
    }
}

/// What `etcdctl snapshot save` would write.
/// Replaces the key that signs, and gives it up; its name.
fn give_up_signing_key(desk: &Desk, data: &Path) -> Result<String> {
    let answer = |command: &str| Ok::<Value, anyhow::Error>(serde_json::from_str(&desk.run(command, data)?.good()?)?);
    let added = answer("florctl -o json iam key add")?;
    let name = |kid: &Value| kid.as_str().map(str::to_owned).context("a key's name");
    let (old, new) = (name(&added["keys"][0]["kid"])?, name(&added["kid"])?);
    answer(&format!("florctl -o json iam key activate {new} --now"))?;
    answer(&format!("florctl -o json iam key compromise {old}"))?;
    Ok(old)
}

async fn save(api: &Caller, path: &Path) -> Result<()> {
    let mut parts = MaintenanceClient::new(api.channel()).snapshot(api.with(SnapshotRequest {})?).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await? {
        bytes.extend_from_slice(&part.blob);
    }
    Ok(fs::write(path, bytes)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runbook_brings_a_plane_back() -> Result<()> {
    let florctl = Binaries::find()?.path("florctl");
    if !florctl.is_file() {
        eprintln!("SKIPPED: florctl is not built (cargo build -p florctl)");
        return Ok(());
    }
    let desk = Desk { florctl, folder: tempfile::tempdir()? };
    let (old, new) = (desk.folder.path().join("data"), desk.folder.path().join("restored"));
    let [port] = free_ports()?;
    let mut lab = desk.serve(old.clone(), port)?;
    let api = lab.api()?;
    for n in 0..20 {
        api.put(&format!("kept/{n}"), "value").await?;
    }
    let rita = api.principal("user/rita", "operator").await?;
    api.principal("service/ci", "operator").await?;
    let (kept, lost) = (Key::create(&desk, "service/ci")?, Key::create(&desk, "service/ci")?);
    ensure!(lab.post("/publish", &tree::first()?)?.status == 200);
    let revision = api.range("kept/", "kept0", false).await?.header.context("no header")?.revision;
    eventually("twenty writes in the history", || async {
        let count = api.number("SELECT count(*) FROM audit.events WHERE action = 'kv.Put'").await?;
        Ok((count >= 20).then_some(()))
    })
    .await?;

    fs::write(desk.folder.path().join("backup.passphrase"), "seven swans a-swimming\n")?;
    for command in commands("florctl backup")? {
        desk.run(command, &new)?.good()?;
    }
    let checked = desk.run(commands("florctl restore plane.backup --check")?[0], &new)?.good()?;
    ensure!(checked.contains("chainfire") && checked.contains("flaredb"), "{checked}");
    save(&api, &desk.folder.path().join("snapshot.db")).await?;
    let shown = "SELECT count(*) FROM audit.events WHERE action IN ('cluster.Backup', 'maintenance.Snapshot')";
    eventually("both copies in the history", || async { Ok((api.number(shown).await? == 2).then_some(())) }).await?;
    // After the backup: it will not have been.
    api.put("kept/later", "value").await?;
    desk.run(&format!("florctl iam credential revoke {}", lost.id), &new)?.good()?;
    let given_up = give_up_signing_key(&desk, &new)?;
    for command in commands("florctl iam revocations export")? {
        desk.run(command, &new)?.good()?;
    }
    lab.server.terminate()?;

    let wrong = desk.run("florctl restore plane.backup --data-dir x", &new)?.bad()?;
    ensure!(wrong.contains("passphrase"), "{wrong}");
    desk.run(commands("florctl restore plane.backup --data-dir")?[0], &new)?.good()?;
    // A lab keeps its secrets beside its data.
    fs::copy(old.join("dev-secrets"), new.join("dev-secrets"))?;
    fs::rename(&old, desk.folder.path().join("aside"))?;
    fs::rename(&new, &old)?;
    let lab = desk.serve(old, port)?;
    let api = lab.api()?;
    // Nothing that was revoked is back, because nothing is yet.
    let Err(early) = api.range("kept/", "kept0", false).await else { bail!("keys are read before the approval") };
    let early = early.downcast::<Status>()?;
    let hint = early.metadata().get("holdfast-hint").context("no hint")?.to_str()?;
    ensure!(hint.contains("a restore waits for its approval"), "{early}");
    for (key, status) in [(&kept, 503), (&lost, 503)] {
        ensure!(key.versions(&lab)?.status == status);
    }
    let status = desk.run(commands("florctl status")?[0], &new)?.good()?;
    ensure!(status.contains("leader") && status.contains("3.6."), "{status}");
    let status = desk.run(commands("florctl iam restore status")?[0], &new)?.good()?;
    ensure!(status.contains("waits for approval"), "{status}");
    let approved = desk.run(commands("florctl iam restore approve")?[0], &new)?.good()?;
    ensure!(approved.contains("1 access keys"), "{approved}");
    let merged = desk.run("florctl iam restore merge revocations.json", &new)?.good()?;
    ensure!(merged.contains("ended: 0 principals, 0 access keys"), "{merged}");
    for told in [approved, merged] {
        ensure!(told.contains(&format!("florctl iam key compromise {given_up}")), "{told}");
    }
    for (key, status) in [(&kept, 200), (&lost, 401)] {
        ensure!(key.versions(&lab)?.status == status);
    }
    let old = Request::get("/versions").bearer(&rita).send(&lab.at.http)?;
    ensure!(old.status == 401, "no token outlives a restore: {old:?}");

    let found = api.range("kept/", "kept0", false).await?;
    ensure!(found.count == 20 && found.header.context("no header")?.revision > revision + 100_000_000);
    let versions = lab.get("/versions")?;
    ensure!(versions.status == 200 && versions.json()?["current"] == 1, "{versions:?}");
    eventually("the restore in the history, beside what was before", || async {
        let restores = api.number("SELECT count(*) FROM audit.events WHERE action = 'cluster.Restore'").await?;
        let writes = api.number("SELECT count(*) FROM audit.events WHERE action = 'kv.Put'").await?;
        Ok((restores == 1 && writes >= 20).then_some(()))
    })
    .await?;
    api.nothing_twice().await?;
    desk.run(commands("florctl iam whoami")?[0], &new)?.good()?;

    let etcds = desk.folder.path().join("from-etcd");
    let said = desk.run(commands("florctl restore snapshot.db")?[0], &etcds)?.good()?;
    ensure!(said.contains("restored chainfire at revision"), "{said}");
    Ok(())
}
