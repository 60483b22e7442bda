use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use holdfast_proto::peer::peer_server::PeerServer;
use holdfast_rpc::{ClientAuth, Complaints, ServerTls, TlsFiles};
use holdfast_service::Stop;
use openraft::{Raft, storage::RaftLogStorage as _};
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::sleep};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::{
    Cluster, Error, FatalHook, Founding, Group, GroupConfig, GroupId, Machine, NodeConfig, NodeMetrics, PeerTls,
    PeerTrust, RaftId, Slot, StateDb,
    config::ANSWER_BYTES,
    error::DAMAGED,
    genesis::{self, Found, Known, Place, join},
    group::{Heard, Life, Parts, Watch, initial_status, settings},
    log::{LogDb, LogStore},
    machine::Applier,
    network::{Connections, Dialer, PeerService, check_own, watch_over_certificates},
    rejoin::ask_back,
    restore::check_finished,
    stall,
    types::Vote,
    witness,
};

/// One server: its identity, the log of all groups, the peer port.
///
/// Open it, add the groups, start it; nothing is answered to peers before the start.
pub struct Node {
    config: NodeConfig,
    known: Arc<Known>,
    log: Arc<LogDb>,
    dialer: Arc<Dialer>,
    service: PeerService,
    tls: Option<ServerTls>,
    listener: Mutex<Option<TcpListener>>,
    /// The peer port, once it is open.
    serving: Mutex<Option<JoinHandle<()>>>,
    groups: Mutex<Vec<(GroupId, Arc<dyn Life>)>>,
    /// Becomes true when genesis is in the first group's state.
    open: watch::Sender<bool>,
    /// No new requests.
    stop: Stop,
    /// No peers any more.
    closing: Stop,
    tasks: TaskTracker,
    /// Of the certificate that the others see.
    certificate_ends: Gauge,
}

/// Peers reconnect at once; their open streams need no long farewell.
const DRAIN: Duration = Duration::from_millis(200);

impl Node {
    /// Opens or creates the data folder. `listener` is the peer port; a cluster of one holds it and answers nobody.
    pub fn open(config: NodeConfig, listener: TcpListener) -> Result<Self, Error> {
        let alone = config.cluster.members.len() == 1;
        // First, because a wrong name is better told than that the certificate does not fit it.
        fs::create_dir_all(&config.data_dir).map_err(Error::io(&config.data_dir))?;
        let members = config.cluster.members.iter().map(|member| format!("{} at {}", member.name, member.address));
        tracing::info!(
            release = env!("CARGO_PKG_VERSION"),
            server = config.name,
            data = %config.data_dir.display(),
            members = members.collect::<Vec<_>>().join(", "),
            "starting"
        );
        check_finished(&config.data_dir)?;
        let known = Arc::new(Known::open(&config.data_dir, config.cluster.clone(), &config.name)?);
        let complaints = Complaints::default();
        let peers = match config.tls.as_ref().filter(|_| !alone) {
            Some(tls) => Some(PeerTls { trust: check_own(tls, &config.name)?, ..tls.clone() }),
            None => None,
        };
        let slots = peers.as_ref().is_some_and(|tls| matches!(tls.trust, PeerTrust::Slots(_)));
        let tls = peers.as_ref().map(|tls| peer_port(tls, &complaints)).transpose()?;
        let log = Arc::new(LogDb::open(&config.data_dir.join("log"), config.on_fatal.clone())?);
        witness::check(&known, &log)?;
        let dialer = Dialer::new(Arc::clone(&known), peers, config.timing, config.limits, config.on_fatal.clone());
        let service =
            PeerService::new(Arc::clone(&known), Arc::clone(dialer.peers()), slots, config.rejoin_wiped, complaints);
        Ok(Self {
            known,
            log,
            dialer: Arc::new(dialer),
            service,
            tls,
            listener: Mutex::new(Some(listener)),
            serving: Mutex::default(),
            groups: Mutex::default(),
            open: watch::Sender::new(false),
            stop: Stop::new(),
            closing: Stop::new(),
            certificate_ends: Gauge::default(),
            tasks: TaskTracker::new(),
            config,
        })
    }

