//! How commands talk to the daemon: one JSON line there, one back.

use std::{path::Path, time::Duration};

use configsrv_fleet::Version;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    time::{Instant, sleep},
};

use crate::{
    Error,
    agent::Demand,
    home::Layout,
    op_lock::OpLock,
    outcome::{Outcome, StatusView, SyncRequest},
};

/// Longer than any line of this protocol: an artifact in base64.
const LONGEST: u64 = 8 << 20;
/// A daemon that starts has its place a moment before its socket, and one that ends a moment after it.
const BETWEEN: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request {
    Sync(SyncRequest),
    /// A sync with an artifact that a person brought, in base64.
    Carry {
        artifact: String,
        request: SyncRequest,
    },
    Confirm {
        version: Option<Version>,
        #[serde(default)]
        demand: Demand,
    },
    Cancel,
    /// Write files again that somebody else changed.
    Repair,
    Status,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Done(Outcome),
    Status(Box<StatusView>),
    Failed(Error),
}

/// Asks the daemon; `None` if none is running. One that runs and is not reached is no reason to work without it: its data
/// plane would go on with what was.
pub(crate) async fn ask(layout: &Layout, request: &Request) -> Result<Option<Answer>, Error> {
    let Some(mut stream) = connect(layout).await? else { return Ok(None) };
    write(&mut stream, request).await?;
    let answer = read(&mut stream).await?;
    answer.map(Some).ok_or_else(|| Error::Unreachable("the daemon went away; look at flor status".into()))
}

async fn connect(layout: &Layout) -> Result<Option<UnixStream>, Error> {
    let (path, until) = (layout.socket(), Instant::now() + BETWEEN);
    loop {
        let error = match UnixStream::connect(&path).await {
            Ok(stream) => return believe(&stream, &path).map(|()| Some(stream)),
            Err(error) => error,
        };
        if !OpLock::has_daemon(layout)? {
            return Ok(None);
        }
        if Instant::now() >= until {
            return Err(Error::Unreachable(format!(
                "a daemon runs here and is not reached: {}: {error}; nothing is changed past it: restart it \
                 (systemctl restart flor)",
                path.display()
            )));
        }
        sleep(AGAIN).await;
    }
}

/// Whoever else can write into the socket's folder must not be obeyed, or told of anything.
fn believe(stream: &UnixStream, path: &Path) -> Result<(), Error> {
    let owner = stream.peer_cred().map_err(|error| Error::file(path, &error))?.uid();
    if may_answer(owner, geteuid().as_raw()) {
        return Ok(());
    }
    Err(Error::Untrusted(format!(
        "{} belongs to user {owner}, and the daemon is root's or your own: stop whoever listens there",
        path.display()
    )))
}

fn may_answer(owner: u32, asking: u32) -> bool {
    owner == 0 || owner == asking
}

/// The next line; `None` at the end of the stream.
pub(crate) async fn read<T: serde::de::DeserializeOwned>(stream: &mut UnixStream) -> Result<Option<T>, Error> {
    let mut line = String::new();
    let broken = |error: &dyn std::fmt::Display| Error::Unreachable(format!("agent.sock: {error}"));
    BufReader::new(stream.take(LONGEST)).read_line(&mut line).await.map_err(|error| broken(&error))?;
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(|error| broken(&error))
}

pub(crate) async fn write<T: Serialize>(stream: &mut UnixStream, value: &T) -> Result<(), Error> {
    let mut line = serde_json::to_vec(value).map_err(|error| Error::Unexpected(error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(|error| Error::Unreachable(format!("agent.sock: {error}")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::net::UnixListener;

    use super::*;

    #[test]
    fn root_and_oneself_are_believed() {
        assert!(may_answer(0, 1000) && may_answer(1000, 1000));
        assert!(!may_answer(1001, 1000) && !may_answer(1000, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_is_not_reached_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(&folder.path().display().to_string());
        assert!(connect(&layout).await.unwrap().is_none());
        let daemon = OpLock::daemon(&layout).await.unwrap();
        let refused = connect(&layout).await.unwrap_err();
        assert!(matches!(&refused, Error::Unreachable(text) if text.contains("restart it")), "{refused}");
        fs::create_dir_all(layout.socket().parent().unwrap()).unwrap();
        let listener = UnixListener::bind(layout.socket()).unwrap();
        assert!(connect(&layout).await.unwrap().is_some());
        drop((daemon, listener));
        assert!(connect(&layout).await.unwrap().is_none(), "it was killed and left its socket");
    }
}
