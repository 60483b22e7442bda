//! The rotation of the signing key, on three servers as operators run them: with real time, short lifetimes, and servers
//! that are killed between the steps.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{Binaries, Cluster, client, wait_until};
use serde_json::Value;

use crate::{
    lab::SOON,
    programs::{Said, run},
};

const TOKEN: Duration = Duration::from_secs(20);
const STALE: Duration = Duration::from_secs(10);
/// What every verifier forgives of time.
const LEEWAY: Duration = Duration::from_secs(30);
/// Clocks and commands take their time.
const SLACK: Duration = Duration::from_secs(20);
/// florctl's code for a step out of order.
const WRONG_STATE: Option<i32> = Some(8);

const LIFETIMES: [&str; 5] =
    ["token_ttl_s: 20", "max_token_ttl_s: 20", "jwks_cache_s: 5", "stale_limit_s: 10", "key_retirement_s: 5"];

/// Three servers and an operator.
struct Plane {
    cluster: Cluster,
    florctl: PathBuf,
    ca: PathBuf,
    admin: String,
}

impl Plane {
    /// None where florctl is not built.
    fn start() -> Result<Option<Self>> {
        let florctl = Binaries::find()?.path("florctl");
        if !florctl.is_file() {
            eprintln!("SKIPPED: florctl is not built (cargo build -p florctl)");
            return Ok(None);
        }
        let cluster = Cluster::start_production(3, &LIFETIMES)?;
        let first = cluster.servers().first().context("three servers")?;
        let folder = first.launch().logs.parent().context("logs are in the cluster's folder")?;
        let (ca, admin) = (Cluster::authority(folder), first.admin_token()?);
        Ok(Some(Self { cluster, florctl, ca, admin }))
    }

    /// Runs `florctl iam` as the owner of `token`, at server `at`.
    fn iam(&self, at: usize, token: &str, words: &str) -> Result<Said> {
        let server = self.cluster.servers().get(at).context("a server")?;
        let mut command = Command::new(&self.florctl);
        command.args(["--api", &format!("https://{}", server.endpoints()?.api), "--output", "json"]);
        command.arg("--ca").arg(&self.ca).env("HOLDFAST_TOKEN", token).arg("iam").args(words.split_whitespace());
        run(command)
    }

    fn admin(&self, at: usize, words: &str) -> Result<Value> {
        let said = self.iam(at, &self.admin, words)?;
        serde_json::from_str(&said.good()?).with_context(|| format!("the answer of {words:?}"))
    }

    /// What florctl says of a step that is not possible yet, or not at all.
    fn refused(&self, at: usize, words: &str) -> Result<String> {
        let said = self.iam(at, &self.admin, words)?;
        ensure!(said.code == WRONG_STATE, "{words}: {said:?}");
        Ok(said.err)
    }

    /// Name and state of each key, as server `at` has them.
    fn keys(&self, at: usize) -> Result<Vec<(String, String)>> {
        let listed = self.admin(at, "key list")?;
        let keys = listed["keys"].as_array().context("a list of keys")?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("text");
        keys.iter().map(|key| Ok((text(&key["kid"])?, text(&key["state"])?))).collect()
    }

    /// Waits until every server shows the keys in these states.
    fn settled(&self, expected: &[(&str, &str)]) -> Result<()> {
        for at in 0..3 {
            wait_until(SOON, &format!("server {at} to show {expected:?}"), || {
                let keys = self.keys(at)?;
                let same = keys.iter().map(|(kid, state)| (kid.as_str(), state.as_str())).eq(expected.iter().copied());
                Ok(same.then_some(()))
            })?;
        }
        Ok(())
    }

    fn token(&self, at: usize) -> Result<Token> {
        let issued = self.admin(at, "token issue service/ci")?;
        let token = issued["token"].as_str().context("a token")?.to_owned();
        let expires_ms = issued["expires_ms"].as_u64().context("its end")?;
        let header = crate::tokens::opened(&token)?.0;
        let kid = header["kid"].as_str().context("the name of its key")?.to_owned();
        Ok(Token { token, kid, expires: UNIX_EPOCH + Duration::from_millis(expires_ms) })
    }

    /// Whether server `at` knows the token's owner.
    fn accepts(&self, at: usize, token: &Token) -> Result<bool> {
        let said = self.iam(at, &token.token, "whoami")?;
        if said.code == Some(0) {
            ensure!(said.out.contains("service/ci"), "{said:?}");
            return Ok(true);
        }
        ensure!(said.err.contains("authentication failed"), "{said:?}");
        Ok(false)
    }

    fn accepted_everywhere(&self, token: &Token) -> Result<()> {
        for at in 0..3 {
            ensure!(self.accepts(at, token)?, "server {at} refuses {}", token.kid);
        }
        Ok(())
    }

    fn kill(&mut self, at: usize) -> Result<()> {
        self.cluster.servers_mut().get_mut(at).context("a server")?.kill()
    }

