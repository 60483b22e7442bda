//! What the metadata of a call demands, of every RPC alike: a readable version of the client's API, and, for clients
//! that say `hasleader`, a leader. A unary call fails at once without one; a stream ends when there has been none for
//! three election times.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use chainfire_raft::Status as GroupStatus;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::{Frame, SizeHint};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::{sync::watch, time::timeout};
use tonic::{Status, body::Body};

use crate::{Error, metrics::Metrics, store::Store};

/// A stream that demands a leader ends after this many election times without one.
const LEADERLESS_ELECTIONS: u32 = 3;

/// Looks at the metadata of each call before its handler does.
pub(super) struct Demands {
    store: Arc<Store>,
    metrics: Metrics,
    /// Paths of the methods that answer with a stream.
    streams: HashSet<String>,
}

impl Demands {
    pub(super) fn new(store: Arc<Store>, metrics: Metrics) -> Self {
        Self { store, metrics, streams: streams() }
    }

    /// Whether the answer is a stream that is to end when nobody leads.
    pub(super) fn check(&self, request: &Request<Body>) -> Result<bool, Error> {
        let headers = request.headers();
        let stream = self.streams.contains(request.uri().path());
        let leader = headers.get("hasleader").is_some_and(|value| value == "true");
        let version = match headers.get("client-api-version").map(HeaderValue::as_bytes) {
            Some(version) => Some(std::str::from_utf8(version).map_err(|_| Error::InvalidClientVersion)?),
            None => None,
        };
        self.metrics.asked(stream, version);
        if leader && self.store.status().leader.is_none() { Err(Error::NoLeader) } else { Ok(stream && leader) }
    }

    /// The same stream, which ends when there has been no leader for three election times.
    pub(super) fn led(&self, response: Response<Body>) -> Response<Body> {
        let patience = self.store.timing().election_min * LEADERLESS_ELECTIONS;
        let leaderless = Box::pin(leaderless(self.store.group().status_changes(), patience));
        response.map(|body| Body::new(Led { body, leaderless, ended: false }))
    }
}

/// A stream of answers that ends when nobody leads any more.
struct Led {
    body: Body,
    leaderless: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

impl hyper::body::Body for Led {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.leaderless.as_mut().poll(context).is_ready() {
            self.ended = true;
            // What made the answers ends with them.
            self.body = Body::empty();
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&Error::NoLeader.into())))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.ended { SizeHint::with_exact(0) } else { self.body.size_hint() }
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // Only metadata could fail to be one, and there is none.
    let _ = status.add_header(&mut trailers);
    trailers
}

/// Completes when there has been no leader for `patience`.
async fn leaderless(mut status: watch::Receiver<GroupStatus>, patience: Duration) {
    loop {
        if status.wait_for(|status| status.leader.is_none()).await.is_err() {
            return;
        }
        if timeout(patience, status.wait_for(|status| status.leader.is_some())).await.is_err() {
            return;
        }
    }
}

fn streams() -> HashSet<String> {
    let files = FileDescriptorSet::decode(holdfast_proto::DESCRIPTORS).unwrap_or_default().file;
    let mut found = HashSet::new();
    for file in &files {
        for service in &file.service {
            let streaming = service.method.iter().filter(|method| method.server_streaming());
            found.extend(streaming.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_known_by_their_descriptors() {
        let streams = streams();
        for path in
            ["/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive", "/v3electionpb.Election/Observe"]
        {
            assert!(streams.contains(path), "{path}");
        }
        assert!(!streams.contains("/etcdserverpb.KV/Range"));
    }
}
