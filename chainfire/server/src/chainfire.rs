use std::{convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use chainfire_client::{JournalSource, SystemStore};
use chainfire_core::{
    Command, Envelope, FEATURE_LEVEL, Origin, auth,
    cluster::{self, ClusterCommand, GenesisCommand, Limits as ClusterLimits, Member},
    format,
    journal::{AuditLevel, AuditPolicy},
};
use chainfire_raft::{Founding, Group, GroupConfig, Node, StateDb, Timing};
use holdfast_service::{Failure, Tasks};
use tokio::time::sleep;
use tonic::service::Routes;

use crate::{
    AutoCompaction, ChainfireMachine, Doors, Error, Gateway, GatewayError, Limits, Profile,
    api::{Copies, Etcd, Parts},
    background,
    backup::Sources,
    desk,
    directory::Directory,
    http,
    integrity::{Differs, Inspector},
    lease::{Desk, Expiry, Keeper, Lessor},
    members::Members,
    memory::Memory,
    metrics::{Grpc, Metrics, Sampled},
    store::Store,
    users::{AuthSettings, AuthTokenError, SimpleTokens, Users},
    watch::Hub,
};

/// How chainfire runs on one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's clocks.
    pub timing: Timing,
    pub limits: Limits,
    /// Of the peer URLs, `http` or `https`; etcd's member ids depend on it.
    pub peer_scheme: &'static str,
    /// Where clients reach this server, as `MemberList` tells them.
    pub client_urls: Vec<String>,
    /// Between two progress notifications of an idle watcher.
    pub progress_interval: Duration,
    pub auto_compaction: Option<AutoCompaction>,
    /// Takes back this member's alarm for a reached quota once there is room again.
    pub auto_disarm: bool,
    /// Between two checkpoints of the leases that are granted for longer than that; none if there are no checkpoints, and
    /// every new leader gives all leases their whole time.
    pub lease_checkpoints: Option<Duration>,
    /// Between two comparisons of all members' whole stores.
    pub corrupt_check: Option<Duration>,
    pub profile: Profile,
    /// A unary call that takes longer is worth a line in the log.
    pub slow_call: Duration,
    /// Bytes of all answers that are read and not sent yet, beyond which long reads are refused; a part of the machine's
    /// memory if none.
    pub answer_bytes: Option<usize>,
    /// How etcd's own users prove themselves, where they have any say.
    pub auth: AuthSettings,
}

/// What a new cluster begins with.
#[derive(Clone, Debug)]
pub struct Foundation {
    /// Whether changes are recorded for the history.
    pub journal: bool,
    /// What is recorded of user keys.
    pub audit: AuditPolicy,
    pub limits: ClusterLimits,
}

/// chainfire on one server: the replicated store and everything that it is reached by.
#[derive(Clone)]
pub struct Chainfire {
    config: Arc<Config>,
    store: Arc<Store>,
    hub: Arc<Hub>,
    lessor: Arc<Lessor>,
    desk: Arc<Desk>,
    /// Answers other servers as long as it is here.
    _questions: Arc<dyn chainfire_raft::Desk>,
    keeper: Arc<Keeper>,
    directory: Arc<Directory>,
    tokens: Arc<SimpleTokens>,
    /// What a backup is made of.
    sources: Arc<Sources>,
    /// Where copies of everything lie while they are sent.
    folder: PathBuf,
    metrics: Metrics,
    grpc: Arc<Grpc>,
    memory: Memory,
}

