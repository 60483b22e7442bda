//! Three drop-in servers that are one cluster.

use std::process::Command;

use anyhow::{Context as _, Result};
use holdfast_testkit::{Process, free_ports, wait_until};
use tempfile::TempDir;

use crate::{
    lab::SOON,
    programs::{Etcdctl, HOLDFAST, run},
};

pub(crate) const MEMBERS: usize = 3;

/// `holdfast chainfire`, for a server whose flags follow.
pub(crate) fn drop_in() -> Command {
    let mut command = Command::new(HOLDFAST);
    command.arg("chainfire");
    command
}

pub(crate) struct Members {
    clients: [u16; MEMBERS],
    peers: [u16; MEMBERS],
    processes: Vec<Process>,
    folder: TempDir,
}

impl Members {
    /// `command` is what starts each member, without flags.
    pub(crate) fn start(command: impl Fn(usize) -> Command) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut members = Self { clients: free_ports()?, peers: free_ports()?, processes: Vec::new(), folder };
        for at in 0..MEMBERS {
            let process = members.begin(at, command(at))?;
            members.processes.push(process);
        }
        Ok(members)
    }

    fn begin(&self, at: usize, mut command: Command) -> Result<Process> {
        let own = |ports: &[u16; MEMBERS]| ports.get(at).map(|port| format!("http://127.0.0.1:{port}"));
        let (client, peer) = own(&self.clients).zip(own(&self.peers)).context("no such member")?;
        let all: Vec<_> =
            self.peers.iter().enumerate().map(|(at, port)| format!("m{at}=http://127.0.0.1:{port}")).collect();
        let name = format!("m{at}");
        command.args(["--name", &name, "--initial-cluster", &all.join(",")]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.arg("--data-dir").arg(self.folder.path().join(&name));
        Process::start(&name, &mut command, self.folder.path())
    }

    pub(crate) fn start_again(&mut self, at: usize, command: Command) -> Result<()> {
        let process = self.begin(at, command)?;
        *self.process(at)? = process;
        Ok(())
    }

    pub(crate) fn process(&mut self, at: usize) -> Result<&mut Process> {
        self.processes.get_mut(at).context("no such member")
    }

    /// Where clients reach one of them.
    pub(crate) fn address(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.clients[at])
    }

    /// Where clients reach those that are `wanted`.
    pub(crate) fn endpoints(&self, wanted: impl Fn(usize) -> bool) -> String {
        let addresses: Vec<_> = (0..MEMBERS).filter(|at| wanted(*at)).map(|at| self.address(at)).collect();
        addresses.join(",")
    }

    pub(crate) fn wait_healthy(&self, etcdctl: &Etcdctl) -> Result<()> {
        wait_until(SOON, "all members to be healthy", || {
            let said = run(etcdctl.command(&["endpoint", "health"]))?;
            Ok((said.code == Some(0)).then_some(()))
        })
    }
}
