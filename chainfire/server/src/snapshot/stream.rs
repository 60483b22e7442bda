use std::{fs::File, io::SeekFrom};

use bytes::Bytes;
use futures::{Stream, stream};
use holdfast_proto::etcdserverpb::{ResponseHeader, SnapshotResponse};
use ring::digest::{Context, SHA256};
use tokio::{
    fs,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};
use tonic::Status;

use crate::Error;

/// Bytes of one part, as clients of etcd know it.
const CHUNK: usize = 32 << 10;

/// What is left to be sent.
struct Sending<G> {
    file: fs::File,
    left: u64,
    digest: Context,
    header: Option<ResponseHeader>,
    version: &'static str,
    next: Next,
    /// Held until the stream ends.
    _guard: G,
}

enum Next {
    Begin,
    Payload,
    Digest,
    Nothing,
}

/// The `length` bytes of `file` in parts, each with how many follow, and then their SHA-256 as a part of its own.
pub(crate) fn parts<G: Send + 'static>(
    file: File,
    length: u64,
    header: ResponseHeader,
    version: &'static str,
    guard: G,
) -> impl Stream<Item = Result<SnapshotResponse, Status>> + Send + use<G> {
    let sending = Sending {
        file: fs::File::from_std(file),
        left: length,
        digest: Context::new(&SHA256),
        header: Some(header),
        version,
        next: Next::Begin,
        _guard: guard,
    };
    stream::unfold(sending, |mut sending| async move {
        let part = sending.part().await.transpose()?;
        if part.is_err() {
            sending.next = Next::Nothing;
        }
        let part = part.map_err(|error| Error::Storage(format!("a snapshot is not sent: {error}")).into());
        Some((part, sending))
    })
}

impl<G> Sending<G> {
    async fn part(&mut self) -> std::io::Result<Option<SnapshotResponse>> {
        if let Next::Begin = self.next {
            self.file.seek(SeekFrom::Start(0)).await?;
            self.next = Next::Payload;
        }
        let blob = match self.next {
            Next::Begin | Next::Nothing => return Ok(None),
            Next::Payload => {
                let mut chunk = vec![0; CHUNK.min(usize::try_from(self.left).unwrap_or(CHUNK))];
                self.file.read_exact(&mut chunk).await?;
                self.digest.update(&chunk);
                self.left -= chunk.len() as u64;
                if self.left == 0 {
                    self.next = Next::Digest;
                }
                Bytes::from(chunk)
            }
            Next::Digest => {
                self.next = Next::Nothing;
                Bytes::copy_from_slice(self.digest.clone().finish().as_ref())
            }
        };
        Ok(Some(SnapshotResponse {
            header: self.header.take(),
            remaining_bytes: self.left,
            blob,
            version: self.version.to_owned(),
        }))
    }
}
