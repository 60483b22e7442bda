use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use holdfast_service::Stop;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::{ServerTls, accept};

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
    /// For the TLS handshake and for the headers of an HTTP/1.1 request.
    pub handshake: Duration,
    /// HTTP/2 streams of one connection.
    pub streams: u32,
    /// How long open connections may finish their requests after a stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 65_536, handshake: Duration::from_secs(10), streams: 65_536, drain: Duration::from_secs(5) }
    }
}

/// Serves `router` on `listener` until `stop`, then lets open requests finish for [`Limits::drain`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<ServerTls>,
    limits: Limits,
    stop: Stop,
) -> io::Result<()> {
    accept(listener, limits.connections, limits.drain, stop.clone(), move |stream, source| {
        connection(stream, source, router.clone(), tls.clone(), limits, stop.clone())
    })
    .await
}

async fn connection(
    stream: TcpStream,
    source: SocketAddr,
    router: Router,
    tls: Option<ServerTls>,
    limits: Limits,
    stop: Stop,
) -> Result<(), String> {
    // Small answers must not wait for the next packet; a peer that refuses the option still works.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return exchange(stream, source, Arc::new([]), router, limits, stop).await;
    };
    let handshake = TlsAcceptor::from(tls.config()).accept(stream);
    let stream = timeout(limits.handshake, handshake)
        .await
        .map_err(|_| "the TLS handshake took too long".to_owned())?
        .map_err(|error| format!("TLS handshake: {error}"))?;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = shown.iter().map(|certificate| Arc::from(certificate.as_ref())).collect();
    exchange(stream, source, certificates, router, limits, stop).await
}

async fn exchange<S>(
    stream: S,
    source: SocketAddr,
    certificates: Arc<[Arc<[u8]>]>,
    router: Router,
    limits: Limits,
    stop: Stop,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let known = Connection { source, certificates };
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(known.clone());
        request.map(axum::body::Body::new)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.handshake);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => return ended.map_err(|error| error.to_string()),
        () = stop.requested() => serving.as_mut().graceful_shutdown(),
    }
    serving.await.map_err(|error| error.to_string())
}
