//! Servers as operators run them, and an operator with florctl: production mode, TLS on every door.

use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_testkit::{Binaries, Cluster, Endpoints, Server, client, wait_until};
use serde_json::Value;

use crate::{
    lab::SOON,
    programs::{Said, run, run_with},
    tokens,
};

/// florctl's code for a step out of order.
const WRONG_STATE: Option<i32> = Some(8);

pub(crate) struct Plane {
    pub(crate) cluster: Cluster,
    /// What the servers' certificates chain to.
    pub(crate) ca: PathBuf,
    florctl: PathBuf,
    admin: String,
}

pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
}

pub(crate) struct Token {
    pub(crate) token: String,
    pub(crate) kid: String,
    pub(crate) expires: SystemTime,
}

impl Plane {
    /// `count` servers with these settings of `iam:`; none where florctl is not built.
    pub(crate) fn start(count: usize, iam: &[&str]) -> Result<Option<Self>> {
        let florctl = Binaries::find()?.path("florctl");
        if !florctl.is_file() {
            eprintln!("SKIPPED: florctl is not built (cargo build -p florctl)");
            return Ok(None);
        }
        let cluster = Cluster::start_production(count, iam)?;
        let first = cluster.servers().first().context("no server")?;
        let folder = first.launch().logs.parent().context("logs are in the cluster's folder")?;
        let (ca, admin) = (Cluster::authority(folder), first.admin_token()?);
        Ok(Some(Self { cluster, ca, florctl, admin }))
    }

    /// The key that signed first, as the servers were given it.
    pub(crate) fn signing_key(&self) -> Result<String> {
        let folder = self.ca.parent().and_then(std::path::Path::parent).context("the cluster's folder")?;
        Ok(fs::read_to_string(folder.join("secrets/signing-key.pem"))?)
    }

    fn server(&mut self, at: usize) -> Result<&mut Server> {
        self.cluster.servers_mut().get_mut(at).context("no such server")
    }

    pub(crate) fn endpoints(&self, at: usize) -> Result<Endpoints> {
        self.cluster.servers().get(at).context("no such server")?.endpoints()
    }

    /// How many servers there are.
    pub(crate) fn count(&self) -> usize {
        self.cluster.servers().len()
    }

    /// Runs `florctl iam` as the owner of `token`, at server `at`.
    pub(crate) fn iam(&self, at: usize, token: &str, words: &str) -> Result<Said> {
        self.florctl(at, token, "json", &format!("iam {words}"))
    }

    fn florctl(&self, at: usize, token: &str, output: &str, words: &str) -> Result<Said> {
        let mut command = self.desk(at, token, output)?;
        command.args(words.split_whitespace());
        run(command)
    }

