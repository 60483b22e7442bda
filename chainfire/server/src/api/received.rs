use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use crate::{
    Error,
    memory::Hold,
    metrics::{Grpc, Method},
};

/// The body of a request: counts what comes, and ends where there is no room for it.
pub(super) struct Received {
    pub(super) body: Body,
    pub(super) grpc: Arc<Grpc>,
    pub(super) method: Arc<Method>,
    pub(super) messages: Messages,
    pub(super) hold: Hold,
    /// Bytes of the largest message that is read at all.
    pub(super) largest: usize,
}

impl Received {
    /// Counts `data`. A message takes the room that all of it needs when its length is known, as whoever reads it does.
    fn take(&mut self, data: &[u8]) -> Result<(), Error> {
        self.grpc.received(&self.method, data.len(), self.messages.count(data));
        let needed = self.messages.longest;
        if needed > self.largest || self.hold.message(needed) { Ok(()) } else { Err(Error::TooManyRequests) }
    }
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.take(data)?;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Finds messages in a body: each has five bytes in front, of which the last four are its length.
#[derive(Debug, Default)]
pub(super) struct Messages {
    prefix: [u8; 5],
    /// Bytes of the prefix that have come.
    filled: usize,
    /// Bytes of the message that have not come.
    left: usize,
    /// Bytes of the longest message that has begun.
    longest: usize,
}

impl Messages {
    /// How many messages begin in `data`.
    pub(super) fn count(&mut self, mut data: &[u8]) -> u64 {
        let mut begun = 0;
        while let Some((first, rest)) = data.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(data.len());
                self.left -= skipped;
                data = &data[skipped..];
                continue;
            }
            self.prefix[self.filled] = *first;
            self.filled += 1;
            data = rest;
            if self.filled == self.prefix.len() {
                let [_, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length) as usize;
                self.longest = self.longest.max(self.left);
                self.filled = 0;
                begun += 1;
            }
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_body_is_cut() {
        let body: Vec<u8> = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0, 0], &[1, 0, 0, 0, 1], b"x"].concat();
        for cut in 1..=body.len() {
            let mut messages = Messages::default();
            let counted: u64 = body.chunks(cut).map(|part| messages.count(part)).sum();
            assert_eq!((counted, messages.longest), (3, 3), "cut after each {cut}");
        }
    }
}
