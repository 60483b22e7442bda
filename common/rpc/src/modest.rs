use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::BoxError;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use thiserror::Error;

use crate::Standing;

/// The body of a stranger's request. It may be short only: whoever wants to send more says first who he is.
pub(crate) struct Modest {
    body: Incoming,
    standing: Standing,
    left: usize,
}

#[derive(Debug, Error)]
#[error("the request is too large for a caller that is not known")]
struct TooLarge;

impl Modest {
    /// At most `bytes`, until the caller is known.
    pub(crate) fn new(body: Incoming, standing: Standing, bytes: usize) -> Self {
        Self { body, standing, left: bytes }
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), TooLarge> {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None if self.standing.is_stranger() => return Err(TooLarge),
            None => self.left = usize::MAX,
        }
        Ok(())
    }
}

impl Body for Modest {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        let counted = self.count(&frame);
        Poll::Ready(Some(counted.map(|()| frame).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
