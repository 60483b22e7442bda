//! Three drop-in servers that are restarted one after the other, as for a new release, under clients that stay.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{Process, free_ports, wait_until};
use tempfile::TempDir;

use crate::{
    lab::SOON,
    programs::{Etcdctl, HOLDFAST, Owned, run},
};

const MEMBERS: usize = 3;

struct Cluster {
    clients: [u16; MEMBERS],
    peers: [u16; MEMBERS],
    members: Vec<Process>,
    folder: TempDir,
}

impl Cluster {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut cluster = Self { clients: free_ports()?, peers: free_ports()?, members: Vec::new(), folder };
        for at in 0..MEMBERS {
            let member = cluster.member(at)?;
            cluster.members.push(member);
        }
        Ok(cluster)
    }

    fn member(&self, at: usize) -> Result<Process> {
        let own = |ports: &[u16; MEMBERS]| ports.get(at).map(|port| format!("http://127.0.0.1:{port}"));
        let (client, peer) = own(&self.clients).zip(own(&self.peers)).context("no such member")?;
        let all: Vec<_> =
            self.peers.iter().enumerate().map(|(at, port)| format!("m{at}=http://127.0.0.1:{port}")).collect();
        let name = format!("m{at}");
        let mut command = Command::new(HOLDFAST);
        command.args(["chainfire", "--name", &name, "--initial-cluster", &all.join(",")]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.arg("--data-dir").arg(self.folder.path().join(&name));
        Process::start(&name, &mut command, self.folder.path())
    }

    fn endpoints(&self) -> String {
        self.clients.map(|port| format!("127.0.0.1:{port}")).join(",")
    }

    fn wait_healthy(&self, etcdctl: &Etcdctl) -> Result<()> {
        wait_until(SOON, "all members to be healthy", || {
            let said = run(etcdctl.command(&["endpoint", "health"]))?;
            Ok((said.code == Some(0)).then_some(()))
        })
    }
}

/// A client that watches one key.
struct Watch {
    _process: Owned,
    lines: Receiver<String>,
}

impl Watch {
    fn start(mut command: Command) -> Result<Self> {
        let mut process = Owned(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
        let output = BufReader::new(process.0.stdout.take().context("no output")?);
        let (told, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        Ok(Self { _process: process, lines })
    }

    /// Waits for a put of `value`; nothing else may come before it.
    fn hears(&self, value: &str) -> Result<()> {
        let begun = Instant::now();
        for expected in ["PUT", "watched", value] {
            let line = self.lines.recv_timeout(SOON.saturating_sub(begun.elapsed()));
            let line = line.with_context(|| format!("{value:?} was not heard"))?;
            ensure!(line == expected, "{line:?} instead of {expected:?}");
        }
        Ok(())
    }
}

#[test]
fn watches_go_on_while_members_are_restarted() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let Some(etcdctl) = Etcdctl::find(&cluster.endpoints(), None)? else { return Ok(()) };
    cluster.wait_healthy(&etcdctl)?;
    let watch = || Watch::start(etcdctl.command(&["watch", "--rev=1", "watched"]));
    let watches = (0..6).map(|_| watch()).collect::<Result<Vec<_>>>()?;
    let everybody_hears = |value: &str| {
        etcdctl.says(&["put", "watched", value])?;
        watches.iter().try_for_each(|watch| watch.hears(value))
    };
    everybody_hears("before")?;
    for at in 0..MEMBERS {
        let stopped = cluster.members.get_mut(at).context("a member")?.terminate(SOON)?;
        ensure!(stopped.success(), "m{at} ended with {stopped}");
        everybody_hears(&format!("without m{at}"))?;
        let again = cluster.member(at)?;
        *cluster.members.get_mut(at).context("a member")? = again;
        cluster.wait_healthy(&etcdctl)?;
        everybody_hears(&format!("with m{at}"))?;
    }
    Ok(())
}
