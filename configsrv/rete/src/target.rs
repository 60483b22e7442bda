//! The accepting end: handshakes, decisions, and the way to the services.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use configsrv_fleet::{SpiffeId, hosts};
use quinn::{Endpoint, Incoming, RecvStream, SendStream, crypto::rustls::HandshakeData};
use rustls::pki_types::CertificateDer;
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use crate::{
    handshakes::{Admission, Handshakes},
    identity::{Peer, judge},
    live::{Connection, Side},
    plane::Shared,
    quic::{Code, handshake_fault},
    tunnel::{self, HELLO, READY},
};

/// A handshake that takes longer is over.
const HANDSHAKE: Duration = Duration::from_secs(5);
const MOST_CONNECTIONS: usize = 4096;
/// Of one initiator, on all of its devices and to all services here.
const MOST_OF_ONE: usize = 64;
/// A service that does not accept in this time is down.
const CONNECT: Duration = Duration::from_secs(5);
/// A stream that begins later than this after it was opened is no tunnel.
const BEGIN: Duration = Duration::from_secs(5);

/// Accepts until the endpoint is closed.
pub(crate) async fn accept(shared: Arc<Shared>, endpoint: Endpoint) {
    let handshakes = Arc::<Handshakes>::default();
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    while let Some(incoming) = endpoint.accept().await {
        let handshake = match handshakes.admit(incoming.remote_address().ip(), incoming.remote_address_validated()) {
            Admission::Begin(handshake) => Some(handshake),
            Admission::Ask => {
                let _ = incoming.retry();
                continue;
            }
            Admission::Refuse => None,
        };
        let (Some(handshake), Ok(connection)) = (handshake, Arc::clone(&connections).try_acquire_owned()) else {
            shared.counters.handshake_failed("busy");
            incoming.refuse();
            continue;
        };
        let shared = Arc::clone(&shared);
        shared.clone().spawn(async move {
            let peer = shake(&shared, incoming).await;
            drop(handshake);
            if let Some((quic, peer, target)) = peer {
                serve(shared, quic, peer, target).await;
            }
            drop(connection);
        });
    }
}

/// Who dialled, and whom, if their certificate says so.
async fn shake(shared: &Shared, incoming: Incoming) -> Option<(quinn::Connection, Peer, SpiffeId)> {
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => {
            shared.counters.handshake_failed(handshake_fault(&error));
            return None;
        }
    };
    let quic = match timeout(HANDSHAKE, connecting).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            shared.counters.handshake_failed(handshake_fault(&error));
            return None;
        }
        Err(_) => {
            shared.counters.handshake_failed("timeout");
            return None;
        }
    };
    let named = identified(shared, &quic);
    if named.is_none() {
        shared.counters.handshake_failed("certificate");
        quic.close(Code::Protocol.into(), b"nobody");
    }
    let (peer, target) = named?;
    Some((quic, peer, target))
}

fn identified(shared: &Shared, quic: &quinn::Connection) -> Option<(Peer, SpiffeId)> {
    let identities = shared.identities.load();
    let chain = quic.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let peer = judge(chain.first()?, &identities.authority, &identities.cluster, now_ms()).ok()?;
    let hello = quic.handshake_data()?.downcast::<HandshakeData>().ok()?;
    let target = hosts::service(hello.server_name.as_deref()?, &identities.cluster)?;
    Some((peer, target))
}

/// Takes streams of one connection for as long as it is allowed and its initiator's certificate is good.
async fn serve(shared: Arc<Shared>, quic: quinn::Connection, peer: Peer, target: SpiffeId) {
    let connection = Connection { initiator: peer.id.clone(), target: target.clone(), side: Side::Target };
    if shared.live.of(&peer.id) >= MOST_OF_ONE {
        quic.close(Code::Busy.into(), b"too many connections");
        return;
    }
    let _listed = shared.live.list(connection, quic.clone());
    if let Err(denial) = shared.tables.load().decide(&peer.id, &target) {
        tracing::info!(initiator = %peer.id, %target, ?denial, "refused");
        shared.counters.denied(&peer.id, "ingress");
        quic.close(Code::Refused.into(), b"not allowed");
        return;
    }
    let end = tokio::time::sleep(Duration::from_millis(peer.until_ms.saturating_sub(now_ms())));
    tokio::pin!(end);
    loop {
        let stream = tokio::select! {
            stream = quic.accept_bi() => stream,
            () = &mut end => {
                quic.close(Code::Expired.into(), b"the certificate ended");
                return;
            }
        };
        let Ok((send, receive)) = stream else { return };
        let (owned, initiator, target) = (Arc::clone(&shared), peer.id.clone(), target.clone());
        shared.spawn(async move { tunnel(&owned, &initiator, &target, send, receive).await });
    }
}

async fn tunnel(
    shared: &Shared,
    initiator: &SpiffeId,
    target: &SpiffeId,
    mut send: SendStream,
    mut receive: RecvStream,
) {
    let service = match open(shared, initiator, target, &mut receive).await {
        Ok(service) => service,
        Err(code) => {
            let _ = send.reset(code.into());
            let _ = receive.stop(code.into());
            return;
        }
    };
    if send.write_all(&[READY]).await.is_ok() {
        shared.counters.opened.add(1);
        tunnel::carry(service, send, receive, &shared.counters).await;
        shared.counters.closed.add(1);
    }
}

/// The connection to the service. Each one is decided anew.
async fn open(
    shared: &Shared,
    initiator: &SpiffeId,
    target: &SpiffeId,
    receive: &mut RecvStream,
) -> Result<TcpStream, Code> {
    let mut hello = [0];
    match timeout(BEGIN, receive.read_exact(&mut hello)).await {
        Ok(Ok(())) if hello == [HELLO] => {}
        Ok(_) | Err(_) => return Err(Code::Protocol),
    }
    let upstream = match shared.tables.load().decide(initiator, target) {
        Ok(upstream) => upstream.to_string(),
        Err(_) => {
            shared.counters.denied(initiator, "ingress");
            return Err(Code::Refused);
        }
    };
    match timeout(CONNECT, TcpStream::connect(&upstream)).await {
        Ok(Ok(service)) => Ok(service),
        Ok(Err(error)) => {
            tracing::debug!(%target, upstream, %error, "the service does not answer");
            shared.counters.connect_failures.add(1);
            Err(Code::Upstream)
        }
        Err(_) => {
            shared.counters.connect_failures.add(1);
            Err(Code::Upstream)
        }
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
