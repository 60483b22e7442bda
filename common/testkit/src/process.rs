//! A child process whose output goes to files and whose life ends with its owner's.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::condition::wait_until;

/// Lines shown of a log when something went wrong.
const TAIL: usize = 60;

/// What a process can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End in order.
    Terminate,
    /// What Ctrl-C sends.
    Interrupt,
    /// End now.
    Kill,
    /// Do nothing until [`Signal::Continue`].
    Stop,
    Continue,
}

/// A running child. Dropping it kills it; if the dropping thread panics, the end of the log is printed first.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    log: PathBuf,
    /// Where this run's part of `output` begins: files are kept over restarts.
    begin: u64,
}

impl Process {
    /// Starts `command` with standard output to `NAME.out` and standard error to `NAME.log` in `folder`, appending.
    ///
    /// # Errors
    /// When the files cannot be opened or the program cannot be started.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (output, log) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.log")));
        let output_file = append(&output)?;
        let begin = output_file.metadata()?.len();
        command.stdin(Stdio::null()).stdout(output_file).stderr(append(&log)?);
        let program = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("cannot start {}", Path::new(&program).display()))?;
        Ok(Self { name: name.to_owned(), child, output, log, begin })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot ask for {}", self.name))
    }

    /// Waits for a line of this run's standard output.
    ///
    /// # Errors
    /// When the process ends or the time is over before; the error has the end of the log.
    pub fn wait_for_line(&mut self, timeout: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let what = format!("a line of {}", self.name);
        let waited = wait_until(timeout, &what, || {
            // Asked before reading, so that what was written just before the end is seen.
            let ended = self.ended()?;
            let text = self.printed()?;
            let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
            match (complete.lines().find(|line| wanted(line)), ended) {
                (Some(line), _) => Ok(Some(line.to_owned())),
                (None, Some(status)) => bail!("{} ended with {status}", self.name),
                (None, None) => Ok(None),
            }
        });
        waited.map_err(|error| error.context(self.log_tail()))
    }

    /// What this run has written to standard output.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn printed(&self) -> Result<String> {
        let mut file = File::open(&self.output).with_context(|| format!("cannot open {}", self.output.display()))?;
        file.seek(SeekFrom::Start(self.begin))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sends a signal to this process only.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let name = match signal {
            Signal::Kill => return self.child.kill().with_context(|| format!("cannot kill {}", self.name)),
            Signal::Terminate => "TERM",
            Signal::Interrupt => "INT",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        // The child has not been waited for, so its id is still its own; the shell's `kill` is there on every system.
        let id = self.child.id().to_string();
        let arguments: [&OsStr; 5] =
            ["-c".as_ref(), "kill -s \"$1\" \"$2\"".as_ref(), "sh".as_ref(), name.as_ref(), id.as_ref()];
        let status = Command::new("sh").args(arguments).status().context("cannot start sh")?;
        if status.success() { Ok(()) } else { bail!("cannot send {name} to {}", self.name) }
    }

    /// Kills and waits: afterwards nothing of it runs.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::Kill)?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// Asks to end and waits for it.
    ///
    /// # Errors
    /// When it has not ended in time; it is killed then.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(Signal::Terminate)?;
        let what = format!("the end of {}", self.name);
        let ended = wait_until(timeout, &what, || self.child.try_wait().map_err(Into::into));
        if ended.is_err() {
            self.kill()?;
        }
        ended.map_err(|error| error.context(self.log_tail()))
    }

    /// The last lines of standard error, with a heading.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n");
        format!("the end of {}'s log:\n{tail}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        // Either call fails only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        Process::start("shell", Command::new("sh").args(["-c", script]), folder).unwrap()
    }

    #[test]
    fn a_line_is_found_in_this_run_only() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = shell("echo ready one; sleep 60", folder.path());
        let ready = |line: &str| line.starts_with("ready");
        assert_eq!(first.wait_for_line(Duration::from_secs(10), ready).unwrap(), "ready one");
        first.kill().unwrap();
        let mut second = shell("echo ready two; sleep 60", folder.path());
        assert_eq!(second.wait_for_line(Duration::from_secs(10), ready).unwrap(), "ready two");
    }

    #[test]
    fn an_end_before_the_line_shows_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo no quorum >&2; exit 3", folder.path());
        let error = process.wait_for_line(Duration::from_secs(10), |_| false).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("no quorum") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn terminating_lets_the_process_finish() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done", folder.path());
        process.wait_for_line(Duration::from_secs(10), |line| line == "up").unwrap();
        assert_eq!(process.terminate(Duration::from_secs(10)).unwrap().code(), Some(7));
    }
}
