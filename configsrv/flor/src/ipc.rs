//! How commands talk to the daemon: one JSON line there, one back.

use configsrv_fleet::Version;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

use crate::{
    Error,
    home::Layout,
    outcome::{Outcome, StatusView, SyncRequest},
};

/// Longer than any line of this protocol: an artifact in base64.
const LONGEST: u64 = 8 << 20;

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
        /// Though the servers are not reached.
        #[serde(default)]
        local: bool,
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

/// Asks the daemon; `None` if none is running.
pub(crate) async fn ask(layout: &Layout, request: &Request) -> Result<Option<Answer>, Error> {
    let Ok(mut stream) = UnixStream::connect(layout.socket()).await else { return Ok(None) };
    write(&mut stream, request).await?;
    let answer = read(&mut stream).await?;
    answer.map(Some).ok_or_else(|| Error::Unreachable("the daemon went away; look at flor status".into()))
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
