use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use holdfast_service::Stop;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{ServerTls, Standing, accept, authority::Lenient, entrance::Entrance};

/// What is known about the connection that a request came on; in the extensions of every request.
#[derive(Clone, Debug)]
pub struct Connection {
    pub source: SocketAddr,
    /// The client's verified certificate chain, leaf first, DER; empty without client certificate.
    pub certificates: Arc<[Arc<[u8]>]>,
}

/// What one listener accepts at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections: usize,
    /// For the TLS handshake, for the first byte after it, and for the headers of an HTTP/1.1 request.
    pub handshake: Duration,
    /// HTTP/2 streams of one connection.
    pub streams: u32,
    /// HTTP/2 connections on which nothing has come for so long are pinged; none: never.
    pub ping_interval: Option<Duration>,
    /// Those that do not answer a ping for so long are cut.
    pub ping_timeout: Duration,
    /// Requests that a connection may have running at a time while its caller is not known.
    pub stranger_requests: usize,
    /// Bytes of such a request's body.
    pub stranger_bytes: usize,
    pub known_by: KnownBy,
    /// How long open connections may finish their requests after a stop.
    pub drain: Duration,
}

/// What makes the caller of a connection known, so that the connection has its place for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// A layer behind the listener says so with [`Standing::known`].
    Identity,
    /// Whoever gets as far as a request: where TLS admits nobody else, or where everybody is welcome.
    Request,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: connections(),
            handshake: Duration::from_secs(10),
            streams: 65_536,
            ping_interval: Some(Duration::from_secs(60)),
            ping_timeout: Duration::from_secs(20),
            stranger_requests: 64,
            stranger_bytes: 64 << 10,
            known_by: KnownBy::Identity,
            drain: Duration::from_secs(5),
        }
    }
}

/// What one of several listeners may take of the process's open files, of which storage needs a part.
fn connections() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(1024) / 4).unwrap_or(usize::MAX).clamp(32, 65_536)
}

/// Serves `router` on `listener` until `stop`, then lets open requests finish for [`Limits::drain`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<ServerTls>,
    limits: Limits,
    stop: Stop,
) -> io::Result<()> {
    // Resolves the routes once instead of for each request.
    let router = router.with_state(());
    accept(listener, limits.connections, limits.drain, stop.clone(), move |stream, source, standing| {
        connection(stream, source, standing, router.clone(), tls.clone(), limits, stop.clone())
    })
    .await
}

async fn connection(
    stream: TcpStream,
    source: SocketAddr,
    standing: Standing,
    router: Router,
    tls: Option<ServerTls>,
    limits: Limits,
    stop: Stop,
) -> Result<(), String> {
    // Small answers must not wait for the next packet; a peer that refuses the option still works.
    let _ = stream.set_nodelay(true);
    let tls = match tls {
        Some(tls) if tls.allows_plaintext() && !begins_tls(&stream, limits.handshake).await? => None,
        chosen => chosen,
    };
    let Some(tls) = tls else {
        return exchange(stream, Connection { source, certificates: Arc::new([]) }, standing, router, limits, stop)
            .await;
    };
    let handshake = TlsAcceptor::from(tls.config()).accept(stream);
    let stream = timeout(limits.handshake, handshake)
        .await
        .map_err(|_| "the TLS handshake took too long".to_owned())?
        .inspect_err(|error| tls.refused(source, error))
        .map_err(|error| format!("TLS handshake: {error}"))?;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = shown.iter().map(|certificate| Arc::from(certificate.as_ref())).collect();
    exchange(stream, Connection { source, certificates }, standing, router, limits, stop).await
}

/// Whether the first byte is that of a TLS handshake, which no HTTP begins with.
async fn begins_tls(stream: &TcpStream, within: Duration) -> Result<bool, String> {
    const HANDSHAKE: u8 = 22;
    let mut first = [0];
    let looked = timeout(within, stream.peek(&mut first)).await.map_err(|_| "nothing came".to_owned())?;
    looked.map_err(|error| error.to_string())?;
    Ok(first == [HANDSHAKE])
}

async fn exchange<S>(
    stream: S,
    connection: Connection,
    standing: Standing,
    router: Router,
    limits: Limits,
    stop: Stop,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Everybody who speaks HTTP begins to speak; whoever only holds the connection open is not waited for.
    let mut stream = BufReader::with_capacity(1, stream);
    match timeout(limits.handshake, stream.fill_buf()).await {
        Err(_) => return Err("nothing came".to_owned()),
        Ok(Err(error)) => return Err(error.to_string()),
        Ok(Ok([])) => return Ok(()),
        Ok(Ok(_)) => {}
    }
    let stream = Lenient::new(stream);
    let service = Entrance { router, connection, standing, limits };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.handshake);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => return ended.map_err(|error| error.to_string()),
        () = stop.requested() => serving.as_mut().graceful_shutdown(),
    }
    serving.await.map_err(|error| error.to_string())
}