    /// Opens a group's log and state and checks that they belong together. Call it before [`Node::start`].
    pub async fn group<M: Machine>(&self, config: GroupConfig, machine: Arc<M>) -> Result<Group<M>, Error> {
        let settings = Arc::new(settings(&config, self.config.timing)?);
        let path = config.state_folder(&self.config.data_dir);
        let state = StateDb::open(path.clone(), machine.tables())?;
        let mut log = LogStore::open(Arc::clone(&self.log), config.id, self.config.limits, Arc::new(state.clone()))?;
        self.adopt(&state, &mut log, &path).await?;
        check_gap(&mut log, &state, path).await?;
        let fatal = self.config.on_fatal.clone();
        let applier = Applier::new(Arc::clone(&machine), state.clone(), fatal.clone());
        let applier = applier.map_err(Error::io(&self.config.data_dir))?;
        let metrics = applier.metrics();
        let own = self.known.id();
        let (reader, heard) = (log.get_log_reader().await, Heard::default());
        let connections = Connections::new(Arc::clone(&self.dialer), config.id, own);
        let raft = Raft::build(own.to_u64(), settings, connections, log, applier).await;
        let raft = raft.map_err(|error| Error::Raft(error.to_string()))?;

        let (status, statuses) = watch::channel(initial_status(own.slot()));
        let watch = Watch {
            group: config.id,
            metrics: raft.metrics(),
            heard: heard.clone(),
            timing: self.config.timing,
            known: Arc::clone(&self.known),
            status,
            fatal: fatal.clone(),
            stop: self.stop.clone(),
        };
        self.tasks.spawn(watch.run());
        let closing = self.closing.clone();
        self.tasks.spawn(flush_now_and_then(config.id, state.clone(), config.flush_every, fatal.clone(), closing));
        let open = if config.id == GroupId::CHAINFIRE { self.open.subscribe() } else { watch::channel(true).1 };
        let group = Group::new(Parts {
            id: config.id,
            own,
            raft,
            machine,
            state,
            log: reader,
            unsynced: self.log.unsynced(),
            heard,
            fatal,
            dialer: Arc::clone(&self.dialer),
            limits: self.config.limits,
            status: statuses,
            metrics,
            open,
            stop: self.stop.clone(),
            known: Arc::clone(&self.known),
        });
        self.service.add(config.id, Arc::new(group.clone()));
        self.groups.lock().push((config.id, Arc::new(group.clone())));
        Ok(group)
    }

    /// Answers peers, waits until this server is part of a formed cluster, and lets the groups run. With
    /// [`NodeConfig::rejoin_wiped`] that is when the leaders have taken it in as a learner. `genesis` makes the first
    /// command of a new cluster; the leader of group 1 proposes it before anything else. If it cannot be made,
    /// that is logged and tried again.
    pub async fn start(
        &self,
        genesis: impl Fn(&Founding) -> Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.listen();
        let (known, log) = (Arc::clone(&self.known), Arc::clone(&self.log));
        self.tasks.spawn(witness::run(known, log, self.config.on_fatal.clone(), self.closing.clone()));
        let groups = self.groups.lock().clone();
        if let Place::Lost(formed) = join(&self.known, &self.dialer, self.config.rejoin_wiped, &self.stop).await? {
            for (id, _) in &groups {
                ask_back(&self.known, &self.dialer, *id, &formed, &self.stop).await?;
            }
            // From here on it is a server like the others: what it still lacks, the leaders know.
            self.known.form(&formed)?;
        }
        let (log, lives) = (Arc::clone(&self.log), groups.iter().map(|(_, group)| Arc::clone(group)).collect());
        self.tasks.spawn(stall::run(log, lives, self.config.timing, self.closing.clone()));
        let genesis = Arc::new(genesis);
        for (id, group) in groups {
            group.begin(&self.known).await?;
            let keeper = Arc::clone(&group);
            self.tasks.spawn(async move { keeper.keep_members().await });
            if id == GroupId::CHAINFIRE {
                let (known, genesis, open) = (Arc::clone(&self.known), genesis.clone(), self.open.clone());
                self.tasks.spawn(async move { group.found(known, genesis, open).await });
            }
        }
        Ok(())
    }

