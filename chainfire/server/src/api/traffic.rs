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

use super::{
    front::Front,
    received::{Messages, Received},
};
use crate::{
    memory::Hold,
    metrics::{Grpc, Method},
};

/// A call of a method that is counted begins.
pub(super) fn begin(front: &Front, method: Arc<Method>, request: Request<Body>) -> (Request<Body>, Call) {
    method.begin();
    let source = request.extensions().get::<Connection>().map(|connection| connection.source);
    let hold = front.requests.hold(request.extensions());
    let grpc = front.grpc.clone();
    let call = Call {
        grpc: grpc.clone(),
        method: method.clone(),
        slow: front.slow,
        source,
        begun: Instant::now(),
        ended: false,
    };
    let messages = Messages::default();
    let received = |body| Body::new(Received { body, grpc, method, messages, hold, largest: front.largest });
    (request.map(received), call)
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
        let held = response.extensions().get::<Arc<Hold>>().cloned();
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                if let Some(data) = frame.data_ref() {
                    self.grpc.sent(&self.method, data.len(), messages.count(data));
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.end_by(trailers);
                }
                match &held {
                    Some(held) => frame.map_data(|data| held.within(data)),
                    None => frame,
                }
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
        let took = self.begun.elapsed();
        self.grpc.handled(&self.method, code, took);
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
