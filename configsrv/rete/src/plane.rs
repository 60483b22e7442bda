use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use configsrv_fleet::{Payload, SpiffeId, address::HostPort};
use quinn::Endpoint;
use tokio::{
    net::{TcpListener, lookup_host},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    counters::Counters,
    dial::Dialer,
    identity::Identities,
    live::{Connection, Live, Side},
    quic::{self, Code},
    socks,
    tables::Tables,
    target, tls,
};

/// How long a port may still be held by what this one replaces.
const BIND: Duration = Duration::from_secs(3);
/// How long connections may take to end when the plane stops.
const GOODBYE: Duration = Duration::from_secs(1);

/// The data plane of one node, running on the runtime in which it was started.
pub struct Plane {
    shared: Arc<Shared>,
    dialer: Arc<Dialer>,
    accepting: Option<Endpoint>,
    dialling: Endpoint,
    inbound: Vec<Inbound>,
    /// Ends what accepts; what is open ends with its connections.
    closing: CancellationToken,
}

/// What all parts of a plane see.
pub(crate) struct Shared {
    pub(crate) tables: ArcSwap<Tables>,
    pub(crate) identities: Arc<ArcSwap<Identities>>,
    pub(crate) live: Arc<Live>,
    pub(crate) counters: Arc<Counters>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Where the programs of a principal connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    pub principal: SpiffeId,
    pub socks5: SocketAddr,
}

/// What a plane is doing.
#[derive(Clone, Debug)]
pub struct PlaneStatus {
    /// Where other nodes connect.
    pub listen_udp: Option<SocketAddr>,
    pub inbound: Vec<Inbound>,
    pub connections: Vec<Connection>,
}

/// Why a plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    #[error("{what} on {address}: {source}")]
    Listen { what: String, address: HostPort, source: io::Error },
    #[error("the socket to dial from: {0}")]
    Dial(io::Error),
    #[error("setting up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Shared {
    /// Runs until it is done or the plane is gone.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }
}

impl Plane {
    /// Binds everything that `payload` names, and begins. `counters` may be those of an earlier plane.
    pub async fn start(payload: &Payload, identities: Identities, counters: Arc<Counters>) -> Result<Self, PlaneError> {
        let identities = Arc::new(ArcSwap::from_pointee(identities));
        let shared = Arc::new(Shared {
            tables: ArcSwap::from_pointee(Tables::of(payload)),
            identities: Arc::clone(&identities),
            live: Arc::default(),
            counters,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let accepting = match &payload.listen_udp {
            None => None,
            Some(address) => {
                let tls = tls::server(&identities)?;
                let bound = bind(address, "other nodes", |address| {
                    let tls = tls.clone();
                    async move { quic::listening(address, tls) }
                });
                Some(bound.await?)
            }
        };
        let mut ports = Vec::new();
        let mut inbound = Vec::new();
        for (principal, address) in proxies(payload) {
            let what = format!("SOCKS5 for {}", principal.subject());
            let listener = bind(address, &what, TcpListener::bind).await?;
            let failed = |source| PlaneError::Listen { what, address: address.clone(), source };
            let socks5 = listener.local_addr().map_err(failed)?;
            inbound.push(Inbound { principal: principal.clone(), socks5 });
            ports.push((principal.clone(), listener));
        }
        let dialling = dialling().map_err(PlaneError::Dial)?;
        let dialer = Arc::new(Dialer::new(Arc::clone(&shared), dialling.clone()));
        let closing = CancellationToken::new();
        for (principal, listener) in ports {
            let (closing, serving) =
                (closing.clone(), socks::serve(shared.clone(), dialer.clone(), listener, principal));
            shared.spawn(async move {
                tokio::select! {
                    () = closing.cancelled() => {}
                    () = serving => {}
                }
            });
        }
        if let Some(endpoint) = &accepting {
            shared.spawn(target::accept(Arc::clone(&shared), endpoint.clone()));
        }
        Ok(Self { shared, dialer, accepting, dialling, inbound, closing })
    }

    /// From now on `payload`'s access rows count. Connections that they do not allow are closed, with both ends of what
    /// they carry; the others do not notice. Says how many were closed.
    pub fn swap(&self, payload: &Payload) -> usize {
        self.shared.tables.store(Arc::new(Tables::of(payload)));
        let tables = self.shared.tables.load();
        let closed = self.shared.live.sweep(|open| match &open.side {
            Side::Initiator(node) => tables.dials(&open.initiator, &open.target, node),
            Side::Target => tables.decide(&open.initiator, &open.target).is_ok(),
        });
        self.dialer.refresh();
        closed
    }

    /// From now on these identities are shown and this authority counts. Open connections stay until a certificate that
    /// they were opened with ends.
    pub fn set_identities(&self, identities: Identities) {
        self.shared.identities.store(Arc::new(identities));
        self.dialer.refresh();
    }

    pub fn status(&self) -> PlaneStatus {
        PlaneStatus {
            listen_udp: self.accepting.as_ref().and_then(|endpoint| endpoint.local_addr().ok()),
            inbound: self.inbound.clone(),
            connections: self.shared.live.connections(),
        }
    }

    /// Closes everything, and tells the peers. Programs see their connections break, not end.
    pub async fn stop(self) {
        self.closing.cancel();
        for endpoint in self.accepting.iter().chain([&self.dialling]) {
            endpoint.close(Code::Stopping.into(), b"stopping");
        }
        self.shared.tasks.close();
        let _ = timeout(GOODBYE, self.shared.tasks.wait()).await;
        self.shared.stop.cancel();
        self.shared.tasks.wait().await;
    }
}

/// Every principal that has a port here.
fn proxies(payload: &Payload) -> impl Iterator<Item = (&SpiffeId, &HostPort)> {
    let users = payload.local_users.iter().map(|user| (&user.spiffe_id, &user.socks5_proxy));
    let services = payload.local_services.iter();
    let services = services.filter_map(|service| Some((&service.spiffe_id, service.socks5_proxy.as_ref()?)));
    std::iter::once((&payload.local_node.spiffe_id, &payload.local_node.socks5_proxy)).chain(users).chain(services)
}

/// The socket to dial from: of both families where there are two.
fn dialling() -> io::Result<Endpoint> {
    Endpoint::client((Ipv6Addr::UNSPECIFIED, 0).into()).or_else(|_| Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into()))
}

/// Binds the first address of a name that can be bound. What held the port until now may take a moment to let it go.
async fn bind<T, F>(address: &HostPort, what: &str, bind: impl Fn(SocketAddr) -> F) -> Result<T, PlaneError>
where
    F: Future<Output = io::Result<T>>,
{
    let failed = |source| PlaneError::Listen { what: what.to_owned(), address: address.clone(), source };
    let deadline = Instant::now() + BIND;
    loop {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in lookup_host(address.to_string()).await.map_err(failed)? {
            match bind(address).await {
                Ok(bound) => return Ok(bound),
                Err(error) => last = error,
            }
        }
        if last.kind() != io::ErrorKind::AddrInUse || Instant::now() > deadline {
            return Err(failed(last));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
