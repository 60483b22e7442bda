//! Snapshots go to a real etcd and come from one (§2.9). The programs are those of the release that is found: Debian's
//! `etcd-server` and `etcd-client` (3.4), or `etcd`, `etcdctl` and `etcdutl` of 3.6 in a folder that the variable
//! `HOLDFAST_ETCD` names.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use holdfast_proto::{
    etcdserverpb::{
        AuthenticateRequest, HashKvRequest, LeaseLeasesRequest, RangeRequest, SnapshotRequest, auth_client::AuthClient,
        kv_client::KvClient, lease_client::LeaseClient, maintenance_client::MaintenanceClient,
    },
    mvccpb::KeyValue,
};
use tempfile::TempDir;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::{
    copies::{COMPACTED, LAST, fill, hashes, save, save_as},
    kv::{get, put},
    restores::{everything, from_file},
    support::TestServer,
    users::{from, guarded},
};

/// A program of etcd, if there is one.
fn program(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("HOLDFAST_ETCD").map(|folder| PathBuf::from(folder).join(name));
    let path = named.filter(|path| path.is_file()).unwrap_or_else(|| name.into());
    let found = Command::new(&path).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        eprintln!("SKIPPED: {name} is not installed (Debian: etcd-server, etcd-client)");
    }
    found.is_ok().then_some(path)
}

/// What restores snapshots: `etcdutl`, and before 3.5 `etcdctl`.
fn restorer() -> Option<PathBuf> {
    program("etcdutl").or_else(|| program("etcdctl"))
}

fn run(program: &Path, args: &[&str]) -> anyhow::Result<String> {
    let Output { status, stdout, stderr } = Command::new(program).env("ETCDCTL_API", "3").args(args).output()?;
    anyhow::ensure!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    Ok(String::from_utf8(stdout)?)
}

/// A running etcd.
struct Etcd {
    process: Child,
    folder: TempDir,
    channel: Channel,
}

impl Etcd {
    /// On the data in `folder`, or on none.
    async fn start(program: &Path, folder: TempDir) -> anyhow::Result<Self> {
        let free = || anyhow::Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?);
        let (client, peer) = (format!("http://{}", free()?), format!("http://{}", free()?));
        let process = Command::new(program)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let channel = Endpoint::new(client)?.connect_lazy();
        let etcd = Self { process, folder, channel };
        let deadline = Instant::now() + Duration::from_secs(60);
        let ready = RangeRequest { key: "ready".into(), ..Default::default() };
        while let Err(error) = etcd.kv().range(ready.clone()).await {
            // Where users count, it answers that there is none.
            if error.code() != Code::Unavailable {
                break;
            }
            anyhow::ensure!(Instant::now() < deadline, "etcd does not answer: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(etcd)
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    async fn hashes(&self) -> anyhow::Result<Vec<u32>> {
        let mut hashes = Vec::new();
        for revision in COMPACTED + 1..=LAST {
            let mut maintenance = MaintenanceClient::new(self.channel.clone());
            hashes.push(maintenance.hash_kv(HashKvRequest { revision }).await?.into_inner().hash);
        }
        Ok(hashes)
    }

    async fn everything(&self, revision: i64) -> anyhow::Result<Vec<KeyValue>> {
        let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), revision, ..Default::default() };
        Ok(self.kv().range(all).await?.into_inner().kvs)
    }

    /// Ends it and gives its folder back.
    fn stop(mut self) -> anyhow::Result<TempDir> {
        self.end()?;
        Ok(std::mem::replace(&mut self.folder, tempfile::tempdir()?))
    }

    fn end(&mut self) -> std::io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.end();
    }
}

/// A server with history, and its snapshot.
async fn saved() -> anyhow::Result<(TestServer, TempDir, PathBuf)> {
    let server = TestServer::start().await?;
    fill(&server).await?;
    let files = tempfile::tempdir()?;
    let file = files.path().join("saved");
    save(&server, &file).await?;
    Ok((server, files, file))
}

