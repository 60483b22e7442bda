use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::BoxError;
use bytes::Bytes;
use http_body_util::Limited;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::Standing;

/// The body of a request that began as a stranger's. It may be short only, unless its caller is known by the time that
/// somebody reads it: whoever wants to send more says first who he is.
pub(crate) enum Modest {
    Unread {
        /// There until it is read.
        body: Option<Incoming>,
        standing: Standing,
        bytes: usize,
    },
    Bounded(Limited<Incoming>),
    Free(Incoming),
}

impl Modest {
    /// At most `bytes` of a caller that is not known.
    pub(crate) fn new(body: Incoming, standing: Standing, bytes: usize) -> Self {
        Self::Unread { body: Some(body), standing, bytes }
    }
}

impl Body for Modest {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Self::Unread { body, standing, bytes } = &mut *self
            && let Some(body) = body.take()
        {
            *self = if standing.is_stranger() { Self::Bounded(Limited::new(body, *bytes)) } else { Self::Free(body) };
        }
        match &mut *self {
            Self::Unread { .. } => Poll::Ready(None),
            Self::Bounded(body) => Pin::new(body).poll_frame(context),
            Self::Free(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Unread { body, .. } => body.as_ref().is_none_or(Body::is_end_stream),
            Self::Bounded(body) => body.is_end_stream(),
            Self::Free(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Unread { body, .. } => body.as_ref().map(Body::size_hint).unwrap_or_default(),
            Self::Bounded(body) => body.size_hint(),
            Self::Free(body) => body.size_hint(),
        }
    }
}
