//! The dialling end: one QUIC connection for each initiator, target and node, and a stream in it for each TCP connection.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use configsrv_fleet::{NodeName, SpiffeId, address::HostPort, hosts};
use parking_lot::Mutex;
use quinn::{ConnectionError, Endpoint, ReadError, ReadExactError, RecvStream, SendStream, VarInt, WriteError};
use rustls::pki_types::CertificateDer;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, sleep, timeout},
};

use crate::{
    counters::Counters,
    identity::judge,
    live::{Connection, Side},
    plane::Shared,
    quic::{self, Code, handshake_fault},
    tables::{Hop, NoRoute},
    target::now_ms,
    tls,
    tunnel::{self, HELLO, READY},
};

/// A peer that does not finish the handshake in this time is taken for gone.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the target may take to reach its service; longer than it gives itself.
const ANSWER: Duration = Duration::from_secs(8);
/// Who dials a peer that failed this recently gets the same answer: doubled with each further failure, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A connection that carries nothing is looked at so often, and goes the second time.
const IDLE: Duration = Duration::from_secs(30);

/// Why a tunnel did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The name means no service that can be dialled from here.
    Unknown,
    /// Here or there, the tables do not allow it.
    Denied,
    /// No node of the target answers.
    Unreachable,
    /// The node answers; its service does not.
    Service,
}

/// An initiator's view of one target on one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    initiator: SpiffeId,
    target: SpiffeId,
    node: NodeName,
}

#[derive(Default)]
struct Peer {
    /// Held while dialling, so that many who come at once make one connection.
    open: tokio::sync::Mutex<Option<Session>>,
    failed: Mutex<Option<Failed>>,
}

#[derive(Clone)]
struct Session {
    quic: quinn::Connection,
    /// Every tunnel has a clone.
    carrying: Arc<()>,
}

#[derive(Clone, Copy)]
struct Failed {
    why: Refused,
    pause: Duration,
    until: Instant,
}

/// A stream in which the target's service has accepted.
pub(crate) struct Tunnel {
    send: SendStream,
    receive: RecvStream,
    _carried: Arc<()>,
}

/// How a stream did not begin.
enum Begin {
    /// The connection is not there any more.
    Gone,
    Refused(Refused),
}

/// Finds the way to targets.
pub(crate) struct Dialer {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    peers: Mutex<HashMap<Key, Arc<Peer>>>,
}

impl Dialer {
    pub(crate) fn new(shared: Arc<Shared>, endpoint: Endpoint) -> Self {
        Self { shared, endpoint, peers: Mutex::default() }
    }

    /// A tunnel to the first of the target's nodes whose service accepts.
    pub(crate) async fn open(&self, initiator: &SpiffeId, target: &SpiffeId) -> Result<Tunnel, Refused> {
        let tables = self.shared.tables.load_full();
        let hops = tables.route(initiator, target).map_err(|why| match why {
            NoRoute::Unknown => Refused::Unknown,
            NoRoute::NotAllowed => {
                self.shared.counters.denied(initiator, "egress");
                Refused::Denied
            }
        })?;
        let peer = |hop: &Hop| {
            let key = Key { initiator: initiator.clone(), target: target.clone(), node: hop.node.clone() };
            (Arc::clone(self.peers.lock().entry(key.clone()).or_default()), key, hop.udp.clone())
        };
        let mut peers: Vec<_> = hops.into_iter().map(peer).collect();
        // Whoever failed last is asked last.
        peers.sort_by_key(|(peer, ..)| peer.failed.lock().is_some());
        let mut last = Refused::Unreachable;
        for (peer, key, udp) in peers {
            match self.through(&peer, &key, &udp).await {
                Ok(tunnel) => return Ok(tunnel),
                Err(why) => last = why,
            }
        }
        self.shared.counters.connect_failures.add(1);
        Err(last)
    }