impl Chainfire {
    /// Opens the group on `node`. Call it before [`Node::start`], which then needs [`Foundation::command`].
    pub async fn open(
        node: &Node,
        group: GroupConfig,
        config: Config,
        metrics: &holdfast_telemetry::Metrics,
    ) -> Result<Self, chainfire_raft::Error> {
        let (hub, lessor, counts) = (Arc::new(Hub::default()), Arc::new(Lessor::default()), Metrics::default());
        let tokens = Arc::new(SimpleTokens::new(config.auth.token_ttl));
        let machine = ChainfireMachine::new(hub.clone(), lessor.clone(), tokens.clone(), counts.clone());
        let machine = Arc::new(machine);
        let name = group.name;
        let group = node.group(group, machine.clone()).await?;
        machine.attach(group.state().clone());

        let peers = node.cluster().members.iter();
        let peers = peers.map(|peer| (peer.name.clone(), format!("{}://{}", config.peer_scheme, peer.address)));
        let members = Members::new(&node.cluster().token, node.slot(), peers);
        let store = Store::new(group, config.limits, config.timing, members.own_id(), counts.clone());
        let store = Arc::new(store);
        let patience = config.timing.request();
        let desk = Arc::new(Desk::new(store.clone(), lessor.clone(), config.timing.election_min, patience));
        let questions: Arc<dyn chainfire_raft::Desk> =
            Arc::new(desk::Desk { leases: desk.clone(), state: store.group().state().clone() });
        store.group().serve_questions(&questions);
        let keeper = Arc::new(Keeper::new(store.clone(), desk.clone(), lessor.clone(), patience));
        let directory = Arc::new(Directory::new(members, store.clone(), config.client_urls.clone()));

        let memory = Memory::new(config.limits.receive_bytes(), config.answer_bytes);
        let sampled = Sampled {
            store: store.clone(),
            hub: hub.clone(),
            directory: directory.clone(),
            profile: config.profile,
            memory: memory.clone(),
            peers: node.metrics().peers,
        };
        let grpc = Arc::new(Grpc::default());
        metrics.register(|registry| {
            counts.register(registry);
            grpc.register(registry);
            Metrics::register_refusals(registry, &memory);
            Metrics::register_raft(registry, node.metrics(), store.group().metrics().clone());
            registry.register_collector(Box::new(sampled));
        });
        let sources = Arc::new(Sources::default());
        sources.add(name, store.group().state().clone());
        Ok(Self {
            config: Arc::new(config),
            store,
            hub,
            lessor,
            desk,
            _questions: questions,
            keeper,
            directory,
            tokens,
            sources,
            folder: node.data_dir().to_owned(),
            metrics: counts,
            grpc,
            memory,
        })
    }

    /// The etcd services behind IAM, or behind nobody.
    pub fn routes(&self, doors: Doors) -> Routes {
        self.etcd(doors, None).routes()
    }

    /// The etcd services with users and roles of their own, which count once they are switched on. Reads the keys that
    /// [`Config::auth`] names.
    pub fn routes_with_users(&self) -> Result<Routes, AuthTokenError> {
        let users = Users::new(self.store.clone(), self.tokens.clone(), &self.config.auth)?;
        Ok(self.etcd(Doors::open(), Some(Arc::new(users))).routes())
    }

    /// Whether etcd's own authentication is on, as far as this server knows.
    pub fn users_count(&self) -> bool {
        auth::status(self.store.group().state()).is_ok_and(|status| status.enabled)
    }

    fn etcd(&self, doors: Doors, users: Option<Arc<Users>>) -> Etcd {
        Etcd::new(Parts {
            store: self.store.clone(),
            keeper: self.keeper.clone(),
            hub: self.hub.clone(),
            directory: self.directory.clone(),
            doors,
            users,
            metrics: self.metrics.clone(),
            grpc: self.grpc.clone(),
            memory: self.memory.clone(),
            copies: Copies::new(self.sources.clone(), self.folder.clone()),
            progress_interval: self.config.progress_interval,
            min_ttl: min_ttl(self.config.timing),
            profile: self.config.profile,
            slow_call: self.config.slow_call,
        })
    }

    /// Makes the state of another group of this process, with the name of its configuration, a part of backups.
    pub fn back_up_too(&self, name: &'static str, state: StateDb) {
        self.sources.add(name, state);
    }

    /// etcd's HTTP paths, to be put in front of [`Chainfire::routes`] and what guards them.
    pub fn gateway(&self) -> Result<Gateway, GatewayError> {
        Gateway::new(self.config.profile, self.store.limits().receive_bytes(), self.memory.requests.clone())
    }

    /// `/health` and `/version`.
    pub fn http(&self) -> Router {
        http::router(self.store.clone(), self.config.profile)
    }

    /// The system keyspace, for the services of this process.
    pub fn system(&self) -> Arc<dyn SystemStore> {
        self.store.clone()
    }

    /// The audit journal, for its shipper.
    pub fn journal(&self) -> Arc<dyn JournalSource> {
        self.store.clone()
    }

    pub fn group(&self) -> &Group<ChainfireMachine> {
        self.store.group()
    }

    /// The fixed membership with etcd's ids.
    pub fn members(&self) -> &Members {
        self.directory.members()
    }

    /// Starts what goes on in the background. With the stop, watch streams end.
    pub fn spawn(&self, tasks: &mut Tasks) {
        let stop = tasks.stop();
        let mut spawn = |name, task: Task| {
            tasks.spawn(name, Failure::IsLogged, async move {
                task.await;
                Ok::<_, Infallible>(())
            });
        };
        let expiry = Expiry {
            store: self.store.clone(),
            lessor: self.lessor.clone(),
            desk: self.desk.clone(),
            metrics: self.metrics.clone(),
            extension: self.config.timing.election_min,
            checkpoints: self.config.lease_checkpoints,
        };
        spawn("lease-expiry", Box::pin(expiry.run(stop.clone())));
        spawn("compaction", Box::pin(background::remove_compacted(self.store.clone(), stop.clone())));
        spawn("watchdog", Box::pin(background::watch_over(self.store.clone(), self.metrics.clone(), stop.clone())));
        if let Some(mode) = self.config.auto_compaction {
            spawn("auto-compaction", Box::pin(background::compact_regularly(self.store.clone(), mode, stop.clone())));
        }
        if self.config.auto_disarm {
            spawn("disarm", Box::pin(background::disarm(self.store.clone(), stop.clone())));
        }
        spawn("integrity", Box::pin(self.inspector().run(stop.clone())));
        let directory = self.directory.clone();
        let publishing = stop.clone();
        spawn("publish", Box::pin(async move { directory.publish(publishing).await }));
        let hub = self.hub.clone();
        spawn(
            "watch-streams",
            Box::pin(async move {
                stop.requested().await;
                // Not *watch canceled*: clients take that for the end, and this for a reason to go on elsewhere.
                hub.end(&Error::Stopped);
            }),
        );
    }