#[tokio::test]
async fn etcds_tools_save_and_check_our_snapshot() -> anyhow::Result<()> {
    let (Some(etcdctl), Some(status)) = (program("etcdctl"), restorer()) else { return Ok(()) };
    let server = TestServer::start().await?;
    fill(&server).await?;
    let files = tempfile::tempdir()?;
    let file = files.path().join("saved").display().to_string();
    let endpoint = format!("--endpoints=http://{}", server.address);
    let save = {
        let file = file.clone();
        tokio::task::spawn_blocking(move || run(&etcdctl, &[&endpoint, "snapshot", "save", &file]))
    };
    save.await??;
    let json = run(&status, &["snapshot", "status", &file, "--write-out=json"])?;
    let json: serde_json::Value = serde_json::from_str(json.trim())?;
    assert_eq!(json["revision"], LAST);
    assert!(json["totalKey"].as_u64() > Some(8) && json["totalSize"].as_u64() > Some(1 << 20), "{json}");
    if let Some(bbolt) = program("bbolt") {
        // The database without its checksum.
        let bytes = std::fs::read(&file)?;
        let database = files.path().join("db").display().to_string();
        std::fs::write(&database, &bytes[..bytes.len() - 32])?;
        assert_eq!(run(&bbolt, &["check", &database])?.trim(), "OK");
    }
    Ok(())
}

#[tokio::test]
async fn our_snapshot_restores_into_an_etcd() -> anyhow::Result<()> {
    let (Some(etcd), Some(restorer)) = (program("etcd"), restorer()) else { return Ok(()) };
    let (server, files, file) = saved().await?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data").display().to_string();
    run(&restorer, &["snapshot", "restore", &file.display().to_string(), "--data-dir", &data])?;
    let etcd = Etcd::start(&etcd, folder).await?;
    for revision in COMPACTED..=LAST {
        let ours = RangeRequest { key: "\0".into(), range_end: "\0".into(), revision, ..Default::default() };
        let ours = server.kv().range(ours).await?.into_inner().kvs;
        let theirs = etcd.everything(revision).await.with_context(|| format!("at revision {revision}"))?;
        assert_eq!(theirs, ours, "at revision {revision}");
    }
    assert_eq!(etcd.hashes().await?, hashes(&server).await?);
    let leases = LeaseClient::new(etcd.channel.clone()).lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    let mut ids: Vec<i64> = leases.iter().map(|lease| lease.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [77, i64::MAX]);
    let next = etcd.kv().put(put("next", "1")).await?.into_inner().header.unwrap_or_default();
    assert_eq!(next.revision, LAST + 1);
    drop(files);
    Ok(())
}

#[tokio::test]
async fn an_etcds_snapshot_and_its_database_restore_here() -> anyhow::Result<()> {
    let (Some(etcd), Some(restorer)) = (program("etcd"), restorer()) else { return Ok(()) };
    // An etcd gets our history, so that both can be compared; then it makes pages, inline buckets and a free list of
    // its own.
    let (server, files, file) = saved().await?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data").display().to_string();
    run(&restorer, &["snapshot", "restore", &file.display().to_string(), "--data-dir", &data])?;
    let before = everything(&server).await?;
    drop(server);
    let running = Etcd::start(&etcd, folder).await?;
    let mut stream = MaintenanceClient::new(running.channel.clone()).snapshot(SnapshotRequest {}).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await? {
        bytes.extend_from_slice(&part.blob);
    }
    let saved = files.path().join("from-etcd");
    std::fs::write(&saved, bytes)?;
    from_file(&saved, &before).await?;
    let folder = running.stop()?;
    from_file(&folder.path().join("data/member/snap/db"), &before).await
}

#[tokio::test]
async fn our_users_log_in_to_an_etcd() -> anyhow::Result<()> {
    let (Some(etcd), Some(restorer)) = (program("etcd"), restorer()) else { return Ok(()) };
    let (server, root, _) = guarded().await?;
    server.kv().put(from(&root, put("r/a", "1"))).await?;
    let (files, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let saved = files.path().join("saved");
    save_as(&root, &server, &saved).await?;
    let data = folder.path().join("data").display().to_string();
    run(&restorer, &["snapshot", "restore", &saved.display().to_string(), "--data-dir", &data])?;
    let etcd = Etcd::start(&etcd, folder).await?;
    let login = |password: &str| AuthenticateRequest { name: "mira".into(), password: password.into() };
    let mut auth = AuthClient::new(etcd.channel.clone());
    assert!(auth.authenticate(login("wrong")).await.is_err());
    let mira = auth.authenticate(login("mira")).await?.into_inner().token;
    assert_eq!(etcd.kv().range(from(&mira, get("r/a"))).await?.into_inner().count, 1);
    assert!(etcd.kv().put(from(&mira, put("r/a", "2"))).await.is_err());
    etcd.kv().put(from(&mira, put("rw/a", "2"))).await?;
    Ok(())
}
