//! Servers as operators run them, and an operator with florctl: production mode, TLS on every door.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{Binaries, Cluster, Endpoints, Server, client, wait_until};
use serde_json::Value;

use crate::{
    lab::SOON,
    programs::{Said, run},
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

    fn server(&mut self, at: usize) -> Result<&mut Server> {
        self.cluster.servers_mut().get_mut(at).context("no such server")
    }

    pub(crate) fn endpoints(&self, at: usize) -> Result<Endpoints> {
        self.cluster.servers().get(at).context("no such server")?.endpoints()
    }

    /// How many servers there are.
    fn count(&self) -> usize {
        self.cluster.servers().len()
    }

    /// Runs `florctl iam` as the owner of `token`, at server `at`.
    pub(crate) fn iam(&self, at: usize, token: &str, words: &str) -> Result<Said> {
        self.florctl(at, token, "json", words)
    }

    fn florctl(&self, at: usize, token: &str, output: &str, words: &str) -> Result<Said> {
        let mut command = Command::new(&self.florctl);
        command.args(["--api", &format!("https://{}", self.endpoints(at)?.api), "--output", output]);
        command.arg("--ca").arg(&self.ca).env("HOLDFAST_TOKEN", token).arg("iam").args(words.split_whitespace());
        run(command)
    }

    /// What a person reads.
    pub(crate) fn told(&self, at: usize, words: &str) -> Result<String> {
        self.florctl(at, &self.admin, "table", words)?.good()
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
        self.cluster.servers_mut().iter_mut().try_for_each(Server::kill)?;
        self.cluster.servers_mut().iter_mut().try_for_each(Server::start_again)?;
        self.cluster.wait_ready()
    }

    /// Waits until the rotation is in `state` with `done` as its last stage.
    pub(crate) fn rotation_reaches(&self, at: usize, state: &str, done: &str, within: Duration) -> Result<()> {
        wait_until(within, &format!("the rotation to be {state} after {done}"), || {
            let found = self.admin(at, "rotate status")?;
            ensure!(found["trouble"] == "", "{found}");
            Ok((found["state"] == state && found["done"] == done).then_some(()))
        })
    }

    /// Names of the published keys, as any verifier gets them.
    pub(crate) fn published(&self, at: usize) -> Result<Option<Vec<String>>> {
        let Some(curl) = client("curl")? else { return Ok(None) };
        let mut command = Command::new(curl);
        let http = self.endpoints(at)?.http;
        command.args(["--silent", "--fail", "--cacert"]).arg(&self.ca).arg(format!("https://{http}/jwks.json"));
        let keys: Value = serde_json::from_str(&run(command)?.good()?)?;
        let keys = keys["keys"].as_array().context("keys")?;
        Ok(Some(keys.iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect()))
    }
}
