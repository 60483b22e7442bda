//! Recipes (§2.8) as real clients run them: etcdctl's own, and the server's by grpcurl.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use holdfast_testkit::client;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    lock::{PATIENCE, line},
    support::TestServer,
};

/// A client that goes on until it is told to stop. What it prints has somewhere to go meanwhile: it would end at a pipe
/// that nobody holds.
struct Running {
    client: Child,
    _output: Option<BufReader<ChildStdout>>,
}

impl Running {
    fn interrupt(&self) -> anyhow::Result<()> {
        let interrupted = Command::new("kill").args(["-INT", &self.client.id().to_string()]).status()?;
        anyhow::ensure!(interrupted.success());
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// Starts a client, and waits for the first line that it prints.
async fn first_line(mut command: Command) -> anyhow::Result<(Running, String)> {
    let mut client = command.stdout(Stdio::piped()).spawn()?;
    let stdout = client.stdout.take().ok_or_else(|| anyhow::anyhow!("no output"))?;
    let mut running = Running { client, _output: None };
    let read = tokio::task::spawn_blocking(move || {
        let mut output = BufReader::new(stdout);
        let mut line = String::new();
        output.read_line(&mut line).map(|_| (output, line))
    });
    let (output, line) = timeout(PATIENCE, read).await???;
    running._output = Some(output);
    anyhow::ensure!(line.ends_with('\n'), "nothing was printed");
    Ok((running, line.trim_end_matches('\n').to_owned()))
}

fn etcdctl(server: &TestServer, args: &[&str]) -> anyhow::Result<Option<Command>> {
    let Some(etcdctl) = client("etcdctl")? else { return Ok(None) };
    let mut command = Command::new(etcdctl);
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", server.address)).args(args);
    Ok(Some(command))
}

async fn grpcurl(server: &TestServer, method: &str, json: &str) -> anyhow::Result<Option<(bool, String)>> {
    let Some(grpcurl) = client("grpcurl")? else { return Ok(None) };
    let mut command = Command::new(grpcurl);
    command.args(["-plaintext", "-d", json, &server.address.to_string(), method]);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let text = if output.status.success() { output.stdout } else { output.stderr };
    Ok(Some((output.status.success(), String::from_utf8(text)?)))
}

#[tokio::test]
async fn etcdctl_takes_a_lock_and_gives_it_up() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let Some(command) = etcdctl(&server, &["lock", "mylock"])? else { return Ok(()) };
    let (holder, key) = first_line(command).await?;
    let held = line(&server, b"mylock/", b"mylock0", 1).await?;
    assert_eq!(held[0].key, key);
    assert!(held[0].value.is_empty() && key == format!("mylock/{:x}", held[0].lease));

    // The server's own recipe stands in the same line.
    let name = r#"{"name":"bXlsb2Nr"}"#;
    let mut waiting = Box::pin(grpcurl(&server, "v3lockpb.Lock/Lock", name));
    tokio::select! {
        stood = line(&server, b"mylock/", b"mylock0", 2) => drop(stood?),
        early = &mut waiting => anyhow::bail!("not its turn yet: {early:?}"),
    }
    holder.interrupt()?;
    let Some((true, locked)) = timeout(PATIENCE, waiting).await?? else { return Ok(()) };
    let locked: Value = serde_json::from_str(&locked)?;
    let unlock = serde_json::json!({"key": locked["key"]}).to_string();
    assert!(grpcurl(&server, "v3lockpb.Lock/Unlock", &unlock).await?.is_some_and(|(ok, _)| ok));
    line(&server, b"mylock/", b"mylock0", 0).await?;
    Ok(())
}

#[tokio::test]
async fn etcdctl_elects_and_listens_to_the_servers_candidates() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let Some(command) = etcdctl(&server, &["elect", "e", "one"])? else { return Ok(()) };
    let (leading, key) = first_line(command).await?;
    assert_eq!(line(&server, b"e/", b"e0", 1).await?[0].key, key);
    let Some((true, leader)) = grpcurl(&server, "v3electionpb.Election/Leader", r#"{"name":"ZQ=="}"#).await? else {
        return Ok(());
    };
    assert_eq!(serde_json::from_str::<Value>(&leader)?["kv"]["value"], "b25l");
    leading.interrupt()?;
    line(&server, b"e/", b"e0", 0).await?;

    let campaign = r#"{"name":"ZQ==","value":"dHdv"}"#;
    let Some((true, elected)) = grpcurl(&server, "v3electionpb.Election/Campaign", campaign).await? else {
        anyhow::bail!("nobody stood in the way");
    };
    let Some(listen) = etcdctl(&server, &["elect", "-l", "e"])? else { return Ok(()) };
    let (_listening, key) = first_line(listen).await?;
    assert_eq!(key.as_bytes(), line(&server, b"e/", b"e0", 1).await?[0].key);
    let leader = serde_json::from_str::<Value>(&elected)?["leader"].clone();
    let resign = serde_json::json!({"leader": leader}).to_string();
    assert!(grpcurl(&server, "v3electionpb.Election/Resign", &resign).await?.is_some_and(|(ok, _)| ok));
    let none = grpcurl(&server, "v3electionpb.Election/Leader", r#"{"name":"ZQ=="}"#).await?.unwrap_or_default();
    assert!(!none.0 && none.1.contains("election: no leader"), "{}", none.1);
    Ok(())
}