    /// After a swap: peers that are not in the tables any more are forgotten, and the others asked without a pause. Their
    /// connections are closed elsewhere.
    pub(crate) fn refresh(&self) {
        let tables = self.shared.tables.load();
        let mut peers = self.peers.lock();
        peers.retain(|key, _| tables.dials(&key.initiator, &key.target, &key.node));
        peers.values().for_each(|peer| *peer.failed.lock() = None);
    }

    async fn through(&self, peer: &Peer, key: &Key, udp: &HostPort) -> Result<Tunnel, Refused> {
        let (session, fresh) = self.session(peer, key, udp).await?;
        let mut begun = begin(session).await;
        if matches!(begun, Err(Begin::Gone)) && !fresh {
            // The peer may have begun anew since the last tunnel: it is asked once more, on a connection of now.
            let (session, _) = self.session(peer, key, udp).await?;
            begun = begin(session).await;
        }
        match begun {
            Ok(tunnel) => {
                *peer.failed.lock() = None;
                Ok(tunnel)
            }
            Err(Begin::Refused(Refused::Service)) => Err(Refused::Service),
            Err(Begin::Refused(why)) => Err(peer.fail(why)),
            Err(Begin::Gone) => Err(peer.fail(Refused::Unreachable)),
        }
    }

    /// The connection that is open, or a new one. Tells whether it is new.
    async fn session(&self, peer: &Peer, key: &Key, udp: &HostPort) -> Result<(Session, bool), Refused> {
        let mut open = peer.open.lock().await;
        if let Some(session) = open.as_ref().filter(|session| session.quic.close_reason().is_none()) {
            return Ok((session.clone(), false));
        }
        *open = None;
        let failed = *peer.failed.lock();
        if let Some(failed) = failed.filter(|failed| Instant::now() < failed.until) {
            return Err(failed.why);
        }
        let session = self.dial(key, udp).await.map_err(|why| peer.fail(why))?;
        *open = Some(session.clone());
        Ok((session, true))
    }

