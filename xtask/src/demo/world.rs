//! What the steps of the demo share: the servers, the programs, the folder.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use holdfast_testkit::{Binaries, Ended, Endpoints, Node, Program, Server};

use super::screen::Screen;
use crate::layout::Layout;

/// For whatever takes an election, a restart or a first compilation of a query.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything here ends with it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) screen: Screen,
    /// The tree's top: examples are copied from it.
    pub(crate) tree: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) binaries: Binaries,
    pub(crate) server_count: usize,
    pub(crate) servers: Vec<Server>,
    pub(crate) nodes: Vec<Node>,
    /// The data folder of the server that `florctl` talks to.
    pointed_at: PathBuf,
    tools: PathBuf,
    interrupted: Arc<AtomicBool>,
}

impl World {
    pub(crate) fn new(
        layout: &Layout,
        binaries: &Binaries,
        folder: &Path,
        server_count: usize,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Self> {
        for name in ["holdfast", "florctl", "flor"] {
            if !binaries.path(name).is_file() {
                bail!("{} is not there; build the workspace first", binaries.path(name).display());
            }
        }
        Ok(Self {
            screen: Screen::new(),
            tree: layout.root().to_owned(),
            folder: folder.to_owned(),
            binaries: binaries.clone(),
            server_count,
            servers: Vec::new(),
            nodes: Vec::new(),
            pointed_at: PathBuf::new(),
            tools: layout.bin(),
            interrupted,
        })
    }

    /// One of our binaries.
    pub(crate) fn program(&self, name: &str) -> Program {
        Program::new(&self.binaries.path(name), &self.folder)
    }

    /// A public client, when it is installed.
    pub(crate) fn client(&self, name: &str) -> Option<Program> {
        let built = self.tools.join(name);
        let path = if built.is_file() { Some(built) } else { crate::programs::find(name) };
        path.map(|path| Program::new(&path, &self.folder))
    }

    /// Waits behind a spinner; Ctrl-C ends the wait.
    pub(crate) fn wait<T>(&self, what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        self.screen.wait(what, PATIENCE, || {
            if self.interrupted.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            condition()
        })
    }

    /// `florctl`, pointed at a server that runs.
    pub(crate) fn florctl(&self) -> Program {
        self.program("florctl").environment("HOLDFAST_DEV_DIR", self.pointed_at.clone())
    }

    /// Has `florctl` talk to a server that runs, and shows how a person would.
    pub(crate) fn point_at_a_running_server(&mut self) -> Result<()> {
        let mut running = self.servers.iter_mut().filter_map(|server| server.is_running().then_some(server));
        self.pointed_at = running.next().context("no server runs")?.launch().data.clone();
        self.screen.command(&format!("export HOLDFAST_DEV_DIR=$PWD/{}", self.short(&self.pointed_at).display()));
        Ok(())
    }

    /// Runs one of our programs, shows it and what it says; it must succeed.
    pub(crate) fn tell(&self, name: &str, words: &str) -> Result<()> {
        let program = if name == "florctl" { self.florctl() } else { self.program(name) };
        self.tell_program(program.words(words), 0).map(drop)
    }

    /// Runs a program, shows it and what it says; it must end with this code.
    pub(crate) fn tell_program(&self, program: Program, code: i32) -> Result<Ended> {
        self.screen.command(&program.shown());
        let ended = program.run()?.expect(code)?;
        self.screen.answer(&ended.said());
        Ok(ended)
    }

    /// Where the running servers listen.
    pub(crate) fn running(&mut self) -> Result<Vec<Endpoints>> {
        let running = self.servers.iter_mut().filter_map(|server| server.is_running().then_some(server));
        running.map(|server| server.endpoints()).collect()
    }

    /// Where a server that runs listens: the first one that was not killed.
    pub(crate) fn endpoints(&mut self) -> Result<Endpoints> {
        self.running()?.into_iter().next().context("no server runs")
    }

    pub(crate) fn admin_token(&self) -> Result<String> {
        self.servers.first().context("no server was started")?.admin_token()
    }

    /// Runs a public client with the admin's token in a variable, shows it and what it says; it must succeed. Where it
    /// is not installed it is shown all the same, and nothing is returned.
    pub(crate) fn with_token(
        &self,
        client: &str,
        variable: &str,
        prefix: &str,
        arguments: impl FnOnce(Program) -> Program,
    ) -> Result<Option<Ended>> {
        let token = self.servers.first().context("no server was started")?.launch().admin_token.clone();
        let installed = self.client(client);
        let missing = installed.is_none();
        let program = installed.unwrap_or_else(|| Program::new(Path::new(client), &self.folder));
        let program = arguments(program).secret(variable, prefix, &token)?;
        if missing {
            self.screen.command(&program.shown());
            self.screen.note(&format!("{client} is not installed here: not run"));
            return Ok(None);
        }
        self.tell_program(program, 0).map(Some)
    }

    /// A path as it looks from the demo's folder.
    pub(crate) fn short<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.folder).unwrap_or(path)
    }

    /// What went wrong, as far as servers and agents know.
    pub(crate) fn log_tails(&self) -> Vec<String> {
        let servers = self.servers.iter().map(Server::log_tail);
        servers.chain(self.nodes.iter().filter_map(Node::log_tail)).collect()
    }

    /// What can be visited, by name.
    pub(crate) fn places(&mut self) -> Result<Vec<(String, String)>> {
        let mut rows = Vec::new();
        for server in &mut self.servers {
            if server.is_running() {
                let Endpoints { api, http, sql, .. } = server.endpoints()?;
                let name = server.name().to_owned();
                rows.push((format!("{name}: etcd v3 API, gRPC"), format!("http://{api}")));
                rows.push((format!("{name}: nodes, reboot locks"), format!("http://{http}")));
                rows.push((format!("{name}: keys for verifiers"), format!("http://{http}/jwks.json")));
                rows.push((format!("{name}: metrics"), format!("http://{api}/metrics")));
                rows.push((format!("{name}: SQL"), format!("postgresql://admin@{sql}/holdfast")));
            }
        }
        if let Some(server) = self.servers.first() {
            rows.push(("admin's token".into(), server.launch().admin_token.display().to_string()));
        }
        rows.push(("folder".into(), self.folder.display().to_string()));
        Ok(rows)
    }
}