    fn start_again(&mut self, at: usize) -> Result<()> {
        let server = self.cluster.servers_mut().get_mut(at).context("a server")?;
        server.start_again()?;
        server.wait_ready().map(drop)
    }

    /// Names of the published keys, as any verifier gets them.
    fn published(&self, at: usize) -> Result<Option<Vec<String>>> {
        let Some(curl) = client("curl")? else { return Ok(None) };
        let mut command = Command::new(curl);
        let http = self.cluster.servers().get(at).context("a server")?.endpoints()?.http;
        command.args(["--silent", "--fail", "--cacert"]).arg(&self.ca).arg(format!("https://{http}/jwks.json"));
        let keys: Value = serde_json::from_str(&run(command)?.good()?)?;
        let keys = keys["keys"].as_array().context("keys")?;
        Ok(Some(keys.iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect()))
    }
}

struct Token {
    token: String,
    kid: String,
    expires: SystemTime,
}

#[test]
fn a_signing_key_is_rotated_while_servers_are_killed() -> Result<()> {
    let Some(mut plane) = Plane::start()? else { return Ok(()) };
    plane.admin(0, "principal create service/ci")?;
    plane.admin(0, "grant service/ci reader")?;
    let first = plane.keys(0)?.into_iter().next().context("the first key")?.0;

    let added = plane.admin(1, "key add")?;
    let second = added["kid"].as_str().context("its name")?.to_owned();
    plane.settled(&[(&first, "active"), (&second, "pending")])?;
    if let Some(published) = plane.published(2)? {
        ensure!(published == [first.clone(), second.clone()], "published before it signs: {published:?}");
    }
    let early = plane.refused(2, &format!("key activate {second}"))?;
    ensure!(early.contains("is pending; to activate it becomes possible in"), "{early}");
    ensure!(plane.token(0)?.kid == first);

    // The step is taken with a server down, and the server learns of it.
    plane.kill(0)?;
    wait_until(SOON, "the new key to become active", || {
        let said = plane.iam(1, &plane.admin, &format!("key activate {second}"))?;
        ensure!(said.code == Some(0) || said.code == WRONG_STATE, "{said:?}");
        Ok((said.code == Some(0)).then_some(()))
    })?;
    ensure!(plane.token(2)?.kid == second);
    plane.start_again(0)?;
    plane.settled(&[(&first, "verify-only"), (&second, "active")])?;

    // Back and forth: until it is retired, a key may come back.
    plane.admin(1, &format!("key activate {first}"))?;
    let old = plane.token(2)?;
    ensure!(old.kid == first);
    plane.admin(2, &format!("key activate {second}"))?;
    let superseded = Instant::now();
    plane.accepted_everywhere(&old)?;

    for step in ["retire", "purge"] {
        let early = plane.refused(0, &format!("key {step} {first}"))?;
        let why = if step == "retire" { "becomes possible in" } else { "retire it first" };
        ensure!(early.contains(&format!("is verify-only; to {step} it")) && early.contains(why), "{early}");
    }
    ensure!(plane.refused(1, &format!("key retire {second}"))?.contains("activate another key first"));
    for at in 0..3 {
        plane.kill(at)?;
    }
    for at in 0..3 {
        plane.cluster.servers_mut().get_mut(at).context("a server")?.start_again()?;
    }
    plane.cluster.wait_ready()?;
    plane.settled(&[(&first, "verify-only"), (&second, "active")])?;

    // Good until its end, and useless after it, whoever is asked.
    for at in 0..3 {
        wait_until(TOKEN + LEEWAY + SLACK, "the old token to be refused", || {
            let asked = SystemTime::now();
            let accepted = plane.accepts(at, &old)?;
            ensure!(accepted || asked > old.expires, "refused before its end");
            Ok((!accepted).then_some(()))
        })?;
    }
    wait_until(TOKEN + STALE + LEEWAY + SLACK, "the old key to be retired", || {
        let said = plane.iam(2, &plane.admin, &format!("key retire {first}"))?;
        ensure!(said.code == Some(0) || said.code == WRONG_STATE, "{said:?}");
        Ok((said.code == Some(0)).then_some(()))
    })?;
    ensure!(superseded.elapsed() >= TOKEN + STALE + LEEWAY, "a token of the old key may still have been good");
    plane.settled(&[(&first, "retired"), (&second, "active")])?;
    if let Some(published) = plane.published(0)? {
        ensure!(published == [second.clone()], "{published:?}");
    }
    ensure!(plane.refused(1, &format!("key activate {first}"))?.contains("a retired one stays retired"));

    wait_until(SOON, "the old key to be purged", || {
        let said = plane.iam(1, &plane.admin, &format!("key purge {first}"))?;
        ensure!(said.code == Some(0) || said.code == WRONG_STATE, "{said:?}");
        Ok((said.code == Some(0)).then_some(()))
    })?;
    plane.settled(&[(&second, "active")])?;
    plane.accepted_everywhere(&plane.token(0)?)
}
