use std::{collections::BTreeMap, sync::Arc, time::Duration, time::Instant};

use bytes::Bytes;
use holdfast_proto::peer::{Request, peer_client::PeerClient};
use holdfast_rpc::handshake_advice;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tonic::{Code, Status, transport::Channel};

use super::{reach::Reach, road::Road};
use crate::{
    FatalHook, GroupId, Limits, PeerMetrics, PeerTls, RaftId, Slot, Timing, config::ANSWER_BYTES, genesis::Known,
};

/// Messages of one kind share a connection, so that a snapshot or a full pipe never delays a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Log,
    Heartbeat,
    Snapshot,
    Call,
}

/// The code of *another disk has taken your place*. It comes from a server that has seen it happen.
pub(super) const REPLACED: Code = Code::Aborted;

/// Opens connections to the other servers and keeps them.
pub(crate) struct Dialer {
    known: Arc<Known>,
    tls: Option<PeerTls>,
    timing: Timing,
    limits: Limits,
    channels: Mutex<BTreeMap<(Slot, Lane), Channel>>,
    reach: Reach,
    heartbeats_failed: Counter,
    peers: Arc<[PeerMetrics]>,
    fatal: FatalHook,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The server has not seen the request.
    #[error("{0}")]
    NotSent(String),
    /// The server has refused the request without acting on it.
    #[error("{0}")]
    Refused(String),
    /// The server may have acted.
    #[error("{0}")]
    Lost(String),
}

impl Dialer {
    pub(crate) fn new(
        known: Arc<Known>,
        tls: Option<PeerTls>,
        timing: Timing,
        limits: Limits,
        fatal: FatalHook,
    ) -> Self {
        let peers = known.cluster().members.iter().map(|_| PeerMetrics::default()).collect();
        Self {
            known,
            tls,
            timing,
            limits,
            channels: Mutex::default(),
            reach: Reach::default(),
            heartbeats_failed: Counter::default(),
            peers,
            fatal,
        }
    }

    pub(crate) fn timing(&self) -> Timing {
        self.timing
    }

    /// A client that connects when it is used.
    pub(crate) fn client(&self, to: Slot, lane: Lane) -> Result<PeerClient<Channel>, String> {
        let cached = self.channels.lock().get(&(to, lane)).cloned();
        let channel = match cached {
            Some(channel) => channel,
            None => self.keep(to, lane, self.road(to)?.lazy()),
        };
        Ok(self.wrap(channel))
    }

    /// A client whose connection stands, so that a failure before this point means that nothing was sent.
    pub(crate) async fn connected(&self, to: Slot) -> Result<PeerClient<Channel>, String> {
        let cached = self.channels.lock().get(&(to, Lane::Call)).cloned();
        let channel = match cached {
            Some(channel) => channel,
            None => {
                let channel = self.road(to)?.connect().await.map_err(|error| causes(&error))?;
                self.keep(to, Lane::Call, channel)
            }
        };
        Ok(self.wrap(channel))
    }

    /// Drops a connection that has failed. The next one reads the certificates anew.
    pub(crate) fn forget(&self, to: Slot, lane: Lane) {
        self.channels.lock().remove(&(to, lane));
    }

    /// Heartbeats that had no answer.
    pub(crate) fn heartbeats_failed(&self) -> &Counter {
        &self.heartbeats_failed
    }

    /// What goes to and from the server in each slot.
    pub(crate) fn peers(&self) -> &Arc<[PeerMetrics]> {
        &self.peers
    }

    fn peer(&self, slot: Slot) -> Option<&PeerMetrics> {
        self.peers.get(usize::from(slot.0))
    }

    /// Notes that a message of Raft has no answer. openraft tries again several times a second; the log hears of it once.
    pub(crate) fn lost(&self, to: Slot, lane: Lane, reason: &str) {
        if lane == Lane::Heartbeat {
            self.heartbeats_failed.inc();
        }
        if let Some(peer) = self.peer(to) {
            peer.failed.inc();
        }
        if self.reach.lost(to, reason, Instant::now()) {
            tracing::warn!(
                server = self.name(to),
                reason,
                advice = handshake_advice(reason),
                "a server does not answer"
            );
        }
    }

