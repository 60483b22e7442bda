//! Where the operator sits: the repository, `florctl` and git.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use holdfast_testkit::{Cluster, Desk, Ended, Endpoints, Node, Program, Server, client};
use serde_json::Value;

use super::Step;

/// The operator's name in the history of the repository.
const OPERATOR: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "Mira"),
    ("GIT_AUTHOR_EMAIL", "mira@harbour.test"),
    ("GIT_COMMITTER_NAME", "Mira"),
    ("GIT_COMMITTER_EMAIL", "mira@harbour.test"),
];

pub(crate) struct Workplace {
    servers: Cluster,
    desk: Desk,
    folder: PathBuf,
    git: PathBuf,
}

impl Workplace {
    pub(crate) fn new(servers: Cluster, desk: Desk, folder: &Path) -> Result<Self> {
        let git = client("git")?.context("git is not installed")?;
        Ok(Self { servers, desk, folder: folder.to_owned(), git })
    }

    /// Where the servers that run listen.
    pub(crate) fn running(&mut self) -> Result<Vec<Endpoints>> {
        let running = self.servers.servers_mut().iter_mut().filter_map(|server| server.is_running().then_some(server));
        running.map(|server| server.endpoints()).collect()
    }

    /// `florctl` at a server that runs.
    pub(crate) fn florctl(&mut self, words: &str) -> Result<Program> {
        let at = self.running()?.into_iter().next().context("no server runs")?;
        Ok(self.desk.florctl(&at).words(words))
    }

    /// What it answers, for a look that no person needs.
    pub(crate) fn look(&mut self, words: &str) -> Result<Value> {
        self.florctl(words)?.quietly("-o json").run()?.expect(0)?.json()
    }

    /// git in the repository.
    pub(crate) fn git(&self, words: &str) -> Program {
        let git = Program::new(&self.git, &self.folder).words("-C fleet").words(words);
        // Whatever the machine's own settings are.
        let git = git.environment("GIT_CONFIG_GLOBAL", "/dev/null").environment("GIT_CONFIG_NOSYSTEM", "1");
        OPERATOR.iter().fold(git, |git, (name, value)| git.environment(name, *value))
    }

    /// The fleet's first version: a repository under Git that is pushed to another one, certificates, and a publish.
    pub(crate) fn found(&mut self, step: &mut Step, name: &str) -> Result<()> {
        step.tell(self.git("init --quiet --initial-branch main"), 0)?;
        step.tell(self.git("init --quiet --bare --initial-branch main ../origin.git"), 0)?;
        step.tell(self.git("remote add origin ../origin.git"), 0)?;
        step.tell(self.florctl("ca init --repo fleet --keys keys")?, 0)?;
        step.tell(self.florctl("ca issue --missing --repo fleet --keys keys")?, 0)?;
        self.release(step, name, 1)
    }

    /// A machine joins with a bundle, and its agent runs.
    pub(crate) fn join(&mut self, step: &mut Step, node: &mut Node) -> Result<()> {
        let name = node.name().to_owned();
        let (join, bundle) = (format!("join/{name}"), format!("join/{name}.bundle"));
        fs::create_dir_all(self.folder.join("join"))?;
        step.tell(self.florctl(&format!("iam join-token create {name} --out {join}"))?, 0)?;
        let mut issue = self.florctl(&format!("issue-bundle --node {name} --repo fleet --keys keys"))?;
        for Endpoints { http, .. } in self.running()? {
            issue = issue.words("--server").argument(format!("https://{http}"));
        }
        step.tell(issue.words(&format!("--join-token-file {join} --out {bundle}")), 0)?;
        step.tell(node.flor().words("enroll").argument(bundle), 0)?;
        node.start(&self.folder.join("logs"))?;
        step.await_that(format!("{name}'s agent runs"), || node.is_running())
    }

    /// From YAML to servers that have it: validated, compiled, committed, published.
    pub(crate) fn release(&mut self, step: &mut Step, note: &str, version: u64) -> Result<()> {
        step.tell(self.florctl("validate --repo fleet")?, 0)?;
        self.compile(step, "compile")?;
        self.commit(step, note)?;
        self.publish(step, note, version)
    }

