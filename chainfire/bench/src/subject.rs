use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, bail};
use holdfast_testkit::{Binaries, Cluster, Process, client, free_ports};
use serde::Serialize;

use crate::{door::Entrance, load::first_answer, process};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The reference, etcd 3.6.
    Etcd,
    /// `holdfast chainfire`, with etcd's own flags and nothing else.
    DropIn,
    /// `holdfast serve`: TLS, IAM and audit.
    Suite,
}

/// How long a server may take to end in order.
const STOP: Duration = Duration::from_secs(60);

/// Running servers of one kind, whose data is removed with them.
pub(crate) struct Subject {
    servers: Servers,
    pub(crate) entrance: Entrance,
    _folder: tempfile::TempDir,
}

enum Servers {
    /// Started with etcd's flags; the commands are kept for another start.
    Alike {
        logs: PathBuf,
        members: Vec<(Process, Flags)>,
    },
    Suite(Cluster),
}

/// A program and its arguments.
#[derive(Clone, Debug)]
struct Flags {
    program: PathBuf,
    arguments: Vec<String>,
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
        match &mut self.servers {
            Servers::Alike { members, .. } => {
                members.iter_mut().try_for_each(|(process, _)| process.terminate(STOP).map(drop))?;
            }
            Servers::Suite(cluster) => {
                cluster.servers_mut().iter_mut().try_for_each(|server| server.terminate().map(drop))?;
            }
        }
        let begun = Instant::now();
        match &mut self.servers {
            Servers::Alike { logs, members } => {
                for (number, (process, flags)) in members.iter_mut().enumerate() {
                    *process = flags.start(number, logs)?;
                }
            }
            Servers::Suite(cluster) => {
                cluster.servers_mut().iter_mut().try_for_each(holdfast_testkit::Server::start_again)?;
            }
        }
        first_answer(&self.entrance, begun).await
    }

    /// Bytes that the first member's process occupies.
    pub(crate) fn memory(&self) -> Result<u64> {
        let id = match &self.servers {
            Servers::Alike { members, .. } => members.first().map(|(process, _)| process.id()),
            Servers::Suite(cluster) => cluster.servers().first().and_then(holdfast_testkit::Server::id),
        };
        process::memory(id.context("no server runs")?)
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

impl Flags {
    fn start(&self, number: usize, logs: &Path) -> Result<Process> {
        Process::start(&format!("m{number}"), Command::new(&self.program).args(&self.arguments), logs)
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "drop-in" => Ok(Self::DropIn),
            "suite" => Ok(Self::Suite),
            other => bail!("{other}: chainfire runs as drop-in or as suite"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Etcd => "etcd",
            Self::DropIn => "drop-in",
            Self::Suite => "suite",
        })
    }
}
