//! What the metadata of a call demands, of every RPC alike: a readable version of the client's API, an end in time, and,
//! for clients that say `hasleader`, a leader. A unary call fails at once without one; a stream ends when there has been
//! none for three election times.

use std::{
    collections::HashSet,
    future::pending,
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
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tonic::{Status, body::Body};

use super::deadline;
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

    /// What is demanded of this call's answer, if the call may be made at all.
    pub(super) fn check(&self, request: &Request<Body>) -> Result<Demand, Error> {
        let headers = request.headers();
        let stream = self.streams.contains(request.uri().path());
        let leader = headers.get("hasleader").is_some_and(|value| value == "true");
        let version = match headers.get("client-api-version").map(HeaderValue::as_bytes) {
            Some(version) => Some(std::str::from_utf8(version).map_err(|_| Error::InvalidClientVersion)?),
            None => None,
        };
        self.metrics.asked(stream, version);
        if leader && self.store.status().leader.is_none() {
            return Err(Error::NoLeader);
        }
        let deadline = deadline::given(headers).map(|time| Instant::now() + time);
        Ok(Demand { stream, leader, deadline })
    }

    /// The same answer; a stream ends when `demand` is not met any more.
    pub(super) fn hold(&self, response: Response<Body>, demand: &Demand) -> Response<Body> {
        if !demand.stream || (!demand.leader && demand.deadline.is_none()) {
            return response;
        }
        let patience = self.store.timing().election_min * LEADERLESS_ELECTIONS;
        let status = demand.leader.then(|| self.store.group().status_changes());
        let end = Box::pin(end(status, patience, demand.deadline));
        response.map(|body| Body::new(Demanding { body, end, ended: false }))
    }
}

/// What the client of one call demands.
pub(super) struct Demand {
    /// The answer is a stream.
    stream: bool,
    leader: bool,
    deadline: Option<Instant>,
}

impl Demand {
    /// What `answer` comes to in the time that the client gives.
    pub(super) async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, Error> {
        match self.deadline {
            Some(deadline) => timeout_at(deadline, answer).await.map_err(|_| Error::DeadlineExceeded),
            None => Ok(answer.await),
        }
    }
}

/// A stream of answers that ends when its client demands no more of them.
struct Demanding {
    body: Body,
    end: Pin<Box<dyn Future<Output = Error> + Send>>,
    ended: bool,
}

impl hyper::body::Body for Demanding {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(error) = self.end.as_mut().poll(context) {
            self.ended = true;
            // What made the answers ends with them.
            self.body = Body::empty();
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&error.into())))));
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

/// Completes with the reason for a stream's end: its time is over, or, where `status` is given, there has been no leader
/// for `patience`.
async fn end(status: Option<watch::Receiver<GroupStatus>>, patience: Duration, deadline: Option<Instant>) -> Error {
    let leaderless = async {
        match status {
            Some(status) => leaderless(status, patience).await,
            None => pending().await,
        }
    };
    let late = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = leaderless => Error::NoLeader,
        () = late => Error::DeadlineExceeded,
    }
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
    use chainfire_raft::Slot;

    use super::*;

    fn led_by(leader: Option<Slot>) -> GroupStatus {
        GroupStatus {
            slot: Slot(1),
            term: 1,
            leader,
            is_leader: false,
            learners: Vec::new(),
            last_log: 0,
            committed: 0,
            applied: 0,
            failed: None,
        }
    }

    /// §1.1: "streams are cancelled after 3 election timeouts without a leader", which begin anew with each leader.
    #[tokio::test(start_paused = true)]
    async fn only_time_without_a_leader_in_one_piece_ends_a_stream() {
        const PATIENCE: Duration = Duration::from_secs(3);
        const MS: Duration = Duration::from_millis(1);
        let (tell, status) = watch::channel(led_by(None));
        let ending = tokio::spawn(end(Some(status), PATIENCE, None));
        tokio::time::sleep(PATIENCE - MS).await;
        tell.send_replace(led_by(Some(Slot(2))));
        tokio::time::sleep(10 * PATIENCE).await;
        tell.send_replace(led_by(None));
        let lost = Instant::now();
        assert!(matches!(ending.await, Ok(Error::NoLeader)));
        assert!((PATIENCE..=PATIENCE + MS).contains(&lost.elapsed()), "{:?}", lost.elapsed());
    }

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