    /// Whether this server holds the same data as every other that can be asked.
    pub(crate) async fn compare_with_others(&self) -> Result<Result<(), Differs>, Error> {
        self.inspector().compare_at_start().await
    }

    fn inspector(&self) -> Inspector {
        Inspector::new(self.store.clone(), self.directory.clone(), self.config.corrupt_check)
    }

    /// Waits until the cluster is founded and this server has applied everything that was acknowledged before.
    pub async fn ready(&self) {
        let mut changes = self.store.machine().cluster_changes();
        loop {
            changes.borrow_and_update();
            let founded = matches!(cluster::genesis(self.store.group().state()), Ok(Some(_)));
            if !founded {
                if changes.changed().await.is_err() {
                    return;
                }
            } else if self.store.barrier().await.is_ok() {
                return;
            } else {
                // A server that stops fails at once, again and again.
                sleep(PAUSE).await;
            }
        }
    }
}

/// Between two attempts to see that the cluster answers.
const PAUSE: Duration = Duration::from_millis(50);

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Config {
    /// etcd's interval of [`Config::lease_checkpoints`].
    pub const LEASE_CHECKPOINTS: Duration = Duration::from_secs(5 * 60);

    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            limits: Limits::default(),
            peer_scheme: "http",
            client_urls: Vec::new(),
            progress_interval: Duration::from_secs(600),
            auto_compaction: None,
            auto_disarm: false,
            lease_checkpoints: None,
            corrupt_check: None,
            profile: Profile::default(),
            slow_call: Duration::from_millis(300),
            answer_bytes: None,
            auth: AuthSettings::default(),
        }
    }
}

impl Foundation {
    /// Of the whole suite: every change of a user key is recorded, without its values.
    pub fn suite() -> Self {
        let audit = AuditPolicy::all(AuditLevel::Metadata);
        Self { journal: true, audit, limits: ClusterLimits::default() }
    }

    /// Of a store that stands alone: there is no history to ship records to.
    pub fn alone() -> Self {
        Self { journal: false, audit: AuditPolicy::default(), limits: ClusterLimits::default() }
    }

    /// The first command of a new cluster, for [`Node::start`].
    pub fn command(
        self,
        peer_scheme: &'static str,
    ) -> impl Fn(&Founding) -> Result<Vec<u8>, String> + Send + Sync + 'static {
        move |founding| {
            let member = |founder: &chainfire_raft::Founder| Member {
                slot: founder.slot.0,
                name: founder.name.clone(),
                peer_urls: vec![format!("{peer_scheme}://{}", founder.address)],
            };
            let genesis = GenesisCommand {
                cluster: founding.cluster,
                members: founding.members.iter().map(member).collect(),
                lineage: founding.lineage,
                feature_level: FEATURE_LEVEL,
                journal: self.journal,
                limits: self.limits,
                audit: self.audit.clone(),
            };
            let envelope = Envelope {
                origin: Origin::system("genesis", founding.cluster.to_string()),
                time_ms: founding.time_ms,
                command: Command::Cluster(ClusterCommand::Genesis(genesis)),
            };
            format::encode_command(&envelope).map_err(|error| error.to_string())
        }
    }
}

/// The shortest lease, in whole seconds: one and a half elections, so that a change of leaders cannot end it.
fn min_ttl(timing: Timing) -> i64 {
    let millis = timing.election_min.as_millis() * 3 / 2;
    i64::try_from(millis.div_ceil(1_000)).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §2.7: `ceil(1.5 × election timeout)` seconds.
    #[test]
    fn the_shortest_lease_is_two_seconds_at_defaults() {
        assert_eq!(min_ttl(Timing::default()), 2);
        for (election, shortest) in [(100, 1), (666, 1), (700, 2), (1_400, 3), (5_000, 8)] {
            let timing = Timing { election_min: Duration::from_millis(election), ..Timing::default() };
            assert_eq!(min_ttl(timing), shortest, "{election} ms");
        }
    }
}
