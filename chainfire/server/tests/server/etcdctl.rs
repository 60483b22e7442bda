//! Debian's etcdctl, if it is installed, against one real server.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Output, Stdio},
};

use crate::support::TestServer;

/// Runs etcdctl off the runtime's threads.
pub(crate) async fn etcdctl(server: &TestServer, args: &[&str], input: &'static str) -> anyhow::Result<Output> {
    let mut command = command(server, args);
    let output = tokio::task::spawn_blocking(move || {
        use std::io::Write as _;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    });
    Ok(output.await??)
}

fn command(server: &TestServer, args: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    // With a scheme, as most have it in their scripts: for calls to one endpoint this etcdctl sends it in `:authority`.
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints=http://{}", server.address)).args(args);
    command
}

/// The words on standard output of a call that must succeed.
pub(crate) async fn says(server: &TestServer, args: &[&str]) -> anyhow::Result<String> {
    let output = etcdctl(server, args, "").await?;
    anyhow::ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) fn installed() -> bool {
    let found = Command::new("etcdctl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("SKIPPED: etcdctl is not installed (Debian: etcd-client)");
    }
    found
}

#[tokio::test]
async fn reads_and_writes() -> anyhow::Result<()> {
    if !installed() {
        return Ok(());
    }
    let server = TestServer::start().await?;
    assert_eq!(says(&server, &["put", "greeting", "hello"]).await?, "OK\n");
    assert_eq!(says(&server, &["get", "greeting"]).await?, "greeting\nhello\n");
    assert_eq!(says(&server, &["get", "--prefix", "gr", "--print-value-only"]).await?, "hello\n");
    assert_eq!(says(&server, &["put", "--prev-kv", "greeting", "hi"]).await?, "OK\ngreeting\nhello\n");
    assert_eq!(says(&server, &["get", "greeting", "--rev=2"]).await?, "greeting\nhello\n");
    assert_eq!(says(&server, &["del", "greeting"]).await?, "1\n");
    let missing = etcdctl(&server, &["put", "--lease=abc", "k", "v"], "").await?;
    assert!(String::from_utf8_lossy(&missing.stderr).contains("requested lease not found"));
    Ok(())
}

#[tokio::test]
async fn runs_transactions() -> anyhow::Result<()> {
    if !installed() {
        return Ok(());
    }
    let server = TestServer::start().await?;
    let script = "create(\"a\") = \"0\"\n\nput a 1\n\nget a\n\n";
    let first = etcdctl(&server, &["txn"], script).await?;
    assert_eq!(String::from_utf8(first.stdout)?, "SUCCESS\n\nOK\n");
    let second = etcdctl(&server, &["txn"], script).await?;
    assert_eq!(String::from_utf8(second.stdout)?, "FAILURE\n\na\n1\n");
    Ok(())
}

#[tokio::test]
async fn manages_leases() -> anyhow::Result<()> {
    if !installed() {
        return Ok(());
    }
    let server = TestServer::start().await?;
    let granted = says(&server, &["lease", "grant", "60"]).await?;
    let id = granted.split_whitespace().nth(1).unwrap_or_default().to_owned();
    assert_eq!(granted, format!("lease {id} granted with TTL(60s)\n"));
    says(&server, &["put", &format!("--lease={id}"), "session", "v"]).await?;
    let left = says(&server, &["lease", "timetolive", "--keys", &id]).await?;
    assert!(left.contains("granted with TTL(60s)") && left.contains("session"), "{left}");
    let renewed = says(&server, &["lease", "keep-alive", "--once", &id]).await?;
    assert_eq!(renewed, format!("lease {id} keepalived with TTL(60)\n"));
    assert!(says(&server, &["lease", "list"]).await?.contains(&id));
    assert_eq!(says(&server, &["lease", "revoke", &id]).await?, format!("lease {id} revoked\n"));
    assert_eq!(says(&server, &["get", "session"]).await?, "");
    Ok(())
}