    /// What a machine's row of the fleet view says.
    pub(crate) fn row(&mut self, node: &str) -> Result<Value> {
        let rows = self.fleet()?;
        rows.into_iter().find(|row| row["name"] == node).with_context(|| format!("{node} is not in the fleet view"))
    }

    /// That the fleet view says of a machine that it rolled a version back, and why.
    pub(crate) fn sees_rolled_back(&mut self, step: &mut Step, node: &str, version: u64, why: &str) -> Result<()> {
        step.await_that(format!("the fleet view says that {node} rolled version {version} back: {why}"), || {
            let reported = self.row(node)?["reported"].clone();
            Ok(reported["result"] == "rolled_back"
                && reported["rolled_back"] == version
                && reported["active"] == version - 1
                && reported["reason"].as_str().is_some_and(|said| said.contains(why)))
        })?;
        step.tell(self.florctl(&format!("node {node}"))?, 0).map(drop)
    }

    /// That every machine runs a version for good, and the fleet view says so.
    pub(crate) fn all_run<'a>(
        &mut self,
        step: &mut Step,
        nodes: impl IntoIterator<Item = &'a Node>,
        version: u64,
    ) -> Result<()> {
        let mut count = 0;
        for node in nodes {
            count += 1;
            let status = node.status()?;
            let done = status["active"] == version && status["pending"].is_null();
            step.find(done, format!("{} runs version {version} for good", node.name()))?;
        }
        step.await_that(format!("the fleet view has all of them at version {version}"), || {
            let rows = self.fleet()?;
            let current = |row: &Value| row["stale"] == false && row["reported"]["active"] == version;
            Ok(rows.len() == count && rows.iter().all(current))
        })?;
        step.tell(self.florctl("fleet")?, 0).map(drop)
    }

    pub(crate) fn commit(&self, step: &mut Step, message: &str) -> Result<()> {
        step.tell(self.git("add --all"), 0)?;
        step.tell(self.git("commit --quiet --message").argument(message), 0)?;
        step.tell(self.git("push --quiet origin main"), 0).map(drop)
    }

    /// `florctl compile` or `rebase`, signed.
    pub(crate) fn compile(&mut self, step: &mut Step, verb: &str) -> Result<Ended> {
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
    pub(crate) fn compiled(&self, node: &str) -> Result<Value> {
        let path = self.folder.join(format!("fleet/.flor/compiled/{node}.json"));
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(serde_json::from_slice::<Value>(&text)?["version"].clone())
    }

    pub(crate) fn publish(&mut self, step: &mut Step, note: &str, version: u64) -> Result<()> {
        step.tell(self.florctl("publish --yes --repo fleet --note")?.argument(note), 0)?;
        let current = self.look("versions")?["current"].clone();
        step.find(current == version, format!("the servers have version {version}"))
    }

    /// What the fleet view says of each node: its row.
    pub(crate) fn fleet(&mut self) -> Result<Vec<Value>> {
        let fleet = self.look("fleet")?;
        fleet["nodes"].as_array().cloned().context("florctl fleet lists no nodes")
    }

    /// Kills the server that leads, and says which it was.
    pub(crate) fn kill_leader(&mut self) -> Result<String> {
        let status = self.look("status")?;
        let leader = status.as_array().into_iter().flatten().find(|server| server["leader"] == true);
        let name = leader.and_then(|leader| leader["name"].as_str()).context("nobody leads")?.to_owned();
        let mut servers = self.servers.servers_mut().iter_mut();
        servers.find(|server| server.name() == name).context("no such server")?.kill()?;
        Ok(name)
    }

    /// Starts what does not run.
    pub(crate) fn bring_back(&mut self) -> Result<()> {
        for server in self.servers.servers_mut() {
            if !server.is_running() {
                Server::start_again(server)?;
            }
        }
        self.servers.wait_ready()
    }
}
