use std::{net::SocketAddr, path::Path};

use chainfire_raft::{Cluster, GroupConfig, Node, NodeConfig, Timing};
use chainfire_server::{
    Chainfire, Config, Foundation,
    dropin::{Flags, Server, ServerError, Settings},
};
use holdfast_proto::chainfire::admin_client::AdminClient;
use holdfast_proto::etcdserverpb::{
    RangeRequest, auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient,
    lease_client::LeaseClient, maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use holdfast_service::{Stop, Tasks};
use holdfast_telemetry::Metrics;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

/// A drop-in server in a folder of its own, on a port of its own.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    /// Where HTTP is answered: `address`, unless the flags say otherwise.
    pub(crate) http: SocketAddr,
    stop: StopOnDrop,
    running: JoinHandle<Result<(), ServerError>>,
    folder: TempDir,
    channel: Channel,
    /// Where its peers reach it; nowhere in particular if it has none.
    pub(crate) peers: SocketAddr,
}

impl TestServer {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// With further flags of etcd.
    pub(crate) async fn start_with(flags: &[&str]) -> anyhow::Result<Self> {
        Self::open(tempfile::tempdir()?, flags).await
    }

    /// One of several members, whose peers know it by the address of `peers`.
    pub(crate) async fn member(flags: &[&str], peers: TcpListener) -> anyhow::Result<Self> {
        Self::member_in(tempfile::tempdir()?, flags, peers).await
    }

    /// The same with data from before.
    pub(crate) async fn member_in(folder: TempDir, flags: &[&str], peers: TcpListener) -> anyhow::Result<Self> {
        let address = peers.local_addr()?;
        let server = Server::open_with(settings(folder.path(), flags)?, peers).await?;
        Self::run(folder, server, address)
    }

    /// Stops in good order and leaves its data.
    pub(crate) async fn end(self) -> anyhow::Result<TempDir> {
        self.stop.0.request();
        self.running.await??;
        Ok(self.folder)
    }

    /// How the server ends by itself.
    pub(crate) async fn ended(self) -> anyhow::Result<()> {
        Ok(self.running.await??)
    }

    /// Stops in good order and starts again on the same data.
    pub(crate) async fn restart(self) -> anyhow::Result<Self> {
        self.restart_with(&[]).await
    }

    pub(crate) async fn restart_with(self, flags: &[&str]) -> anyhow::Result<Self> {
        Self::open(self.end().await?, flags).await
    }

    /// In a folder that may have something in it.
    pub(crate) async fn open(folder: TempDir, flags: &[&str]) -> anyhow::Result<Self> {
        let server = Server::open(settings(folder.path(), flags)?).await?;
        let server = Self::run(folder, server, SocketAddr::from(([127, 0, 0, 1], 0)))?;
        // A linearizable read waits for the leader. Where users count it is refused, and a login waits.
        match server.kv().range(RangeRequest { key: "ready".into(), ..Default::default() }).await {
            Err(status) if status.code() != Code::InvalidArgument => return Err(status.into()),
            Ok(_) | Err(_) => {}
        }
        Ok(server)
    }

    fn run(folder: TempDir, server: Server, peers: SocketAddr) -> anyhow::Result<Self> {
        let addresses = server.addresses();
        let [address, ..] = *addresses else { anyhow::bail!("no listener") };
        let http = addresses.last().copied().unwrap_or(address);
        let stop = Stop::new();
        let running = tokio::spawn(server.run(stop.clone()));
        // The port is open already: a connection waits in the listener's queue until the server answers.
        let channel = Endpoint::new(format!("http://{address}"))?.connect_lazy();
        Ok(Self { address, http, stop: StopOnDrop(stop), running, folder, channel, peers })
    }

    /// Its data folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The same server by another channel.
    pub(crate) fn through(self, channel: Channel) -> Self {
        Self { channel, ..self }
    }

    pub(crate) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20)
    }

    pub(crate) fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    pub(crate) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub(crate) fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    pub(crate) fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone())
    }

    /// For the services that have no method here.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone())
    }

    pub(crate) fn auth(&self) -> AuthClient<Channel> {
        AuthClient::new(self.channel.clone())
    }
}

/// chainfire as the suite holds it, without a door of its own: the only member of its group, unless it is told otherwise.
pub(crate) struct Single {
    pub(crate) chainfire: Chainfire,
    pub(crate) stop: Stop,
    node: Node,
    tasks: Tasks,
    folder: TempDir,
}

impl Single {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_in(tempfile::tempdir()?, Config::new(Timing::default())).await
    }

    /// With data from before, and another configuration.
    pub(crate) async fn start_in(folder: TempDir, config: Config) -> anyhow::Result<Self> {
        let peers = TcpListener::bind("127.0.0.1:0").await?;
        let node = NodeConfig::new(folder.path(), Cluster::single("a", "localhost:2380"), "a");
        Self::open(folder, node, peers, config).await
    }

    /// The member that `node` says, with its data in `folder`.
    pub(crate) async fn open(
        folder: TempDir,
        node: NodeConfig,
        peers: TcpListener,
        config: Config,
    ) -> anyhow::Result<Self> {
        let node = Node::open(node, peers)?;
        let chainfire = Chainfire::open(&node, GroupConfig::chainfire(), config, &Metrics::new()).await?;
        node.start(Foundation::suite().command("http")).await?;
        chainfire.ready().await;
        let stop = Stop::new();
        let mut tasks = Tasks::new(stop.clone());
        chainfire.spawn(&mut tasks);
        Ok(Self { chainfire, stop, node, tasks, folder })
    }

    /// Stops in good order and leaves its data.
    pub(crate) async fn end(self) -> TempDir {
        self.stop.request();
        assert_eq!(self.tasks.finished().await, Ok(()));
        self.node.stop().await;
        self.folder
    }
}

struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.request();
    }
}

fn settings(folder: &Path, flags: &[&str]) -> anyhow::Result<Settings> {
    let data_dir = format!("--data-dir={}", folder.display());
    let own = [data_dir.as_str(), "--listen-client-urls=http://127.0.0.1:0"];
    let all = own.iter().chain(flags).map(|flag| (*flag).into());
    let (flags, _) = Flags::parse_from_etcd(all)?;
    Ok(flags.try_into()?)
}
