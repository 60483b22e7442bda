//! What rotates in identity, on three servers as operators run them, with windows of seconds and `florctl`'s commands.

pub(crate) mod credential;
pub(crate) mod signing_key;
pub(crate) mod trust;

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdfast_testkit::{Cluster, Desk, Endpoints, Program, Server, wait_until};
use serde::Serialize;
use serde_json::Value;

use crate::{https::Connection, lane::Run, members::PATIENCE};

const SERVERS: usize = 3;
/// What every verifier forgives of time.
const LEEWAY: Duration = Duration::from_secs(30);
/// Clocks and commands take their time.
const SLACK: Duration = Duration::from_secs(20);
/// florctl's code for a step out of order.
const WRONG_STATE: i32 = 8;

/// Servers that run, and an operator.
struct Plane {
    /// They end with it.
    _cluster: Cluster,
    servers: Vec<Endpoints>,
    desk: Desk,
    journal: Vec<Entry>,
    begun: Instant,
}

/// A list of what rotates: florctl's words, and how its answer calls the rows and their names.
struct List {
    words: &'static str,
    rows: &'static str,
    id: &'static str,
}

/// One thing that was done or seen, for the evidence.
#[derive(Debug, Serialize)]
struct Entry {
    at_ms: u128,
    what: String,
}

struct Token {
    text: String,
    kid: String,
    expires: SystemTime,
}

impl Plane {
    /// Servers with these settings of `iam:`, in `folder`.
    fn start(run: &Run<'_>, folder: &Path, iam: &[&str]) -> Result<Self> {
        let mut cluster = Cluster::start_production_in(run.binaries, folder, SERVERS, iam)?;
        cluster.wait_ready()?;
        let servers = cluster.servers().iter().map(Server::endpoints).collect::<Result<_>>()?;
        let desk = Desk::of(&cluster, run.binaries, folder)?;
        Ok(Self { _cluster: cluster, servers, desk, journal: Vec::new(), begun: Instant::now() })
    }

    /// Writes down what happened; it is shown, too.
    fn note(&mut self, what: impl Into<String>) {
        let (at_ms, what) = (self.begun.elapsed().as_millis(), what.into());
        println!("  {:6.1} s  {what}", self.begun.elapsed().as_secs_f64());
        self.journal.push(Entry { at_ms, what });
    }

    fn server(&self, at: usize) -> Result<&Endpoints> {
        self.servers.get(at).context("no such server")
    }

    /// `florctl iam` with these words at a server, as the administrator.
    fn iam(&self, at: usize, words: &str) -> Result<Program> {
        self.iam_as(&self.desk, at, words)
    }

    fn iam_as(&self, desk: &Desk, at: usize, words: &str) -> Result<Program> {
        Ok(desk.florctl(self.server(at)?).words("-o json iam").words(words))
    }

    /// What it answers.
    fn told(&self, at: usize, words: &str) -> Result<Value> {
        self.iam(at, words)?.run()?.expect(0)?.json()
    }

    /// Why a step is not possible, yet or at all.
    fn refused(&self, at: usize, words: &str) -> Result<String> {
        let errors = self.iam(at, words)?.run()?.expect(WRONG_STATE)?.errors;
        let said: Value = serde_json::from_str(&errors).with_context(|| format!("what {words:?} says: {errors}"))?;
        text(&said["message"])
    }

    /// Repeats a step until its time has come.
    fn step_in_time(&self, at: usize, words: &str, within: Duration) -> Result<()> {
        wait_until(within, words, || {
            let ended = self.iam(at, words)?.run()?;
            Ok(if ended.code == Some(WRONG_STATE) { None } else { Some(ended.expect(0)?) })
        })
        .map(drop)
    }

    fn token(&self, at: usize, principal: &str) -> Result<Token> {
        let issued = self.told(at, &format!("token issue {principal}"))?;
        let token = text(&issued["token"])?;
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap_or_default())?;
        let header: Value = serde_json::from_slice(&header)?;
        let expires = Duration::from_millis(issued["expires_ms"].as_u64().context("its end")?);
        Ok(Token { text: token, kid: text(&header["kid"])?, expires: UNIX_EPOCH + expires })
    }

    /// Whether a server knows the token's owner.
    fn accepts(&self, at: usize, token: &Token) -> Result<bool> {
        let asked = self.iam_as(&self.desk.with_token(&token.text), at, "whoami")?.run()?;
        if asked.code == Some(0) {
            return Ok(true);
        }
        ensure!(asked.errors.contains("authentication failed"), "{}", asked.said());
        Ok(false)
    }

    /// Whether every server says the same to this question, and that is the answer.
    fn everywhere(&self, expected: bool, mut ask: impl FnMut(usize) -> Result<bool>) -> Result<()> {
        for at in 0..self.servers.len() {
            ensure!(ask(at)? == expected, "server {at} says {}", !expected);
        }
        Ok(())
    }

    /// Waits until every server shows these, in these states.
    fn settled(&self, list: &List, expected: &[(&str, &str)]) -> Result<()> {
        for at in 0..self.servers.len() {
            wait_until(PATIENCE, &format!("server {at} to show {expected:?}"), || {
                let listed = self.told(at, list.words)?;
                let rows = listed[list.rows].as_array().map(Vec::as_slice).unwrap_or_default();
                let found = rows.iter().map(|row| (row[list.id].as_str(), row["state"].as_str()));
                Ok(found.eq(expected.iter().map(|(id, state)| (Some(*id), Some(*state)))).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Somebody without an identity at the HTTP door of a server.
    fn anybody(&self, at: usize) -> Result<Connection> {
        Connection::open(&self.server(at)?.http, self.desk.authority(), None)
    }
}

/// A text in an answer.
fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("{value} is no text"))
}

/// Why a step is refused, without the time that it names.
fn timeless(said: &str) -> String {
    const WHEN: &str = "becomes possible in";
    said.find(WHEN).and_then(|at| said.get(..at + WHEN.len())).unwrap_or(said).to_owned()
}
