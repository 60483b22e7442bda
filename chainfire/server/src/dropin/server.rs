use std::{io, net::SocketAddr, path::PathBuf};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use chainfire_raft::{GroupConfig, Node, NodeConfig};
use holdfast_rpc::{ClientAuth, Complaints, Limits, ServerTls, TlsError};
use holdfast_service::{Failure, Stop, Tasks};
use holdfast_telemetry::Metrics;
use tokio::net::TcpListener;
use tonic::service::Routes;

use super::{Settings, url::Url};
use crate::{AuthTokenError, Chainfire, Config, Foundation, Gateway, GatewayError, Profile, http::variables};

/// A drop-in server whose ports are open and whose data is opened, but that does not answer yet.
pub struct Server {
    node: Node,
    chainfire: Chainfire,
    services: Routes,
    metrics: Metrics,
    doors: Vec<Door>,
    gateway: bool,
    connections: Limits,
    peer_scheme: &'static str,
    profile: Profile,
    initial_check: bool,
    /// Whoever reaches a client port may call.
    open_to_all: bool,
}

/// One listener.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<ServerTls>,
    serves: Serves,
}

/// What is answered at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serves {
    Everything,
    Grpc,
    Http,
    /// Health, version and metrics.
    Monitors,
}

/// Why the server does not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {url}: {error}")]
    Listen { url: String, error: io::Error },
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("cannot make {}: {error}", certificate.display())]
    SelfSigned { certificate: PathBuf, error: io::Error },
    #[error(transparent)]
    Raft(#[from] chainfire_raft::Error),
    #[error("--auth-token: {0}")]
    AuthToken(#[from] AuthTokenError),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error(
        "--initial-cluster-state=existing, but this member has no data: members cannot be added to a running cluster; \
         one that has lost its data is given its place back with --rejoin-wiped"
    )]
    NewMember,
    #[error(
        "{} holds the data of an etcd, which this server does not read in place: stop that etcd for good and fill \
         another data folder with `holdfast restore {}/member/snap/db --from-etcd --data-dir DIR`",
        .0.display(), .0.display()
    )]
    EtcdData(PathBuf),
    #[error("initial corruption check: {0}")]
    Unsound(String),
    #[error("{0}")]
    Task(String),
}

impl Server {
    /// Opens the ports and the data that `settings` name.
    pub async fn open(settings: Settings) -> Result<Self, ServerError> {
        let has_data = settings.data_dir.join("identity").is_file();
        if !has_data && settings.data_dir.join("member/snap/db").is_file() {
            return Err(ServerError::EtcdData(settings.data_dir));
        }
        // Once there is data, etcd asks for this flag no more, and manifests keep it.
        if settings.existing && !settings.rejoin_wiped && !has_data {
            return Err(ServerError::NewMember);
        }
        let alone = settings.cluster.members.len() == 1;
        let peers = if alone { unused().await? } else { bind(&settings.listen_peers).await?.0 };
        Self::open_with(settings, peers).await
    }

    /// The same with a peer port that is open already.
    pub async fn open_with(settings: Settings, peers: TcpListener) -> Result<Self, ServerError> {
        for wanted in &settings.self_signed {
            let failed = |error| ServerError::SelfSigned { certificate: wanted.certificate(), error };
            wanted.provide().map_err(failed)?;
        }
        let tls = settings.client_tls.clone().map(|files| ServerTls::load(files, &[b"h2", b"http/1.1"])).transpose()?;
        let tls = tls.map(|tls| tls.complaining("client", Complaints::default()));
        let doors = open_doors(&settings, tls.as_ref()).await?;
        let certified =
            settings.client_tls.as_ref().is_some_and(|files| matches!(files.client_auth, ClientAuth::Required(_)));
        let plain = doors.iter().any(|door| door.tls.is_none() && door.serves != Serves::Monitors);
        let open_to_all = plain || !certified;

        let node = NodeConfig {
            tls: settings.peer_tls,
            timing: settings.timing,
            rejoin_wiped: settings.rejoin_wiped,
            ..NodeConfig::new(settings.data_dir, settings.cluster, settings.name)
        };
        let node = Node::open(node, peers)?;
        let config = Config {
            limits: settings.limits,
            peer_scheme: settings.peer_scheme,
            client_urls: settings.client_urls,
            progress_interval: settings.progress_interval,
            auto_compaction: settings.auto_compaction,
            auth: settings.auth,
            auto_disarm: settings.auto_disarm,
            corrupt_check: settings.corrupt_check,
            lease_checkpoints: settings.lease_checkpoints,
            profile: settings.profile,
            slow_call: settings.slow_call,
            ..Config::new(settings.timing)
        };
        let metrics = Metrics::new();
        let group = GroupConfig { snapshot_every: settings.snapshot_every, ..GroupConfig::chainfire() };
        let chainfire = Chainfire::open(&node, group, config, &metrics).await?;
        let services = chainfire.routes_with_users()?;
        let (peer_scheme, profile) = (settings.peer_scheme, settings.profile);
        Ok(Self {
            node,
            chainfire,
            services,
            metrics,
            doors,
            gateway: settings.gateway,
            connections: settings.connections,
            peer_scheme,
            profile,
            initial_check: settings.initial_corrupt_check,
            open_to_all,
        })
    }

