//! Running programs to their end, with a bound on the time.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{client, wait_until};

const LONGEST: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Its output, if it ended well.
    pub(crate) fn good(self) -> Result<String> {
        ensure!(self.code == Some(0), "{self:?}");
        Ok(self.out)
    }

    /// Its complaint, if it did not.
    pub(crate) fn bad(self) -> Result<String> {
        ensure!(self.code.is_some_and(|code| code != 0), "{self:?}");
        Ok(self.err)
    }
}

/// Runs `command` with `input`; a program that does not end in time is killed and the test fails.
pub(crate) fn run_with(mut command: Command, input: &str) -> Result<Said> {
    let folder = tempfile::tempdir()?;
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    command.stdin(Stdio::piped()).stdout(File::create(&out)?).stderr(File::create(&err)?);
    let mut child = Owned(command.spawn().with_context(|| format!("cannot start {command:?}"))?);
    if let Some(mut stdin) = child.0.stdin.take() {
        // A program that has ended without reading is judged by what it said.
        let _ = stdin.write_all(input.as_bytes());
    }
    let status = wait_until(LONGEST, "a program's end", || Ok(child.0.try_wait()?))?;
    let text = |path: &Path| -> Result<String> { Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned()) };
    Ok(Said { code: status.code(), out: text(&out)?, err: text(&err)? })
}

pub(crate) fn run(command: Command) -> Result<Said> {
    run_with(command, "")
}

/// Ends with the test, whatever happens.
pub(crate) struct Owned(pub(crate) Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // Either call fails only when the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `etcdctl`, logged in as `login` (`name:password`) or as nobody.
pub(crate) struct Etcdctl {
    program: PathBuf,
    endpoints: String,
    login: Option<String>,
}

impl Etcdctl {
    /// None where it is not installed.
    pub(crate) fn find(endpoints: &str, login: Option<String>) -> Result<Option<Self>> {
        let program = client("etcdctl")?;
        Ok(program.map(|program| Self { program, endpoints: endpoints.to_owned(), login }))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", &self.endpoints).args(arguments);
        command.env("ETCDCTL_DIAL_TIMEOUT", "10s").env("ETCDCTL_COMMAND_TIMEOUT", "30s");
        match &self.login {
            // Not as an argument, where every process of the machine could read it.
            Some(login) => command.env("ETCDCTL_USER", login),
            None => command.env_remove("ETCDCTL_USER"),
        };
        command
    }

    pub(crate) fn says(&self, arguments: &[&str]) -> Result<String> {
        run(self.command(arguments))?.good()
    }

    pub(crate) fn refused(&self, arguments: &[&str]) -> Result<String> {
        run(self.command(arguments))?.bad()
    }
}

/// `psql` with one statement; output is unaligned rows.
pub(crate) fn psql(address: &str, password: &str, statement: &str) -> Result<Option<Said>> {
    let Some(program) = client("psql")? else { return Ok(None) };
    let (host, port) = address.split_once(':').context("an address without port")?;
    let mut command = Command::new(program);
    command.args([
        "-X",
        "-A",
        "-t",
        "-v",
        "VERBOSITY=verbose",
        "-h",
        host,
        "-p",
        port,
        "-U",
        "admin",
        "-d",
        "holdfast",
    ]);
    command.args(["-c", statement]).env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "10");
    run(command).map(Some)
}
