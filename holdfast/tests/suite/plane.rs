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
        let mut command = self.desk(at, token, output)?;
        command.arg("iam").args(words.split_whitespace());
        run(command)
    }

    /// florctl, set up for server `at` and the owner of `token`.
    pub(crate) fn desk(&self, at: usize, token: &str, output: &str) -> Result<Command> {
        let mut command = Command::new(&self.florctl);
        let endpoints = self.endpoints(at)?;
        command.args([
            "--api",
            &format!("https://{}", endpoints.api),
            "--http",
            &format!("https://{}", endpoints.http),
        ]);
        command.args(["--output", output]).arg("--ca").arg(&self.ca).env("HOLDFAST_TOKEN", token);
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
        let Some(mut curl) = self.curl()? else { return Ok(None) };
        curl.arg("--fail").arg(format!("https://{}/jwks.json", self.endpoints(at)?.http));
        let keys: Value = serde_json::from_str(&run(curl)?.good()?)?;
        let keys = keys["keys"].as_array().context("keys")?;
        Ok(Some(keys.iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect()))
    }
}