    /// Ends in good order: new requests are refused, leadership goes to another server, states are flushed. The data
    /// folder is free again when the groups' handles are dropped too.
    pub async fn stop(self) {
        self.stop.request();
        let groups = std::mem::take(&mut *self.groups.lock());
        for (_, group) in &groups {
            group.retire().await;
        }
        // Nobody is let in to a group that has ended.
        self.closing.request();
        self.service.clear();
        let serving = self.serving.lock().take();
        if let Some(serving) = serving {
            // It ends with its drain; a panic of it is nothing to a server that stops.
            let _ = serving.await;
        }
        for (_, group) in &groups {
            group.end().await;
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// What this server measures.
    pub fn metrics(&self) -> NodeMetrics {
        NodeMetrics {
            log_syncs: self.log.syncs(),
            heartbeats_failed: self.dialer.heartbeats_failed().clone(),
            peers: Arc::clone(self.dialer.peers()),
            certificate_ends: self.certificate_ends.clone(),
        }
    }

    /// Gives a restored state its members. Raft looks at them once, when it is opened, so that this waits until the
    /// cluster is formed.
    async fn adopt(&self, state: &StateDb, log: &mut LogStore, path: &Path) -> Result<(), Error> {
        let damaged =
            |error: holdfast_keyspace::Error| Error::Corrupt { path: path.to_owned(), message: error.to_string() };
        let meta = state.meta().map_err(damaged)?;
        let found = genesis::look(&self.known, meta.applied.is_some(), meta.has_members())?;
        let (Found::Restored, Some(last)) = (found, meta.applied) else { return Ok(()) };
        tracing::info!(entry = last.index, "the state was restored; waiting for the other members to be empty");
        self.listen();
        join(&self.known, &self.dialer, false, &self.stop).await.map_err(genesis::not_alone)?;
        let voters = genesis::voters(&self.known)?;
        // Terms go on from the restored log's, so that none of its entries can look newer than what follows.
        let vote = Vote::new(last.leader_id.term, self.known.id().to_u64());
        log.save_vote(&vote).await.map_err(Error::io(path))?;
        state.adopt(voters).map_err(damaged)
    }

    pub fn data_dir(&self) -> &Path {
        &self.config.data_dir
    }

    pub fn slot(&self) -> Slot {
        self.known.id().slot()
    }

    pub fn id(&self) -> RaftId {
        self.known.id()
    }

    pub fn cluster(&self) -> &Cluster {
        self.known.cluster()
    }

    /// The cluster's id; none before the cluster is formed.
    pub fn cluster_id(&self) -> Option<Uuid> {
        self.known.formed().map(|formed| Uuid::from_bytes(formed.cluster))
    }

    fn listen(&self) {
        let Some(listener) = self.listener.lock().take() else { return };
        if self.known.cluster().members.len() == 1 {
            self.tasks.spawn(hold(listener, self.closing.clone()));
            return;
        }
        if self.tls.is_none() {
            tracing::warn!("the peer port has no TLS: whoever reaches it can change the cluster's data");
        }
        let limit = self.config.limits.message_bytes();
        let service = PeerServer::new(self.service.clone())
            .max_decoding_message_size(limit)
            .max_encoding_message_size(ANSWER_BYTES);
        let router = tonic::service::Routes::new(service).into_axum_router();
        let limits = holdfast_rpc::Limits {
            connections: 1024,
            // The handshake of TLS admits peers only.
            known_by: holdfast_rpc::KnownBy::Request,
            drain: DRAIN,
            ..holdfast_rpc::Limits::default()
        };
        let (tls, closing) = (self.tls.clone(), self.closing.clone());
        if let Some(tls) = tls.clone() {
            self.tasks.spawn(tls.reload(closing.clone()));
        }
        if let Some(files) = self.config.tls.clone() {
            self.tasks.spawn(watch_over_certificates(files, self.certificate_ends.clone(), closing.clone()));
        }
        let serving = self.tasks.spawn(async move {
            if let Err(error) = holdfast_rpc::serve(listener, router, tls, limits, closing).await {
                tracing::error!(%error, "the peer port has failed");
            }
        });
        *self.serving.lock() = Some(serving);
    }
}

/// What the peer port shows and asks for.
fn peer_port(tls: &PeerTls, complaints: &Complaints) -> Result<ServerTls, Error> {
    let client_auth = tls.trust.authority().map_or(ClientAuth::None, |ca| ClientAuth::Required(ca.to_owned()));
    let files = TlsFiles {
        revoked: tls.revoked.clone(),
        offer: tls.offer.clone(),
        ..TlsFiles::new(tls.certificate.clone(), tls.key.clone(), client_auth)
    };
    let loaded = ServerTls::load(files, &[b"h2"]).map_err(|error| Error::Tls(error.to_string()))?;
    Ok(loaded.complaining("peer", complaints.clone()))
}

/// Keeps a port that this server names as its own from others, and answers nobody on it.
async fn hold(listener: TcpListener, closing: Stop) {
    loop {
        let accepted = tokio::select! {
            () = closing.requested() => return,
            accepted = listener.accept() => accepted,
        };
        if accepted.is_err() {
            sleep(DRAIN).await;
        }
    }
}

impl Drop for Node {
    /// A node that is dropped without [`Node::stop`] ends like one that was killed: only its tasks are told.
    fn drop(&mut self) {
        self.stop.request();
        self.closing.request();
    }
}

/// The state must reach at least to where the log begins.
async fn check_gap(log: &mut LogStore, state: &StateDb, path: PathBuf) -> Result<(), Error> {
    let stored = log.get_log_state().await.map_err(Error::io(&path))?;
    if let Some(last) = stored.last_log_id
        && state.durable() == 0
    {
        tracing::info!(state = %path.display(), entries = last.index, "the state is empty and is built from the log");
    }
    let Some(purged) = stored.last_purged_log_id else { return Ok(()) };
    if purged.index < state.durable() {
        return Ok(());
    }
    let message = format!(
        "the state ends before entry {}, but the log begins behind entry {}: the state was deleted or is older than \
         the log. {DAMAGED}",
        state.durable(),
        purged.index
    );
    Err(Error::Corrupt { path, message })
}

/// Bounds what a restart has to apply again.
async fn flush_now_and_then(group: GroupId, state: StateDb, every: Duration, fatal: FatalHook, closing: Stop) {
    loop {
        tokio::select! {
            () = closing.requested() => return,
            () = sleep(every) => {}
        }
        let flushed = state.clone();
        match tokio::task::spawn_blocking(move || flushed.flush()).await {
            Ok(Ok(_)) => {}
            // Never twice: what the kernel has dropped is not written by asking again. The log still has it.
            Ok(Err(error)) => {
                return fatal.call(&format!("group {group}: the state cannot be written to disk: {error}"));
            }
            Err(_) => return,
        }
    }
}
