use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use holdfast_testkit::{Cluster, Process, Server};

/// How long a server may take to end in order.
const STOP: Duration = Duration::from_secs(60);

/// The processes of one subject; members are counted from 0.
pub(super) enum Servers {
    /// Started by a command line each, which is kept for another start.
    Alike { logs: PathBuf, members: Vec<(Process, Flags)> },
    /// Started with files of the whole suite.
    Suite(Cluster),
}

/// A program and its arguments.
#[derive(Clone, Debug)]
pub(super) struct Flags {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
}

impl Servers {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Alike { members, .. } => members.len(),
            Self::Suite(cluster) => cluster.servers().len(),
        }
    }

    /// Ends a member in order.
    pub(super) fn stop(&mut self, member: usize) -> Result<()> {
        match self {
            Self::Alike { members, .. } => members[member].0.terminate(STOP).map(drop),
            Self::Suite(cluster) => cluster.servers_mut()[member].terminate().map(drop),
        }
    }

    /// Ends a member without a chance to prepare for it.
    pub(super) fn kill(&mut self, member: usize) -> Result<()> {
        match self {
            Self::Alike { members, .. } => members[member].0.kill(),
            Self::Suite(cluster) => cluster.servers_mut()[member].kill(),
        }
    }

    /// Starts a member that has ended, on its data; returns at once.
    pub(super) fn start(&mut self, member: usize) -> Result<()> {
        match self {
            Self::Alike { logs, members } => {
                let (process, flags) = &mut members[member];
                *process = flags.start(member, logs)?;
                Ok(())
            }
            Self::Suite(cluster) => cluster.servers_mut()[member].start_again(),
        }
    }

    /// The id of the first member's process.
    pub(super) fn first(&self) -> Result<u32> {
        let id = match self {
            Self::Alike { members, .. } => members.first().map(|(process, _)| process.id()),
            Self::Suite(cluster) => cluster.servers().first().and_then(Server::id),
        };
        id.context("no server runs")
    }
}

impl Flags {
    pub(super) fn start(&self, member: usize, logs: &Path) -> Result<Process> {
        Process::start(&format!("m{member}"), Command::new(&self.program).args(&self.arguments), logs)
    }
}
