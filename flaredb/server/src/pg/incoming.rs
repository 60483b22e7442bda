//! The messages of one connection. What a message is made of is decoded by pgwire, which takes a message's word for its
//! length; so nothing gets there whose header does not fit.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Poll, ready},
};

use bytes::BytesMut;
use pgwire::{
    api::{ClientInfo as _, PgWireConnectionState},
    messages::PgWireFrontendMessage,
    tokio::server::{MaybeTls, PgWireMessageServerCodec},
};
use tokio_util::{
    codec::{Decoder as _, Framed},
    io::poll_read_buf,
};

use super::session::Prepared;

pub(super) type Socket = Framed<MaybeTls, PgWireMessageServerCodec<Prepared>>;

pub(super) enum Next {
    Message(PgWireFrontendMessage),
    Closed,
    /// Bytes that are no message.
    Malformed,
    TooLarge,
}

/// What a caller may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    StartUp,
    Password,
    Session,
}

/// What the bytes that are here amount to.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Incomplete,
    Complete,
    Malformed,
    TooLarge,
}

/// The next whole message. One that announces more than `limit` bytes is not waited for.
pub(super) async fn next(socket: &mut Socket, known: bool, limit: usize) -> io::Result<Next> {
    std::future::poll_fn(|context| {
        loop {
            let stage = match socket.state() {
                PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AwaitingSslRequest => Stage::StartUp,
                _ if known => Stage::Session,
                _ => Stage::Password,
            };
            match frame(socket.read_buffer(), stage, limit) {
                Frame::Incomplete => {
                    let mut buffer = std::mem::take(socket.read_buffer_mut());
                    let read = poll_read_buf(Pin::new(socket.get_mut()), context, &mut buffer);
                    *socket.read_buffer_mut() = buffer;
                    if ready!(read)? == 0 {
                        return Poll::Ready(Ok(Next::Closed));
                    }
                }
                Frame::Complete => return Poll::Ready(Ok(decode(socket))),
                Frame::Malformed => return Poll::Ready(Ok(Next::Malformed)),
                Frame::TooLarge => return Poll::Ready(Ok(Next::TooLarge)),
            }
        }
    })
    .await
}

/// A message whose header is right can still announce parts that it does not have, at which pgwire panics.
fn decode(socket: &mut Socket) -> Next {
    let mut buffer: BytesMut = std::mem::take(socket.read_buffer_mut());
    let decoded = catch_unwind(AssertUnwindSafe(|| socket.codec_mut().decode(&mut buffer)));
    *socket.read_buffer_mut() = buffer;
    match decoded {
        Ok(Ok(Some(message))) => Next::Message(message),
        Ok(Ok(None) | Err(_)) | Err(_) => Next::Malformed,
    }
}

/// Judges a header: a start-up packet begins with its length, every later message with a letter.
fn frame(arrived: &[u8], stage: Stage, limit: usize) -> Frame {
    let letter = match stage {
        Stage::StartUp => None,
        Stage::Password | Stage::Session => match arrived.first() {
            Some(letter) => Some(*letter),
            None => return Frame::Incomplete,
        },
    };
    let Some(least) = least(letter, stage) else { return Frame::Malformed };
    let header = usize::from(letter.is_some());
    let Some(length) = arrived.get(header..).and_then(|rest| rest.first_chunk::<4>()) else { return Frame::Incomplete };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length < least {
        Frame::Malformed
    } else if length > limit {
        Frame::TooLarge
    } else if arrived.len() < header + length {
        Frame::Incomplete
    } else {
        Frame::Complete
    }
}

/// The least that a message can announce: its length field, terminators and counts. None for what may not be sent.
fn least(letter: Option<u8>, stage: Stage) -> Option<usize> {
    match (letter, stage) {
        (None, _) => Some(8),
        (Some(b'p'), _) => Some(5),
        (Some(b'X'), _) => Some(4),
        (Some(_), Stage::StartUp | Stage::Password) => None,
        (Some(letter), Stage::Session) => match letter {
            b'H' | b'S' | b'c' | b'd' => Some(4),
            b'Q' | b'f' => Some(5),
            b'C' | b'D' => Some(6),
            b'P' => Some(8),
            b'E' => Some(9),
            b'B' | b'F' => Some(12),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(letter: u8, length: u32, body: &[u8]) -> Vec<u8> {
        [&[letter][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn a_header_has_to_fit_its_letter() {
        for (letter, length) in [(b'Q', 0), (b'Q', 4), (b'B', 5), (b'P', 7), (b'D', 5), (b'H', 3), (b'z', 20)] {
            assert_eq!(frame(&message(letter, length, &[0; 20]), Stage::Session, 100), Frame::Malformed, "{letter}");
        }
        assert_eq!(frame(&message(b'Q', 5, b"\0"), Stage::Session, 100), Frame::Complete);
        assert_eq!(frame(&message(b'Q', 101, b""), Stage::Session, 100), Frame::TooLarge);
        assert_eq!(frame(&message(b'Q', 20, b"sel"), Stage::Session, 100), Frame::Incomplete);
        assert_eq!(frame(b"Q\0", Stage::Session, 100), Frame::Incomplete);
    }

    #[test]
    fn before_the_login_there_is_a_password_and_nothing_else() {
        assert_eq!(frame(&message(b'p', 7, b"ab\0"), Stage::Password, 100), Frame::Complete);
        assert_eq!(frame(&message(b'X', 4, b""), Stage::Password, 100), Frame::Complete);
        assert_eq!(frame(&message(b'Q', 5, b"\0"), Stage::Password, 100), Frame::Malformed);
        assert_eq!(frame(&8_u32.to_be_bytes(), Stage::StartUp, 100), Frame::Incomplete);
        assert_eq!(frame(&7_u32.to_be_bytes(), Stage::StartUp, 100), Frame::Malformed);
    }
}
