use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use holdfast_rpc::ServerTls;
use holdfast_service::Stop;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::{SqlLogin, cancel::Cancellations, connection};
use crate::Flaredb;

/// How the SQL port behaves.
#[derive(Clone)]
pub struct PgConfig {
    /// Load it with ALPN `postgresql` or none. Without it passwords are taken on loopback only.
    pub tls: Option<ServerTls>,
    /// Takes passwords outside TLS from loopback: for development.
    pub plaintext_on_loopback: bool,
    pub connections: usize,
    /// From the connection to the end of the login.
    pub login_time: Duration,
    /// How long a session may say nothing.
    pub idle_time: Duration,
    /// How long running statements may finish after a stop.
    pub drain: Duration,
}

impl PgConfig {
    pub fn new(tls: Option<ServerTls>, plaintext_on_loopback: bool) -> Self {
        Self {
            tls,
            plaintext_on_loopback,
            connections: 256,
            login_time: Duration::from_secs(15),
            idle_time: Duration::from_secs(60 * 60),
            drain: Duration::from_secs(5),
        }
    }
}

/// What every connection shares.
pub(super) struct Server {
    pub(super) flaredb: Flaredb,
    pub(super) login: Arc<dyn SqlLogin>,
    pub(super) config: PgConfig,
    pub(super) cancellations: Cancellations,
    pub(super) stop: Stop,
}

impl Server {
    /// Whether a password may travel on this connection.
    pub(super) fn takes_password(&self, secure: bool, source: SocketAddr) -> bool {
        secure || self.config.plaintext_on_loopback && source.ip().to_canonical().is_loopback()
    }
}

/// Serves the SQL port on `listener` until `stop`.
pub async fn serve(
    flaredb: Flaredb,
    listener: TcpListener,
    login: Arc<dyn SqlLogin>,
    config: PgConfig,
    stop: Stop,
) -> io::Result<()> {
    let (free, drain) = (Arc::new(Semaphore::new(config.connections)), config.drain);
    let server =
        Arc::new(Server { flaredb, login, config, cancellations: Cancellations::default(), stop: stop.clone() });
    let connections = TaskTracker::new();
    loop {
        let permit = tokio::select! {
            () = stop.requested() => break,
            permit = free.clone().acquire_owned() => permit.map_err(io::Error::other)?,
        };
        let (stream, source) = tokio::select! {
            () = stop.requested() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let server = server.clone();
        connections.spawn(async move {
            if let Err(error) = handle(server, stream, source).await {
                tracing::debug!(%source, %error, "SQL connection ended");
            }
            drop(permit);
        });
    }
    connections.close();
    if timeout(drain, connections.wait()).await.is_err() {
        tracing::info!(open = connections.len(), "SQL connections cut at the end of the drain time");
    }
    Ok(())
}

async fn handle(server: Arc<Server>, stream: TcpStream, source: SocketAddr) -> io::Result<()> {
    let acceptor = server.config.tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
    connection::run(server, stream, source, acceptor).await
}
