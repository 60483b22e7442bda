//! Where the operator sits: the repository, `florctl` and git.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use holdfast_testkit::{Cluster, Desk, Ended, Endpoints, Program, Server, client};
use serde_json::Value;

use super::step::Step;

/// The operator's name in the history of the repository.
const OPERATOR: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "Mira"),
    ("GIT_AUTHOR_EMAIL", "mira@harbour.test"),
    ("GIT_COMMITTER_NAME", "Mira"),
    ("GIT_COMMITTER_EMAIL", "mira@harbour.test"),
];

pub(super) struct Workplace {
    pub(super) servers: Cluster,
    pub(super) desk: Desk,
    folder: PathBuf,
    git: PathBuf,
}

impl Workplace {
    pub(super) fn new(servers: Cluster, desk: Desk, folder: &Path) -> Result<Self> {
        let git = client("git")?.context("git is not installed")?;
        Ok(Self { servers, desk, folder: folder.to_owned(), git })
    }

    /// Where the servers that run listen.
    pub(super) fn running(&mut self) -> Result<Vec<Endpoints>> {
        let running = self.servers.servers_mut().iter_mut().filter_map(|server| server.is_running().then_some(server));
        running.map(|server| server.endpoints()).collect()
    }

    /// `florctl` at a server that runs.
    pub(super) fn florctl(&mut self, words: &str) -> Result<Program> {
        let at = self.running()?.into_iter().next().context("no server runs")?;
        Ok(self.desk.florctl(&at).words(words))
    }

    /// What it answers, for a look that no person needs.
    pub(super) fn look(&mut self, words: &str) -> Result<Value> {
        self.florctl(words)?.quietly("-o json").run()?.expect(0)?.json()
    }

    /// git in the repository.
    pub(super) fn git(&self, words: &str) -> Program {
        let git = Program::new(&self.git, &self.folder).words("-C fleet").words(words);
        // Whatever the machine's own settings are.
        let git = git.environment("GIT_CONFIG_GLOBAL", "/dev/null").environment("GIT_CONFIG_NOSYSTEM", "1");
        OPERATOR.iter().fold(git, |git, (name, value)| git.environment(name, *value))
    }

    /// The repository, and another one to which it is pushed.
    pub(super) fn begin(&self, step: &mut Step) -> Result<()> {
        step.tell(self.git("init --quiet --initial-branch main"), 0)?;
        step.tell(self.git("init --quiet --bare --initial-branch main ../origin.git"), 0)?;
        step.tell(self.git("remote add origin ../origin.git"), 0).map(drop)
    }

    pub(super) fn commit(&self, step: &mut Step, message: &str) -> Result<()> {
        step.tell(self.git("add --all"), 0)?;
        step.tell(self.git("commit --quiet --message").argument(message), 0)?;
        step.tell(self.git("push --quiet origin main"), 0).map(drop)
    }

    /// `florctl compile` or `rebase`, signed.
    pub(super) fn compile(&mut self, step: &mut Step, verb: &str) -> Result<Ended> {
        let program = self.florctl(&format!("{verb} --repo fleet --sign-key"))?;
        step.tell(program.argument(self.signer()?), 0)
    }

    /// The private key of the repository's only signer.
    fn signer(&self) -> Result<PathBuf> {
        let keys = fs::read_dir(self.folder.join("keys")).context("florctl has made no keys")?;
        let names = keys.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let signer = names.into_iter().find(|name| name.starts_with("management-plane-") && name.ends_with(".key"));
        Ok(Path::new("keys").join(signer.context("florctl has made no signer")?))
    }

    /// The version that a node's file of the compiled tree has.
    pub(super) fn compiled(&self, node: &str) -> Result<Value> {
        let path = self.folder.join(format!("fleet/.flor/compiled/{node}.json"));
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(serde_json::from_slice::<Value>(&text)?["version"].clone())
    }

    pub(super) fn publish(&mut self, step: &mut Step, note: &str, version: u64) -> Result<()> {
        step.tell(self.florctl("publish --yes --repo fleet --note")?.argument(note), 0)?;
        let current = self.look("versions")?["current"].clone();
        step.find(current == version, format!("the servers have version {version}"))
    }

    /// What the fleet view says of each node: its row.
    pub(super) fn fleet(&mut self) -> Result<Vec<Value>> {
        let fleet = self.look("fleet")?;
        fleet["nodes"].as_array().cloned().context("florctl fleet lists no nodes")
    }

    /// Kills the server that leads, and says which it was.
    pub(super) fn kill_leader(&mut self) -> Result<String> {
        let status = self.look("status")?;
        let leader = status.as_array().into_iter().flatten().find(|server| server["leader"] == true);
        let name = leader.and_then(|leader| leader["name"].as_str()).context("nobody leads")?.to_owned();
        let mut servers = self.servers.servers_mut().iter_mut();
        servers.find(|server| server.name() == name).context("no such server")?.kill()?;
        Ok(name)
    }

    /// Starts what does not run.
    pub(super) fn bring_back(&mut self) -> Result<()> {
        for server in self.servers.servers_mut() {
            if !server.is_running() {
                Server::start_again(server)?;
            }
        }
        self.servers.wait_ready()
    }
}