    /// Where clients are answered, in the order of the listening URLs; those for HTTP alone come last.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors.iter().filter(|door| door.serves != Serves::Monitors).map(|door| door.address).collect()
    }

    /// Answers until `stop`, then hands leadership over and ends in good order.
    pub async fn run(self, stop: Stop) -> Result<(), ServerError> {
        let Self {
            node,
            chainfire,
            services,
            metrics,
            doors,
            gateway,
            connections,
            peer_scheme,
            profile,
            initial_check,
            open_to_all,
        } = self;
        let started = tokio::select! {
            started = node.start(Foundation::alone().command(peer_scheme)) => started,
            () = stop.requested() => Err(chainfire_raft::Error::Stopped),
        };
        if let Err(error) = started {
            node.stop().await;
            return if stop.is_requested() { Ok(()) } else { Err(error.into()) };
        }
        if initial_check && let Err(error) = sound(&chainfire).await {
            node.stop().await;
            return Err(error);
        }
        if open_to_all && !chainfire.users_count() {
            tracing::warn!(
                "callers are not authenticated: whoever reaches the client port can read and change everything"
            );
        }
        let mut tasks = Tasks::new(stop);
        chainfire.spawn(&mut tasks);
        let monitors = chainfire.http().merge(metrics_page(metrics));
        let grpc = client_router(services)?;
        let gateway = gateway.then(|| chainfire.gateway()).transpose()?;
        for Door { listener, address, tls, serves } in doors {
            let router = match serves {
                Serves::Everything => in_json(gateway.clone(), &grpc, grpc.clone().merge(monitors.clone())),
                Serves::Grpc => grpc.clone(),
                Serves::Http => {
                    in_json(gateway.clone(), &grpc, monitors.clone().merge(variables()).fallback(unknown_path))
                }
                Serves::Monitors => monitors.clone(),
            };
            if let Some(tls) = tls.clone() {
                let reload = tls.reload(tasks.stop());
                tasks.spawn("tls-reload", Failure::IsLogged, async move {
                    reload.await;
                    Ok::<_, io::Error>(())
                });
            }
            let serving = holdfast_rpc::serve(listener, router, tls, connections, tasks.stop());
            tasks.spawn("clients", Failure::StopsProcess, serving);
            tracing::info!(%address, ?serves, "listening");
        }
        let (waiting, stopped) = (chainfire.clone(), tasks.stop());
        tasks.spawn("ready", Failure::IsLogged, async move {
            tokio::select! {
                () = waiting.ready() => {
                    tracing::info!(version = profile.cluster(), "enabled capabilities for version");
                    tracing::info!("ready to serve client requests");
                }
                () = stopped.requested() => {}
            }
            Ok::<_, io::Error>(())
        });
        let ended = tasks.finished().await;
        drop(chainfire);
        node.stop().await;
        ended.map_err(ServerError::Task)
    }
}

/// Opens every listener once: of a port that is named with both schemes, the first byte of a connection tells which.
async fn open_doors(settings: &Settings, tls: Option<&ServerTls>) -> Result<Vec<Door>, ServerError> {
    let clients = if settings.listen_http.is_empty() { Serves::Everything } else { Serves::Grpc };
    let all = [
        (&settings.listen_clients, clients),
        (&settings.listen_http, Serves::Http),
        (&settings.listen_metrics, Serves::Monitors),
    ];
    let mut doors: Vec<Door> = Vec::new();
    for (urls, serves) in all {
        for (at, url) in urls.iter().enumerate() {
            let same_port = |other: &Url| other.authority == url.authority && other.secure != url.secure;
            if urls[..at].iter().any(same_port) {
                continue;
            }
            let both = urls[at..].iter().any(same_port);
            let (listener, address) = bind(url).await?;
            let tls = tls.filter(|_| url.secure || both).cloned();
            let tls = if both { tls.map(ServerTls::or_plaintext) } else { tls };
            doors.push(Door { listener, address, tls, serves });
        }
    }
    Ok(doors)
}

/// Whether this member's data are those of the others.
async fn sound(chainfire: &Chainfire) -> Result<(), ServerError> {
    let compared = chainfire.compare_with_others().await;
    compared
        .map_err(|error| ServerError::Unsound(error.to_string()))?
        .map_err(|differs| ServerError::Unsound(differs.to_string()))
}

/// `other` with the services of `grpc` in JSON, if they are offered so.
fn in_json(gateway: Option<Gateway>, grpc: &Router, other: Router) -> Router {
    match gateway {
        Some(gateway) => gateway.in_front_of(grpc.clone(), other),
        None => other,
    }
}

fn client_router(services: Routes) -> Result<Router, ServerError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(holdfast_proto::DESCRIPTORS)
        .build_v1()?;
    let (_reporter, health) = tonic_health::server::health_reporter();
    Ok(services
        .add_service(reflection)
        .add_service(health)
        .into_axum_router()
        .merge(variables())
        .fallback(unknown_path))
}

/// gRPC and HTTP say in different words that there is nothing here.
async fn unknown_path(headers: HeaderMap) -> Response {
    let content = headers.get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    if content.starts_with(b"application/grpc") {
        tonic::Status::unimplemented("unknown service or method").into_http()
    } else {
        (StatusCode::NOT_FOUND, "Not Found\n").into_response()
    }
}

fn metrics_page(metrics: Metrics) -> Router {
    let page = move || async move { ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], metrics.encode()) };
    Router::new().route("/metrics", get(page))
}

async fn bind(url: &Url) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |error| ServerError::Listen { url: url.to_string(), error };
    let listener = TcpListener::bind(&url.authority).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// A cluster of one has no peers to listen for.
async fn unused() -> Result<TcpListener, ServerError> {
    let failed = |error| ServerError::Listen { url: "a local port".to_owned(), error };
    TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)
}
