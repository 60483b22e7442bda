//! `holdfast chainfire`: the store alone, called as etcd is called and open as etcd is.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_testkit::{Process, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http::Request,
    lab::SOON,
    programs::{Etcdctl, HOLDFAST, run},
};

/// A drop-in server, and where it says that it listens.
pub(crate) struct DropIn {
    pub(crate) process: Process,
    pub(crate) address: String,
    /// Has the log.
    folder: TempDir,
}

impl DropIn {
    fn start(command: &mut Command) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("default.etcd");
        Self::start_in(folder, command, &data)
    }

    /// With data that outlives it.
    pub(crate) fn start_on(data: &Path, command: &mut Command) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, command, data)
    }

    fn start_in(folder: TempDir, command: &mut Command, data: &Path) -> Result<Self> {
        command.arg("--data-dir").arg(data);
        command.args(["--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://127.0.0.1:0"]);
        let mut process = Process::start("etcd", command, folder.path())?;
        let address = wait_until(SOON, "the drop-in's readiness", || {
            if let Some(status) = process.ended()? {
                bail!("it ended with {status}");
            }
            let lines = lines(folder.path())?;
            let ready = lines.iter().any(|line| line["msg"] == "ready to serve client requests");
            let listening = lines.iter().find(|line| line["msg"] == "listening");
            let address = listening.and_then(|line| line["address"].as_str());
            Ok(address.filter(|_| ready).map(str::to_owned))
        });
        let address = address.map_err(|error| error.context(process.log_tail()))?;
        Ok(Self { process, address, folder })
    }
}

/// The log so far, which is JSON a line.
fn lines(folder: &Path) -> Result<Vec<Value>> {
    let log = fs::read_to_string(folder.join("etcd.log"))?;
    let complete = log.rsplit_once('\n').map_or("", |(complete, _)| complete);
    complete.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
}

#[test]
fn it_answers_anybody_and_says_so() -> Result<()> {
    let mut server = DropIn::start(Command::new(HOLDFAST).arg("chainfire"))?;
    let log = lines(server.folder.path())?;
    let said = |level: &str, text: &str| {
        log.iter().any(|line| line["level"] == level && line["msg"].as_str().is_some_and(|said| said.contains(text)))
    };
    ensure!(said("warn", "callers are not authenticated"), "{log:?}");
    ensure!(said("info", "enabled capabilities for version"), "{log:?}");
    ensure!(
        !log.iter().any(|line| line["logger"].as_str().is_some_and(|target| target.starts_with("openraft"))),
        "noise"
    );
    assert_eq!(Request::get("/health").send(&server.address)?.json()?["health"], "true");

    if let Some(etcdctl) = Etcdctl::find(&server.address, None)? {
        assert_eq!(etcdctl.says(&["put", "a", "1"])?, "OK\n");
        assert_eq!(etcdctl.says(&["get", "a"])?, "a\n1\n");
        // The id that an etcd with these flags has.
        ensure!(etcdctl.says(&["member", "list"])?.starts_with("8e9e05c52164694d, started, default, "));
        ensure!(etcdctl.says(&["endpoint", "status"])?.contains(", 3.6."));
    }
    ensure!(server.process.terminate(SOON)?.success());
    Ok(())
}

/// Also without the word `chainfire`: an etcd's unit file needs only another binary.
#[test]
fn a_link_named_etcd_is_enough() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let etcd = folder.path().join("etcd");
    symlink(HOLDFAST, &etcd)?;
    let log = folder.path().join("etcd.log");
    let mut command = Command::new(&etcd);
    command.env("ETCD_NAME", "pier").env("ETCD_LOG_OUTPUTS", format!("stderr,{}", log.display()));
    let server = DropIn::start(command.arg("--log-level=warn").arg("--log-level=info"))?;
    ensure!(lines(folder.path())?.iter().any(|line| line["msg"] == "ready to serve client requests"), "{log:?}");
    if let Some(etcdctl) = Etcdctl::find(&server.address, None)? {
        ensure!(etcdctl.says(&["member", "list"])?.contains(", started, pier, "));
    }
    Ok(())
}

#[test]
fn flags_that_etcd_does_not_have_end_it() -> Result<()> {
    for flags in [&["--bogus"][..], &["--max-txn-ops=many"], &["--listen-client-urls=nonsense"], &["--log-level=loud"]]
    {
        let mut command = Command::new(HOLDFAST);
        let said = run({
            command.arg("chainfire").args(flags);
            command
        })?;
        let flag = flags[0].split('=').next().unwrap_or_default();
        ensure!(said.code == Some(2) && said.err.contains(flag), "{flags:?}: {said:?}");
    }
    let folder = tempfile::tempdir()?;
    fs::create_dir_all(folder.path().join("member/snap"))?;
    fs::write(folder.path().join("member/snap/db"), "an etcd's")?;
    let mut command = Command::new(HOLDFAST);
    command.arg("chainfire").arg("--data-dir").arg(folder.path());
    let said = run(command)?;
    ensure!(said.code == Some(78) && said.err.contains("holdfast restore"), "{said:?}");
    let mut existing = Command::new(HOLDFAST);
    existing.args(["chainfire", "--initial-cluster-state=existing"]);
    let said = run(existing)?;
    ensure!(said.code == Some(78) && said.err.contains("--initial-cluster-state"), "{said:?}");
    Ok(())
}
