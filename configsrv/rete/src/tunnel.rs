//! One TCP connection in one stream.
//!
//! The initiator opens the stream with [`HELLO`]; the target answers [`READY`] once the service has accepted, or resets
//! the stream with the reason. From then on both carry bytes, each direction to its own end. What breaks on one side is
//! broken on the other, so that nobody takes half of something for all of it.

use std::io;

use quinn::{RecvStream, SendStream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use crate::{counters::Counters, quic::Code};

pub(crate) const HELLO: u8 = 1;
pub(crate) const READY: u8 = 0;

const CHUNK: usize = 16 << 10;

/// Carries bytes until both directions have ended, or one broke.
pub(crate) async fn carry(mut tcp: TcpStream, mut send: SendStream, mut receive: RecvStream, counters: &Counters) {
    // Many small writes are the programs' own choice.
    let _ = tcp.set_nodelay(true);
    let outcome = {
        let (mut from, mut to) = tcp.split();
        tokio::try_join!(outwards(&mut from, &mut send, counters), inwards(&mut receive, &mut to, counters)).map(|_| ())
    };
    if outcome.is_err() {
        let _ = send.reset(Code::Aborted.into());
        let _ = receive.stop(Code::Aborted.into());
        let _ = tcp.set_zero_linger();
    }
}

async fn outwards(from: &mut ReadHalf<'_>, send: &mut SendStream, counters: &Counters) -> io::Result<()> {
    // Completes when the other end stops the stream or the connection goes, also while nothing is sent.
    let stopped = send.stopped();
    tokio::pin!(stopped);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read?,
            _ = &mut stopped => return Err(io::ErrorKind::ConnectionReset.into()),
        };
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return send.finish().map_err(io::Error::from);
        };
        send.write_all(bytes).await?;
        counters.bytes_out.add(bytes.len() as u64);
    }
}

async fn inwards(receive: &mut RecvStream, to: &mut WriteHalf<'_>, counters: &Counters) -> io::Result<()> {
    while let Some(chunk) = receive.read_chunk(CHUNK, true).await? {
        to.write_all(&chunk.bytes).await?;
        counters.bytes_in.add(chunk.bytes.len() as u64);
    }
    to.shutdown().await
}
