use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use chainfire_server::dropin::{Flags, Server, ServerError};
use holdfast_proto::etcdserverpb::{RangeRequest, kv_client::KvClient};
use holdfast_service::Stop;
use holdfast_testkit::{Process, client, eventually, free_ports};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use crate::{lane::Lane, session::Session};

/// Small limits, so that requests meet them, and passwords that take no time.
const LIMITS: &[&str] = &["--max-txn-ops=8", "--max-request-bytes=65536", "--bcrypt-cost=4"];

/// A cold start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A fresh etcd and a fresh chainfire with the same limits.
pub struct Pair {
    pub(crate) lane: Lane,
    pub(crate) theirs: Session,
    pub(crate) ours: Session,
    etcd: Process,
    chainfire: Chainfire,
    _folder: TempDir,
}

struct Chainfire {
    stop: Stop,
    running: JoinHandle<Result<(), ServerError>>,
}

impl Pair {
    /// Starts both; none, after a word on standard error, where the lane's etcd is not installed.
    ///
    /// # Errors
    /// When a server does not start, or the etcd is missing and required.
    pub async fn start(lane: Lane) -> Result<Option<Self>> {
        let Some(program) = client(lane.program())? else { return Ok(None) };
        let folder = folder()?;
        let (etcd, theirs) = etcd(&program, folder.path())?;
        let (chainfire, ours) = chainfire(lane, folder.path()).await?;
        for (channel, name) in [(&theirs, lane.program()), (&ours, "chainfire")] {
            answers(channel, name).await?;
        }
        let (theirs, ours) = (Session::new(theirs), Session::new(ours));
        Ok(Some(Self { lane, theirs, ours, etcd, chainfire, _folder: folder }))
    }

    /// Ends both in good order.
    ///
    /// # Errors
    /// When one does not end well.
    pub async fn end(mut self) -> Result<()> {
        self.chainfire.stop.request();
        self.chainfire.running.await??;
        // It has nothing to lose.
        self.etcd.kill()
    }
}

/// In memory where there is such a place: what is compared does not depend on the disk, and an fsync costs nothing.
fn folder() -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("holdfast-differential-");
    let folder = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
    folder.context("cannot make a folder for the servers")
}

fn etcd(program: &PathBuf, folder: &Path) -> Result<(Process, Channel)> {
    let [client, peer] = free_ports()?;
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let mut command = Command::new(program);
    command
        .arg(format!("--data-dir={}", folder.join("etcd").display()))
        .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
        .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
        .arg(format!("--initial-cluster=default={peer}"))
        .args(LIMITS);
    let process = Process::start("etcd", &mut command, folder)?;
    Ok((process, Endpoint::new(client)?.connect_lazy()))
}

async fn chainfire(lane: Lane, folder: &Path) -> Result<(Chainfire, Channel)> {
    let data = format!("--data-dir={}", folder.join("chainfire").display());
    let flags = [data.as_str(), "--listen-client-urls=http://127.0.0.1:0"];
    let (flags, _) = Flags::parse_from_etcd(flags.iter().chain(LIMITS).chain(lane.flags()).map(|flag| (*flag).into()))?;
    let server = Server::open(flags.try_into()?).await?;
    let address = *server.addresses().first().context("chainfire has no listener")?;
    let stop = Stop::new();
    let running = tokio::spawn(server.run(stop.clone()));
    Ok((Chainfire { stop, running }, Endpoint::new(format!("http://{address}"))?.connect_lazy()))
}

async fn answers(channel: &Channel, name: &str) -> Result<()> {
    let mut kv = KvClient::new(channel.clone());
    eventually(name, START, async || {
        Ok(kv.range(RangeRequest { key: "ready".into(), ..Default::default() }).await.ok().map(drop))
    })
    .await
}
