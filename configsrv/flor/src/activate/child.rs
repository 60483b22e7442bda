//! A program that is run to its own end. What it leaves in the background is its own business; what it says is heard and
//! mostly forgotten.

use std::{
    future::pending,
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStderr, Command},
    time::timeout,
};

use crate::disk::with_umask;

/// Programs may make files that others read; the agent's own umask is stricter.
const UMASK: u32 = 0o022;
/// Who is in the background may hold the pipe for ever: what was said before the end is there by then.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Bytes of what a program says that are kept.
const KEPT: usize = 4 << 10;
/// Characters of it that are shown.
const SHOWN: usize = 500;

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub status: ExitStatus,
    /// The end of what it said last, if it failed.
    pub said: String,
}

/// A program and whatever it starts in its group, killed together when this is dropped before the program's own end. Until
/// then its number is nobody else's.
struct Group {
    child: Child,
    leader: Option<Pid>,
}

/// The end of what a program says.
struct Words {
    pipe: Option<ChildStderr>,
    end: Vec<u8>,
}

/// Waits for the program itself, for as long as `patience`.
pub(super) async fn run(program: &str, arguments: &[&str], patience: Duration) -> io::Result<Ended> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut group = Group::of(with_umask(UMASK, || command.spawn())?);
    let mut words = Words { pipe: group.child.stderr.take(), end: Vec::with_capacity(2 * KEPT) };
    let ended = tokio::select! {
        ended = timeout(patience, group.wait()) => ended,
        never = async { words.listen().await; pending().await } => never,
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("not done after {} s", patience.as_secs()));
    let status = ended.map_err(late)??;
    if !status.success() {
        // Whatever is not heard by then is missed.
        let _ = timeout(LAST_WORDS, words.listen()).await;
    }
    Ok(Ended { status, said: tail(&words.end) })
}

impl Group {
    fn of(child: Child) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { child, leader }
    }

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        // From now on the number may be another group's.
        self.leader = None;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader
            && let Err(error) = kill_process_group(leader, Signal::KILL)
        {
            tracing::debug!(%error, "a program's group was not killed");
        }
    }
}

impl Words {
    /// Listens until nobody can say anything more. What was heard stays when this is dropped.
    async fn listen(&mut self) {
        while let Some(pipe) = &mut self.pipe {
            match pipe.read_buf(&mut self.end).await {
                Ok(1..) => self.forget(),
                Ok(0) | Err(_) => self.pipe = None,
            }
        }
    }

    /// All but the end of it, which leaves room to read into.
    fn forget(&mut self) {
        let excess = self.end.len().saturating_sub(KEPT);
        self.end.drain(..excess);
    }
}

/// The end of what a program said.
fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let start = text.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
    text.get(start..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Instant};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn shell(script: &str, patience: Duration) -> io::Result<Ended> {
        run("sh", &["-c", script], patience).await
    }

    /// Whether a process is there and not only waiting to be noticed.
    fn lives(id: &str) -> bool {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    async fn until(what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "waited for {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn line(path: &Path) -> Option<String> {
        fs::read_to_string(path).ok().and_then(|text| text.strip_suffix('\n').map(str::to_owned))
    }

    #[tokio::test]
    async fn whoever_stays_in_the_background_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("id");
        let start = Instant::now();
        for (end, said) in [("echo started; exit 0", ""), ("echo no such port >&2; exit 78", "no such port")] {
            let script = format!("sleep 60 & echo $! > {}; {end}", note.display());
            let ended = shell(&script, PATIENCE).await.unwrap();
            assert_eq!((ended.status.success(), ended.said.as_str()), (said.is_empty(), said));
            let id = line(&note).unwrap();
            assert!(lives(&id), "it was left alone");
            let id = Pid::from_raw(id.parse().unwrap()).unwrap();
            rustix::process::kill_process(id, Signal::KILL).unwrap();
        }
        assert!(start.elapsed() < PATIENCE / 2);
    }

    #[tokio::test]
    async fn who_takes_too_long_is_killed_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("id");
        let script = format!("sleep 60 & echo $! > {}; wait", note.display());
        let error = shell(&script, Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(error.to_string(), "not done after 2 s");
        let id = line(&note).expect("it had begun");
        until("its end", || !lives(&id)).await;
        // The same for whoever is not waited for to the end.
        fs::remove_file(&note).unwrap();
        tokio::select! {
            _ = shell(&script, PATIENCE) => panic!("it does not end by itself"),
            () = until("its beginning", || line(&note).is_some()) => {}
        }
        let id = line(&note).unwrap();
        until("its end", || !lives(&id)).await;
    }

    #[tokio::test]
    async fn who_says_too_much_is_heard_at_the_end() {
        let ended =
            shell("yes x | head -c 20000000 >&2; echo; yes x | head -c 20000000; echo full >&2; exit 1", PATIENCE);
        let said = ended.await.unwrap().said;
        assert!(said.ends_with("x\nfull") && said.len() <= SHOWN + 1, "{said}");

        let mut words = Words { pipe: None, end: Vec::with_capacity(2 * KEPT) };
        let room = words.end.capacity();
        for at in 0..100 {
            words.end.extend(std::iter::repeat_n(at, KEPT));
            words.forget();
        }
        assert_eq!((words.end.len(), words.end.capacity()), (KEPT, room));
    }
}
