//! One `holdfast serve` process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;

use crate::{Binaries, Process, Signal, netns, wait_until};

/// A cold start on a busy machine, with a first election.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// Where a server listens, as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoints {
    pub api: String,
    pub http: String,
    pub sql: String,
    pub peer: String,
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Launch {
    pub name: String,
    pub binary: PathBuf,
    pub data: PathBuf,
    /// Where output and logs go.
    pub logs: PathBuf,
    pub config: Option<PathBuf>,
    /// The bootstrap token's file; a `--dev` server without configuration makes it itself.
    pub admin_token: PathBuf,
    /// Whether it runs with `--dev`.
    pub dev: bool,
    /// Where it listens, for a server that does not write it down, which only one with `--dev` does.
    pub endpoints: Option<Endpoints>,
    /// More arguments for `holdfast serve`.
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// The network namespace that it runs in, if not in ours.
    pub namespace: Option<String>,
}

impl Launch {
    /// A single `--dev` server that keeps everything in `folder`.
    pub fn dev(binaries: &Binaries, folder: &Path) -> Self {
        let data = folder.join("data");
        Self {
            name: "holdfast".into(),
            binary: binaries.path("holdfast"),
            admin_token: data.join("admin.token"),
            data,
            logs: folder.join("logs"),
            config: None,
            dev: true,
            endpoints: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            namespace: None,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("serve").args(self.dev.then_some("--dev")).arg("--data-dir").arg(&self.data);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        match &self.namespace {
            Some(name) => netns::enter(name, &command),
            None => command,
        }
    }
}

/// A server that can be killed and started again on the same data.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    process: Option<Process>,
    /// Dropped after the process, whose files are in it.
    _folder: Option<Arc<TempDir>>,
}

impl Server {
    /// A single server on free ports with a folder of its own, ready.
    ///
    /// # Errors
    /// When it does not become ready; the error has the end of its log.
    pub fn dev() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("holdfast-").tempdir()?;
        let mut server = Self::start(Launch::dev(&Binaries::find()?, folder.path()))?;
        server.keep(Arc::new(folder));
        server.wait_ready()?;
        Ok(server)
    }

    /// Starts the process and returns at once; see [`Server::wait_ready`].
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(launch: Launch) -> Result<Self> {
        let mut server = Self { launch, process: None, _folder: None };
        server.start_again()?;
        Ok(server)
    }

    /// Removes this folder only when the server, too, is gone.
    pub(crate) fn keep(&mut self, folder: Arc<TempDir>) {
        self._folder = Some(folder);
    }

    /// Starts the process again after [`Server::kill`] or [`Server::terminate`], on the same data.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        // A file of the run before would name ports that are closed.
        let _ = fs::remove_file(self.endpoints_file());
        self.process = Some(Process::start(&self.launch.name, &mut self.launch.command(), &self.launch.logs)?);
        Ok(())
    }

    /// Waits until the server is ready.
    ///
    /// # Errors
    /// When it ends before or takes too long.
    pub fn wait_ready(&mut self) -> Result<Endpoints> {
        let what = format!("{} to be ready", self.launch.name);
        let waited = wait_until(START, &what, || self.ready());
        waited.map_err(|error| error.context(self.log_tail()))
    }

    /// Where the server listens, once it has printed `ready`.
    ///
    /// # Errors
    /// When it has ended.
    pub fn ready(&mut self) -> Result<Option<Endpoints>> {
        let process = self.process()?;
        // Asked before reading, so that what was written just before the end is seen.
        let ended = process.ended()?;
        let ready = process.printed()?.lines().any(|line| line.split_whitespace().next() == Some("ready"));
        if let Some(status) = ended {
            bail!("{} ended with {status}", self.launch.name);
        }
        Ok(if ready { self.endpoints().ok() } else { None })
    }

    pub fn name(&self) -> &str {
        &self.launch.name
    }

    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Before the server is ready.
    pub fn endpoints(&self) -> Result<Endpoints> {
        if let Some(known) = &self.launch.endpoints {
            return Ok(known.clone());
        }
        let path = self.endpoints_file();
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not as expected", path.display()))
    }

    /// The bootstrap admin's token.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn admin_token(&self) -> Result<String> {
        let path = &self.launch.admin_token;
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// The process id of the present or last run.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Whether a process is there; it may be starting.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.ended(), Ok(None)))
    }

    /// Kills the process as a power cut would, except that what the kernel holds is not lost.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()
    }

    /// Asks the process to end and waits for it.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process()?.terminate(STOP)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process()?.signal(signal)
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::log_tail)
    }

    fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().with_context(|| format!("{} was never started", self.launch.name))
    }

    fn endpoints_file(&self) -> PathBuf {
        self.launch.data.join("endpoints.json")
    }
}
