//! A machine of a fleet.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use crate::{Binaries, Endpoints, Namespace, Process, Program};

/// `flor` with a home of its own, and its agent once that is started.
#[derive(Debug)]
pub struct Node {
    name: String,
    flor: PathBuf,
    folder: PathBuf,
    home: PathBuf,
    namespace: Option<String>,
    /// More words for its agent.
    agent_words: String,
    agent: Option<Process>,
}

impl Node {
    /// Its commands are run in `folder`, and its home is `nodes/NAME` there.
    pub fn new(binaries: &Binaries, folder: &Path, name: &str) -> Self {
        let home = Path::new("nodes").join(name);
        let (flor, folder) = (binaries.path("flor"), folder.to_owned());
        Self { name: name.to_owned(), flor, folder, home, namespace: None, agent_words: String::new(), agent: None }
    }

    /// The same machine, set up anew: its home is `nodes/HOME`.
    pub fn with_home(self, home: &str) -> Self {
        Self { home: Path::new("nodes").join(home), ..self }
    }

    /// The same machine, whose agent is started with these words besides.
    #[must_use]
    pub fn with_agent(self, words: &str) -> Self {
        Self { agent_words: words.to_owned(), ..self }
    }

    /// The same machine with a network of its own.
    #[must_use]
    pub fn within(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.name().to_owned());
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn home(&self) -> PathBuf {
        self.folder.join(&self.home)
    }

    pub fn flor(&self) -> Program {
        Program::new(&self.flor, &self.folder).words("--home").argument(&self.home).within(self.namespace.as_deref())
    }

    /// Joins the servers' cluster with the join token in a file. `authority` is what the servers' certificates chain to,
    /// where their doors have TLS.
    pub fn enrolling(&self, join_token: &Path, servers: &[Endpoints], authority: Option<&Path>) -> Program {
        let scheme = if authority.is_some() { "https" } else { "http" };
        let mut program = self.flor().words("enroll --join-token-file").argument(join_token);
        for Endpoints { api, .. } in servers.iter().take(1) {
            program = program.words("--api").argument(format!("{scheme}://{api}"));
        }
        for Endpoints { http, .. } in servers {
            program = program.words("--server").argument(format!("{scheme}://{http}"));
        }
        match authority {
            Some(file) => program.words("--ca-file").argument(file),
            None => program,
        }
    }

    /// The command that [`Node::start`] runs in the background.
    pub fn running(&self) -> Program {
        self.flor().words("agent run").words(&self.agent_words)
    }

    /// Starts its agent, with output and log in `logs`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, logs: &Path) -> Result<()> {
        let name = format!("flor-{}", self.name);
        self.agent = Some(Process::start(&name, &mut self.running().into_command(), logs)?);
        Ok(())
    }

    /// Whether its agent answers.
    ///
    /// # Errors
    /// When `flor` cannot be started.
    pub fn is_running(&self) -> Result<bool> {
        let status = self.flor().words("status").quietly("--json").run()?;
        Ok(status.code == Some(0) && status.json()?["daemon"] == true)
    }

    /// What `flor status --json` says.
    ///
    /// # Errors
    /// When it says nothing.
    pub fn status(&self) -> Result<Value> {
        self.flor().words("status").quietly("--json").run()?.expect(0)?.json()
    }

    /// The end of its agent's log, once that was started.
    pub fn log_tail(&self) -> Option<String> {
        self.agent.as_ref().map(Process::log_tail)
    }
}
