mod kind;
mod servers;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use holdfast_testkit::{Binaries, Cluster, client, free_ports};

pub(crate) use self::kind::Kind;
use self::servers::{Flags, Servers};
use crate::{door::Entrance, load::first_answer, process};

/// Running servers of one kind, whose data is removed with them.
pub(crate) struct Subject {
    servers: Servers,
    pub(crate) entrance: Entrance,
    _folder: tempfile::TempDir,
}

impl Subject {
    /// Starts `members` servers with their data below `folder`, and waits for an answer of each.
    pub(crate) async fn start(kind: Kind, members: usize, folder: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("data-").tempdir_in(folder)?;
        let begun = Instant::now();
        let (servers, entrance) = match kind {
            Kind::Etcd => {
                let program = client("etcd-3.6")?.context("etcd-3.6 is not installed")?;
                alike(&program, &[], members, folder.path())?
            }
            Kind::DropIn => alike(&Binaries::find()?.path("holdfast"), &["chainfire"], members, folder.path())?,
            Kind::Suite => suite(members, folder.path())?,
        };
        first_answer(&entrance, begun).await.context("the servers do not answer")?;
        Ok(Self { servers, entrance, _folder: folder })
    }

    /// Ends all servers in order and starts them again on their data; how long the start took until each answered.
    pub(crate) async fn restart(&mut self) -> Result<Duration> {
        let members = 0..self.servers.count();
        members.clone().try_for_each(|member| self.servers.stop(member))?;
        let begun = Instant::now();
        members.clone().try_for_each(|member| self.servers.start(member))?;
        first_answer(&self.entrance, begun).await
    }

    /// Ends a member, counted from 0, without a chance to prepare for it.
    pub(crate) fn kill(&mut self, member: usize) -> Result<()> {
        self.servers.kill(member)
    }

    /// Starts a member again that was killed, and waits for an answer of each.
    pub(crate) async fn revive(&mut self, member: usize) -> Result<()> {
        self.servers.start(member)?;
        first_answer(&self.entrance, Instant::now()).await.map(drop)
    }

    /// Bytes that the first member's process occupies.
    pub(crate) fn memory(&self) -> Result<u64> {
        process::memory(self.servers.first()?)
    }
}

/// Servers that take etcd's flags. Everything that is not an address is left at its default.
fn alike(program: &Path, words: &[&str], members: usize, folder: &Path) -> Result<(Servers, Entrance)> {
    let ports = (0..members).map(|_| free_ports()).collect::<Result<Vec<[u16; 2]>>>()?;
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let peers: Vec<_> =
        ports.iter().enumerate().map(|(number, [_, peer])| format!("m{number}={}", url(*peer))).collect();
    let mut processes = Vec::new();
    for (number, [client, peer]) in ports.iter().enumerate() {
        let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        arguments.extend([
            format!("--name=m{number}"),
            format!("--data-dir={}", folder.join(format!("m{number}")).display()),
            format!("--listen-client-urls={}", url(*client)),
            format!("--advertise-client-urls={}", url(*client)),
            format!("--listen-peer-urls={}", url(*peer)),
            format!("--initial-advertise-peer-urls={}", url(*peer)),
            format!("--initial-cluster={}", peers.join(",")),
        ]);
        let flags = Flags { program: program.to_owned(), arguments };
        processes.push((flags.start(number, folder)?, flags));
    }
    let urls = ports.iter().map(|[client, _]| url(*client)).collect();
    Ok((Servers::Alike { logs: folder.to_owned(), members: processes }, Entrance { urls, ..Entrance::default() }))
}

/// The whole suite, whose clients speak TLS and log in as the administrator.
fn suite(members: usize, folder: &Path) -> Result<(Servers, Entrance)> {
    let mut cluster = Cluster::start_secured(&Binaries::find()?, folder, members)?;
    cluster.wait_ready()?;
    let urls = cluster.servers().iter().map(|server| Ok(format!("https://{}", server.endpoints()?.api)));
    let entrance = Entrance {
        urls: urls.collect::<Result<_>>()?,
        authority: Some(fs::read_to_string(Cluster::authority(folder)).context("the authority of the certificates")?),
        login: Some(("admin".to_owned(), cluster.admin_token()?)),
    };
    Ok((Servers::Suite(cluster), entrance))
}