    async fn dial(&self, key: &Key, udp: &HostPort) -> Result<Session, Refused> {
        let mut last = Refused::Unreachable;
        let addresses = timeout(CONNECT, lookup_host(udp.to_string())).await;
        let Ok(Ok(addresses)) = addresses else {
            tracing::debug!(%udp, "the address of a node is not found");
            return Err(last);
        };
        for address in addresses {
            match self.shake(key, address).await {
                Ok(connection) => return Ok(connection),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    async fn shake(&self, key: &Key, address: SocketAddr) -> Result<Session, Refused> {
        let identities = self.shared.identities.load_full();
        let Some(own) = identities.key(&key.initiator) else {
            tracing::warn!(initiator = %key.initiator, "nothing is dialled without a certificate: enrol again");
            return Err(Refused::Denied);
        };
        let name = hosts::host_name(&key.target).ok_or(Refused::Unknown)?;
        let unusable = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, initiator = %key.initiator, "the identity cannot be used");
            Refused::Denied
        };
        let config = tls::client(&identities, own, &key.target).map_err(|error| unusable(&error))?;
        let config = quic::dialling(config).map_err(|error: io::Error| unusable(&error))?;
        let connecting = self.endpoint.connect_with(config, address, &name).map_err(|error| {
            tracing::debug!(%error, %address, "not dialled");
            Refused::Unreachable
        })?;
        let quic = match timeout(CONNECT, connecting).await {
            Ok(Ok(quic)) => quic,
            Ok(Err(error)) => {
                tracing::debug!(%error, %address, target = %key.target, "a handshake failed");
                self.shared.counters.handshake_failed(handshake_fault(&error));
                return Err(Refused::Unreachable);
            }
            Err(_) => {
                self.shared.counters.handshake_failed("timeout");
                return Err(Refused::Unreachable);
            }
        };
        let chain = quic.peer_identity().and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
        let leaf = chain.as_ref().and_then(|chain| chain.first()).ok_or(Refused::Unreachable)?;
        let target = judge(leaf, &identities.authority, &identities.cluster, now_ms()).map_err(|_| Refused::Denied)?;
        let connection = Connection {
            initiator: key.initiator.clone(),
            target: key.target.clone(),
            side: Side::Initiator(key.node.clone()),
        };
        let listed = self.shared.live.list(connection, quic.clone());
        if !self.shared.tables.load().dials(&key.initiator, &key.target, &key.node) {
            quic.close(Code::Refused.into(), b"no longer allowed");
            return Err(Refused::Denied);
        }
        let session = Session { quic, carrying: Arc::default() };
        let (quic, carrying) = (session.quic.clone(), Arc::downgrade(&session.carrying));
        self.shared.spawn(async move {
            watch(&quic, &carrying, target.until_ms).await;
            drop(listed);
        });
        Ok(session)
    }
}

impl Tunnel {
    /// Carries bytes between `program` and the service, to the end.
    pub(crate) async fn carry(self, program: TcpStream, counters: &Counters) {
        tunnel::carry(program, self.send, self.receive, counters).await;
    }
}

impl Peer {
    fn fail(&self, why: Refused) -> Refused {
        let mut failed = self.failed.lock();
        let pause = failed.map_or(FIRST_PAUSE, |failed| (failed.pause * 2).min(LONGEST_PAUSE));
        *failed = Some(Failed { why, pause, until: Instant::now() + pause });
        why
    }
}

/// Closes a connection when it carries nothing for some time, or when the target's certificate ends.
async fn watch(quic: &quinn::Connection, carrying: &Weak<()>, until_ms: u64) {
    let end = sleep(Duration::from_millis(until_ms.saturating_sub(now_ms())));
    tokio::pin!(end);
    let mut idle = false;
    loop {
        tokio::select! {
            _ = quic.closed() => return,
            () = &mut end => return quic.close(Code::Expired.into(), b"the certificate ended"),
            () = sleep(IDLE) => {
                // The peer's own session is one.
                let empty = carrying.strong_count() <= 1;
                if empty && idle {
                    return quic.close(Code::Idle.into(), b"idle");
                }
                idle = empty;
            }
        }
    }
}

/// Asks for the service.
async fn begin(session: Session) -> Result<Tunnel, Begin> {
    let asked = async {
        let (mut send, mut receive) = session.quic.open_bi().await.map_err(|error| closed(&error))?;
        send.write_all(&[HELLO]).await.map_err(|error| match error {
            WriteError::Stopped(code) => Begin::Refused(reason(code)),
            WriteError::ConnectionLost(error) => closed(&error),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Begin::Gone,
        })?;
        let mut answer = [0];
        receive.read_exact(&mut answer).await.map_err(|error| match error {
            ReadExactError::ReadError(ReadError::Reset(code)) => Begin::Refused(reason(code)),
            ReadExactError::ReadError(ReadError::ConnectionLost(error)) => closed(&error),
            ReadExactError::ReadError(_) | ReadExactError::FinishedEarly(_) => Begin::Refused(Refused::Service),
        })?;
        if answer != [READY] {
            return Err(Begin::Refused(Refused::Service));
        }
        Ok(Tunnel { send, receive, _carried: session.carrying })
    };
    timeout(ANSWER, asked).await.unwrap_or(Err(Begin::Refused(Refused::Unreachable)))
}

/// The reason for the end of a stream.
fn reason(code: VarInt) -> Refused {
    if code == Code::Refused.into() { Refused::Denied } else { Refused::Service }
}

/// The reason for the end of a connection. Whether the target believes the initiator's certificate shows only after the
/// handshake.
fn closed(error: &ConnectionError) -> Begin {
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code == Code::Refused.into() => {
            Begin::Refused(Refused::Denied)
        }
        ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) >= 0x100 => {
            Begin::Refused(Refused::Denied)
        }
        _ => Begin::Gone,
    }
}
