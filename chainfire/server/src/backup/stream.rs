use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::Bytes;
use chainfire_raft::View;
use futures::Stream;
use holdfast_proto::chainfire::BackupResponse;
use tokio::{runtime::Handle, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::make::make;
use crate::Error;

/// Bytes of one message; a frame that is larger goes into several.
const CHUNK: usize = 256 << 10;
/// Messages that wait for a slow reader.
const WAITING: usize = 4;
/// A reader that takes nothing for so long is given up: while it reads, old versions stay on disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bytes of a backup. It ends with an error if the backup cannot be made whole.
pub(crate) fn stream<G: Send + 'static>(
    views: Vec<(&'static str, View)>,
    guard: G,
) -> impl Stream<Item = Result<BackupResponse, Status>> + Send + use<G> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut out = Sending { sender, runtime, chunk: Vec::with_capacity(CHUNK) };
        let made = make(&mut out, &views).map_err(|error| error.to_string());
        let made = made.and_then(|()| out.send_rest().map_err(|error| error.to_string()));
        drop((views, guard));
        if let Err(reason) = made {
            // Who is gone does not hear it.
            let _ = out.hand_over(Err(Error::Storage(format!("a backup is not made: {reason}")).into()));
        }
    });
    ReceiverStream::new(receiver)
}

/// Gathers what is written and sends it on.
struct Sending {
    sender: mpsc::Sender<Result<BackupResponse, Status>>,
    runtime: Handle,
    chunk: Vec<u8>,
}

impl Sending {
    fn send_rest(&mut self) -> io::Result<()> {
        let data = Bytes::from(std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK)));
        if data.is_empty() { Ok(()) } else { self.hand_over(Ok(BackupResponse { data })) }
    }

    fn hand_over(&self, message: Result<BackupResponse, Status>) -> io::Result<()> {
        match self.runtime.block_on(timeout(PATIENCE, self.sender.send(message))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the reader is gone")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes nothing")),
        }
    }
}

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK - self.chunk.len();
        let (now, _) = bytes.split_at(room.min(bytes.len()));
        self.chunk.extend_from_slice(now);
        if self.chunk.len() == CHUNK {
            self.send_rest()?;
        }
        Ok(now.len())
    }

    /// What is gathered goes when it is enough, or at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