    /// Executes a line with commands of florctl as a shell does, as the administrator.
    pub(crate) fn shell(&self, at: usize, line: &str) -> Result<Said> {
        let folder = self.florctl.parent().context("florctl is in a folder")?;
        let mut command = Command::new("sh");
        command.args(["-e", "-c", line]);
        command.env("PATH", format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default()));
        run(self.prepared(command, at, &self.admin)?)
    }

    /// Which server leads, as server `at` and the others say.
    pub(crate) fn leader(&self, at: usize) -> Result<usize> {
        wait_until(SOON, "a leader", || {
            let said = self.florctl(at, &self.admin, "json", "status")?;
            let Ok(status) = serde_json::from_str::<Value>(&said.out) else { return Ok(None) };
            let servers = status.as_array().map(Vec::as_slice).unwrap_or_default();
            let leader = servers.iter().find(|server| server["leader"] == true);
            let name = leader.and_then(|leader| leader["name"].as_str());
            Ok(self.cluster.servers().iter().position(|server| Some(server.name()) == name))
        })
    }

    /// florctl, set up for server `at` and the owner of `token`.
    pub(crate) fn desk(&self, at: usize, token: &str, output: &str) -> Result<Command> {
        let mut command = Command::new(&self.florctl);
        command.args(["--output", output]);
        self.prepared(command, at, token)
    }

    /// A command whose florctl is set up so.
    fn prepared(&self, mut command: Command, at: usize, token: &str) -> Result<Command> {
        let Endpoints { api, http, .. } = self.endpoints(at)?;
        command.env("HOLDFAST_API", format!("https://{api}")).env("HOLDFAST_HTTP", format!("https://{http}"));
        command.env("HOLDFAST_CA", &self.ca).env("HOLDFAST_TOKEN", token);
        Ok(command)
    }

    /// What server `at` answers to a query of the history.
    pub(crate) fn history(&self, at: usize, sql: &str) -> Result<String> {
        let mut command = self.desk(at, &self.admin, "json")?;
        command.args(["history", sql]);
        run(command)?.good()
    }

    /// Where the servers keep everything.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        let first = self.cluster.servers().first().context("no server")?;
        let folder = first.launch().logs.parent().context("logs are in the cluster's folder")?;
        Ok(folder.to_owned())
    }

    /// A page of server `at`, as the administrator gets it; none where there is no curl.
    pub(crate) fn page(&self, at: usize, path: &str) -> Result<Option<String>> {
        self.page_as(at, &self.admin, path)
    }

    /// The same for the owner of `token`.
    pub(crate) fn page_as(&self, at: usize, token: &str, path: &str) -> Result<Option<String>> {
        let Some(mut curl) = self.curl()? else { return Ok(None) };
        // Not as an argument, where every process of the machine could read it.
        curl.args(["--fail", "--header", "@-"]).arg(format!("https://{}{path}", self.endpoints(at)?.http));
        run_with(curl, &format!("authorization: Bearer {token}\n"))?.good().map(Some)
    }

    /// What the token endpoint of server `at` answers to an access key; none where there is no curl.
    pub(crate) fn client_credentials(&self, at: usize, id: &str, secret: &str) -> Result<Option<String>> {
        let Some(mut curl) = self.curl()? else { return Ok(None) };
        curl.args(["--config", "-", "--data", "grant_type=client_credentials"]);
        curl.arg(format!("https://{}/oauth2/token", self.endpoints(at)?.http));
        run_with(curl, &format!("user = \"{id}:{secret}\"\n"))?.good().map(Some)
    }

    fn curl(&self) -> Result<Option<Command>> {
        Ok(client("curl")?.map(|curl| {
            let mut command = Command::new(curl);
            command.args(["--silent", "--cacert"]).arg(&self.ca);
            command
        }))
    }

    /// What a person reads.
    pub(crate) fn told(&self, at: usize, words: &str) -> Result<String> {
        self.florctl(at, &self.admin, "table", &format!("iam {words}"))?.good()
    }

    /// The token that the servers were set up with.
    pub(crate) fn administrator(&self) -> &str {
        &self.admin
    }

    pub(crate) fn admin(&self, at: usize, words: &str) -> Result<Value> {
        let said = self.iam(at, &self.admin, words)?;
        serde_json::from_str(&said.good()?).with_context(|| format!("the answer of {words:?}"))
    }

    /// What florctl says of a step that is not possible yet, or not at all.
    pub(crate) fn refused(&self, at: usize, words: &str) -> Result<String> {
        let said = self.iam(at, &self.admin, words)?;
        ensure!(said.code == WRONG_STATE, "{words}: {said:?}");
        Ok(said.err)
    }

    /// Repeats a step until its time has come.
    pub(crate) fn step_in_time(&self, at: usize, words: &str, within: Duration) -> Result<()> {
        wait_until(within, words, || {
            let said = self.iam(at, &self.admin, words)?;
            ensure!(said.code == Some(0) || said.code == WRONG_STATE, "{said:?}");
            Ok((said.code == Some(0)).then_some(()))
        })
    }

    /// Name and state of each key, as server `at` has them.
    pub(crate) fn keys(&self, at: usize) -> Result<Vec<(String, String)>> {
        let listed = self.admin(at, "key list")?;
        let keys = listed["keys"].as_array().context("a list of keys")?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("text");
        keys.iter().map(|key| Ok((text(&key["kid"])?, text(&key["state"])?))).collect()
    }

    /// Waits until every server shows the keys in these states.
    pub(crate) fn settled(&self, expected: &[(&str, &str)]) -> Result<()> {
        for at in 0..self.count() {
            wait_until(SOON, &format!("server {at} to show {expected:?}"), || {
                let keys = self.keys(at)?;
                let same = keys.iter().map(|(kid, state)| (kid.as_str(), state.as_str())).eq(expected.iter().copied());
                Ok(same.then_some(()))
            })?;
        }
        Ok(())
    }

    pub(crate) fn token(&self, at: usize, principal: &str) -> Result<Token> {
        let issued = self.admin(at, &format!("token issue {principal}"))?;
        let token = issued["token"].as_str().context("a token")?.to_owned();
        let expires_ms = issued["expires_ms"].as_u64().context("its end")?;
        let header = tokens::opened(&token)?.0;
        let kid = header["kid"].as_str().context("the name of its key")?.to_owned();
        Ok(Token { token, kid, expires: UNIX_EPOCH + Duration::from_millis(expires_ms) })
    }

    /// Whether server `at` knows the token's owner.
    pub(crate) fn accepts(&self, at: usize, token: &Token) -> Result<bool> {
        let said = self.iam(at, &token.token, "whoami")?;
        if said.code == Some(0) {
            return Ok(true);
        }
        ensure!(said.err.contains("authentication failed"), "{said:?}");
        Ok(false)
    }

    pub(crate) fn accepted_everywhere(&self, token: &Token) -> Result<()> {
        for at in 0..self.count() {
            ensure!(self.accepts(at, token)?, "server {at} refuses {}", token.kid);
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self, at: usize) -> Result<()> {
        self.server(at)?.kill()
    }

    pub(crate) fn start_again(&mut self, at: usize) -> Result<()> {
        let server = self.server(at)?;
        server.start_again()?;
        server.wait_ready().map(drop)
    }

    pub(crate) fn kill_all_and_start_again(&mut self) -> Result<()> {
        self.kill_and_start_again(0..self.count())
    }

    /// Kills these servers, and starts them again once all of them are dead.
    pub(crate) fn kill_and_start_again(&mut self, which: impl IntoIterator<Item = usize> + Clone) -> Result<()> {
        for at in which.clone() {
            self.server(at)?.kill()?;
        }
        for at in which {
            self.server(at)?.start_again()?;
        }
        self.cluster.wait_ready()
    }

    /// Starts server `at` and returns how it ended and what it said.
    pub(crate) fn start_refused(&mut self, at: usize) -> Result<String> {
        let server = self.server(at)?;
        server.start_again()?;
        match server.wait_ready() {
            Ok(_) => bail!("server {at} is ready"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Edits the configuration of server `at`, for its next start.
    pub(crate) fn configure(&self, at: usize, edit: impl FnOnce(&str) -> String) -> Result<()> {
        let server = self.cluster.servers().get(at).context("no such server")?;
        let path = server.launch().config.as_ref().context("it has a configuration")?;
        Ok(fs::write(path, edit(&fs::read_to_string(path)?))?)
    }

    /// The folder with the secrets that the servers share.
    pub(crate) fn secrets(&self) -> Result<PathBuf> {
        let token = &self.cluster.servers().first().context("no server")?.launch().admin_token;
        Ok(token.parent().context("it lies in a folder")?.to_owned())
    }

    /// Whether the rotation of this family is in `state` with `done` as its last stage.
    pub(crate) fn rotation_is(&self, at: usize, family: &str, state: &str, done: &str) -> Result<bool> {
        let said = self.iam(at, &self.admin, &format!("rotate status --family {family}"))?;
        // A server that has just lost its leader does not say.
        let Ok(found) = serde_json::from_str::<Value>(&said.out) else { return Ok(false) };
        ensure!(found["trouble"] == "", "{found}");
        Ok(found["state"] == state && found["done"] == done)
    }

    /// Waits until it is.
    pub(crate) fn rotation_reaches(
        &self,
        at: usize,
        family: &str,
        state: &str,
        done: &str,
        within: Duration,
    ) -> Result<()> {
        wait_until(within, &format!("the rotation of the {family} to be {state} after {done}"), || {
            Ok(self.rotation_is(at, family, state, done)?.then_some(()))
        })
    }

    /// A new access key of `principal`.
    pub(crate) fn access_key(&self, at: usize, principal: &str) -> Result<AccessKey> {
        let made = self.admin(at, &format!("credential create {principal}"))?;
        let text = |name: &str| made[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        Ok(AccessKey { id: text("access_key_id")?, secret: text("secret")? })
    }

    /// Whether server `at` gives a token for the access key; none where there is no curl.
    pub(crate) fn logs_in(&self, at: usize, key: &AccessKey) -> Result<Option<bool>> {
        let Some(said) = self.client_credentials(at, &key.id, &key.secret)? else { return Ok(None) };
        let answer: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        match (answer["access_token"].is_string(), answer["error"].as_str()) {
            (true, None) => Ok(Some(true)),
            (false, Some("invalid_client")) => Ok(Some(false)),
            _ => bail!("{said}"),
        }
    }

    pub(crate) fn logs_in_everywhere(&self, key: &AccessKey) -> Result<()> {
        for at in 0..self.count() {
            ensure!(self.logs_in(at, key)? != Some(false), "server {at} refuses {}", key.id);
        }
        Ok(())
    }

    /// Names of the published keys, as any verifier gets them.
    pub(crate) fn published(&self, at: usize) -> Result<Option<Vec<String>>> {
        let Some(mut curl) = self.curl()? else { return Ok(None) };
        curl.arg("--fail").arg(format!("https://{}/jwks.json", self.endpoints(at)?.http));
        let keys: Value = serde_json::from_str(&run(curl)?.good()?)?;
        let keys = keys["keys"].as_array().context("keys")?;
        Ok(Some(keys.iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect()))
    }
}
