use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use holdfast_rpc::ServerTls;
use holdfast_service::Stop;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

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
    let (connections, drain) = (config.connections, config.drain);
    let server =
        Arc::new(Server { flaredb, login, config, cancellations: Cancellations::default(), stop: stop.clone() });
    holdfast_rpc::accept(listener, connections, drain, stop, move |stream, source, standing| {
        let acceptor = server.config.tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
        connection::run(server.clone(), stream, source, standing, acceptor)
    })
    .await
}