    /// Ends this server if that is what another one's refusal means: what is on this disk is of no use to anybody.
    pub(crate) fn heed(&self, status: &Status) {
        if status.code() == REPLACED {
            let advice = "move its data folder aside; see deploy/runbooks/restore-and-rejoin.md";
            self.fatal.call(&format!("{}: {advice}", status.message()));
        }
    }

    /// Notes how long a heartbeat was on its way.
    pub(super) fn heartbeat_answered(&self, to: Slot, took: Duration) {
        if let Some(peer) = self.peer(to) {
            peer.round_trips.observe(took.as_secs_f64());
        }
    }

    /// Notes that a server has answered.
    pub(crate) fn found(&self, to: Slot) {
        if self.reach.found(to) {
            tracing::info!(server = self.name(to), "a server answers again");
        }
    }

    fn name(&self, slot: Slot) -> &str {
        self.known.cluster().member(slot).map_or("", |member| &member.name)
    }

    /// Everything that a request carries beside its body.
    pub(crate) fn request(&self, group: GroupId, to: RaftId, body: Bytes) -> Request {
        if let Some(peer) = self.peer(to.slot()) {
            peer.sent.inc_by(body.len() as u64);
        }
        let cluster = self.known.formed().map(|formed| Bytes::copy_from_slice(&formed.cluster));
        Request {
            cluster: cluster.unwrap_or_default(),
            group: u32::from(group.0),
            from: self.known.id().to_u64(),
            to: to.to_u64(),
            body,
            acknowledged: None,
        }
    }

    /// One call with an answer. A call that fails in transit drops its connection.
    pub(crate) async fn call<F>(
        &self,
        to: Slot,
        within: Duration,
        call: impl FnOnce(PeerClient<Channel>) -> F,
    ) -> Result<Bytes, CallError>
    where
        F: Future<Output = Result<tonic::Response<holdfast_proto::peer::Answer>, Status>>,
    {
        let asked = async {
            let client = self.connected(to).await.map_err(CallError::NotSent)?;
            call(client).await.map_err(|status| {
                self.forget(to, Lane::Call);
                classify(&status)
            })
        };
        match tokio::time::timeout(within, asked).await {
            Ok(answer) => answer.map(|answer| answer.into_inner().body),
            Err(_) => {
                self.forget(to, Lane::Call);
                Err(CallError::Lost(format!("slot {to} did not answer in time")))
            }
        }
    }

    fn keep(&self, to: Slot, lane: Lane, channel: Channel) -> Channel {
        self.channels.lock().entry((to, lane)).or_insert(channel).clone()
    }

    fn wrap(&self, channel: Channel) -> PeerClient<Channel> {
        let limit = self.limits.message_bytes();
        PeerClient::new(channel).max_decoding_message_size(ANSWER_BYTES).max_encoding_message_size(limit)
    }

    fn road(&self, to: Slot) -> Result<Road, String> {
        let member = self.known.cluster().member(to).ok_or_else(|| format!("there is no slot {to}"))?;
        let timing = self.timing;
        Road::to(member, self.tls.as_ref(), |endpoint| {
            endpoint
                .connect_timeout(timing.election_min)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(timing.election_min)
                .keep_alive_timeout(timing.election_max)
                .keep_alive_while_idle(true)
        })
    }
}

/// What the status says about the request's fate.
fn classify(status: &Status) -> CallError {
    let text = told(status);
    if never_connected(status) {
        return CallError::NotSent(text);
    }
    match status.code() {
        // The server answers these codes before it does anything.
        REPLACED | Code::FailedPrecondition | Code::PermissionDenied | Code::InvalidArgument | Code::Unimplemented => {
            CallError::Refused(text)
        }
        _ => CallError::Lost(text),
    }
}

/// Whether a kept connection was lost and its replacement did not come about.
fn never_connected(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What a status says, with what lies behind it: of a connection that failed, its own text does not tell why.
pub(super) fn told(status: &Status) -> String {
    let text = status.message();
    match std::error::Error::source(status).map(causes) {
        None => text.to_owned(),
        Some(causes) if causes.starts_with(text) => causes,
        Some(causes) => format!("{text}: {causes}"),
    }
}

/// An error with its causes: tonic's own text is only "transport error".
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        // Many errors repeat what lies behind them.
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}
