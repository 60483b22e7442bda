//! Counts the calls of clients and what goes over the wire for them, and tells of calls that were slow.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use holdfast_rpc::Connection;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use tonic::{Code, Status, body::Body};

use crate::metrics::{Grpc, Method};

/// A call of a method that is counted begins. A unary one that takes longer than `slow` is worth a line in the log.
pub(super) fn begin(
    grpc: Arc<Grpc>,
    method: Arc<Method>,
    slow: Duration,
    request: Request<Body>,
) -> (Request<Body>, Call) {
    method.begin();
    let source = request.extensions().get::<Connection>().map(|connection| connection.source);
    let call = Call { grpc: grpc.clone(), method: method.clone(), slow, source, begun: Instant::now(), ended: false };
    let mut messages = Messages::default();
    let request = request.map(|body| {
        Body::new(body.map_frame(move |frame| {
            if let Some(data) = frame.data_ref() {
                grpc.received(&method, data.len(), messages.count(data));
            }
            frame
        }))
    });
    (request, call)
}

/// A call until its status is known, or nobody is there any more to hear it.
pub(super) struct Call {
    grpc: Arc<Grpc>,
    method: Arc<Method>,
    slow: Duration,
    source: Option<SocketAddr>,
    begun: Instant,
    ended: bool,
}

impl Call {
    /// Goes on to count the answer, and ends with it.
    pub(super) fn answered(mut self, response: Response<Body>) -> Response<Body> {
        // An answer without messages has its status in the header.
        self.end_by(response.headers());
        let mut messages = Messages::default();
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                if let Some(data) = frame.data_ref() {
                    self.grpc.sent(&self.method, data.len(), messages.count(data));
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.end_by(trailers);
                }
                frame
            }))
        })
    }

    fn end_by(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.end(status.code());
        }
    }

    fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.grpc.handled(&self.method, code);
        let took = self.begun.elapsed();
        if self.method.is_unary() && took > self.slow {
            tracing::warn!(method = %self.method, source = ?self.source, ?code, ?took, "request stats: a call was slow");
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// Finds messages in a body: each has five bytes in front, of which the last four are its length.
#[derive(Debug, Default)]
struct Messages {
    prefix: [u8; 5],
    /// Bytes of the prefix that have come.
    filled: usize,
    /// Bytes of the message that have not come.
    left: usize,
}

impl Messages {
    /// How many messages begin in `data`.
    fn count(&mut self, mut data: &[u8]) -> u64 {
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
            assert_eq!(counted, 3, "cut after each {cut}");
        }
    }
}