#[tokio::test]
async fn watches() -> anyhow::Result<()> {
    if !installed() {
        return Ok(());
    }
    let server = TestServer::start().await?;
    says(&server, &["put", "a", "1"]).await?;
    let mut child = command(&server, &["watch", "--rev=2", "--prefix", "a"]).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| anyhow::anyhow!("no output"))?;
    says(&server, &["put", "a", "2"]).await?;
    says(&server, &["del", "a"]).await?;
    let lines =
        tokio::task::spawn_blocking(move || BufReader::new(stdout).lines().take(9).collect::<Result<Vec<_>, _>>());
    let lines = tokio::time::timeout(std::time::Duration::from_secs(20), lines).await???;
    child.kill()?;
    child.wait()?;
    assert_eq!(lines, ["PUT", "a", "1", "PUT", "a", "2", "DELETE", "a", ""]);
    Ok(())
}

#[tokio::test]
async fn a_compacted_watch_ends_with_the_words_of_etcd() -> anyhow::Result<()> {
    if !installed() {
        return Ok(());
    }
    let server = TestServer::start().await?;
    for n in ["1", "2", "3"] {
        says(&server, &["put", "a", n]).await?;
    }
    assert_eq!(says(&server, &["compact", "--physical", "3"]).await?, "compacted revision 3\n");
    let watch = etcdctl(&server, &["watch", "--rev=2", "a"], "").await?;
    assert_eq!(watch.status.code(), Some(5));
    let words = String::from_utf8(watch.stderr)?;
    assert!(words.contains("mvcc: required revision has been compacted"), "{words}");
    Ok(())
}

#[tokio::test]
async fn shows_the_cluster() -> anyhow::Result<()> {
    if !installed() {
        return Ok(());
    }
    let server = TestServer::start().await?;
    let status = says(&server, &["endpoint", "status"]).await?;
    assert!(status.contains("8e9e05c52164694d, 3.6.") && status.contains("true"), "{status}");
    assert!(says(&server, &["endpoint", "health"]).await.is_ok());
    let hash = says(&server, &["endpoint", "hashkv"]).await?;
    assert!(hash.contains(", "), "{hash}");
    let members = says(&server, &["member", "list"]).await?;
    assert_eq!(members, "8e9e05c52164694d, started, default, http://localhost:2380, http://localhost:2379, false\n");
    let add = etcdctl(&server, &["member", "add", "x", "--peer-urls=http://10.0.0.9:2380"], "").await?;
    assert!(String::from_utf8_lossy(&add.stderr).contains("not capable"));
    assert!(says(&server, &["defrag"]).await?.contains("Finished defragmenting"));
    assert_eq!(says(&server, &["alarm", "list"]).await?, "");
    Ok(())
}

/// §2.9: the operator's way out of a full store.
#[tokio::test]
async fn lists_and_disarms_alarms() -> anyhow::Result<()> {
    if !installed() {
        return Ok(());
    }
    let server = TestServer::start_with(&["--quota-backend-bytes=1000"]).await?;
    let value = "x".repeat(900);
    let full = etcdctl(&server, &["put", "a", &value], "").await?;
    assert!(String::from_utf8_lossy(&full.stderr).contains("mvcc: database space exceeded"));
    let listed = says(&server, &["alarm", "list"]).await?;
    assert!(listed.starts_with("memberID:10276657743932975437 alarm:NOSPACE"), "{listed}");
    let status = says(&server, &["endpoint", "status", "-w", "json"]).await?;
    assert!(status.contains("alarm:NOSPACE"), "{status}");
    assert_eq!(says(&server, &["alarm", "disarm"]).await?, listed);
    assert_eq!(says(&server, &["alarm", "list"]).await?, "");
    assert_eq!(says(&server, &["put", "a", "1"]).await?, "OK\n");
    Ok(())
}
