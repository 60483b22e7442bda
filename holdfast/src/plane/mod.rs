//! All roles of one server, put together: what is opened first, what waits for what, what ends last.

mod doors;
mod routers;

use std::{convert::Infallible, io::Write as _, sync::Arc};

use anyhow::{Context as _, bail};
use chainfire_raft::{Cluster, GroupConfig, Member, Node, NodeConfig, PeerTls, PeerTrust, Timing};
use chainfire_server::{Chainfire, Foundation};
use configsrv_server::{ClientAuth, ConfigService, LockSettings};
use flaredb_server::{Flaredb, FlaredbMachine, pg};
use holdfast_rpc::{Limits, ServerTls};
use holdfast_service::{Failure, Stop, Tasks};
use holdfast_telemetry::Metrics;
use iam_core::{TrustDomain, startup::Secrets};
use iam_server::{Iam, SystemClock, SystemEntropy};

use self::doors::{Door, Doors};
use crate::{
    config::{self, FleetLockAuth, Settings},
    dev::{self, Endpoints},
};

/// Of the peer URLs that etcd's API shows; etcd's member ids depend on it.
const PEER_SCHEME: &str = "https";

/// A server whose ports are bound and whose data is opened, but that does not answer yet.
pub(crate) struct Plane {
    settings: Settings,
    doors: Doors,
    endpoints: Endpoints,
    node: Node,
    chainfire: Chainfire,
    history: Flaredb,
    iam: Iam,
    config: ConfigService,
    metrics: Metrics,
}

impl Plane {
    pub(crate) async fn open(settings: Settings, secrets: Secrets) -> anyhow::Result<Self> {
        let (doors, peer) = Doors::open(&settings).await?;
        let endpoints = doors.endpoints(peer.address);
        let admin_token = secrets.admin_token.clone();
        let metrics = Metrics::new();
        let node = Node::open(node_config(&settings), peer.listener)?;
        let config = chainfire_config(&settings, &doors);
        let chainfire = Chainfire::open(&node, GroupConfig::chainfire(), config, &metrics).await?;
        let history = node.group(GroupConfig::flaredb(), Arc::new(FlaredbMachine)).await?;
        chainfire.back_up_too(GroupConfig::flaredb().name, history.state().clone());
        let members = node.cluster().members.clone();
        let history = Flaredb::new(history, flaredb_server::Config::new(&settings.name, members))?;

        let iam_settings = iam_settings(&settings, &doors)?;
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let iam = Iam::open(chainfire.system(), secrets, iam_settings, clock, entropy)?;
        metrics.register(|registry| iam.register_metrics(registry));
        let config = ConfigService::new(chainfire.system(), Arc::new(iam.clone()), configsrv_settings(&settings));
        metrics.register(|registry| {
            config.metrics().register(registry);
            config.lock_metrics().register(registry);
        });
        if settings.dev {
            dev::write_admin_token(&settings.data_dir, &admin_token)?;
        }
        Ok(Self { settings, doors, endpoints, node, chainfire, history, iam, config, metrics })
    }

    /// Answers until `stop`, then hands leadership over and ends in good order.
    pub(crate) async fn run(self, stop: Stop) -> anyhow::Result<()> {
        let Self { settings, doors, endpoints, node, chainfire, history, iam, config, metrics } = self;
        let started = tokio::select! {
            started = node.start(Foundation::suite().command(PEER_SCHEME)) => started,
            () = stop.requested() => Err(chainfire_raft::Error::Stopped),
        };
        if let Err(error) = started {
            node.stop().await;
            return if stop.is_requested() { Ok(()) } else { Err(error.into()) };
        }
        let mut tasks = Tasks::new(stop.clone());
        chainfire.spawn(&mut tasks);
        spawn_history(&mut tasks, &history, &chainfire, &iam, &config);
        spawn_services(&mut tasks, &iam, &config);
        let api = routers::api(&chainfire, &iam, &config, &history, &metrics, settings.dev)?;
        let http = routers::http(&iam, &config, &history, settings.fleetlock.auth, &metrics, settings.dev);
        spawn_doors(&mut tasks, doors, api, http, &history, &iam, settings.dev);

        let ready = async {
            chainfire.ready().await;
            history.ready().await;
            iam.settled().await
        };
        let doors = tokio::select! {
            doors = ready => Some(doors),
            () = stop.requested() => None,
        };
        if let Some(doors) = doors {
            if let iam_server::Doors::Closed(reasons) = doors {
                tracing::error!(reasons = reasons.join("; "), "this server takes part, but its doors stay closed");
            }
            if settings.dev {
                endpoints.write(&settings.data_dir)?;
            }
            say_ready()?;
        }
        let ended = tasks.finished().await;
        drop((chainfire, history, iam, config));
        node.stop().await;
        match ended {
            Ok(()) => Ok(()),
            Err(reason) => bail!(reason),
        }
    }
}

/// The word that supervisors and tests wait for, on a line of its own.
fn say_ready() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready").and_then(|()| out.flush()).context("standard output is closed")
}

fn spawn_services(tasks: &mut Tasks, iam: &Iam, config: &ConfigService) {
    tasks.spawn("iam", Failure::StopsProcess, done(iam.clone().run(tasks.stop())));
    tasks.spawn("configsrv", Failure::StopsProcess, config.clone().run(tasks.stop()));
}

/// Keeps the schema where this server leads, and feeds the history from here.
fn spawn_history(tasks: &mut Tasks, history: &Flaredb, chainfire: &Chainfire, iam: &Iam, config: &ConfigService) {
    let stop = tasks.stop();
    let schema = history.clone().keep_schema(stop.clone());
    let journal = history.clone().ship_journal(config.explain(chainfire.journal()), stop.clone());
    let decisions = history.clone().ship_decisions(iam.decisions(), stop);
    tasks.spawn("schema", Failure::StopsProcess, done(schema));
    tasks.spawn("journal-shipper", Failure::StopsProcess, done(journal));
    tasks.spawn("decision-shipper", Failure::StopsProcess, done(decisions));
}

/// A task that ends only when it is told to.
async fn done(task: impl Future<Output = ()>) -> Result<(), Infallible> {
    task.await;
    Ok(())
}

fn spawn_doors(
    tasks: &mut Tasks,
    doors: Doors,
    api: axum::Router,
    http: axum::Router,
    history: &Flaredb,
    iam: &Iam,
    dev: bool,
) {
    let Doors { api: api_door, http: http_door, sql, web_tls, sql_tls } = doors;
    for tls in [&web_tls, &sql_tls].into_iter().flatten() {
        tasks.spawn("tls-reload", Failure::IsLogged, done(tls.clone().reload(tasks.stop())));
    }
    let mut web = |name, door: Door, router, tls: Option<ServerTls>| {
        tracing::info!(door = name, address = %door.address, tls = tls.is_some(), "listening");
        let serving = holdfast_rpc::serve(door.listener, router, tls, Limits::default(), tasks.stop());
        tasks.spawn(name, Failure::StopsProcess, serving);
    };
    web("api", api_door, api, web_tls.clone());
    web("http", http_door, http, web_tls);
    tracing::info!(door = "sql", address = %sql.address, tls = sql_tls.is_some(), "listening");
    let login = Arc::new(pg::AuthorityLogin::new(Arc::new(iam.clone())));
    let serving = pg::serve(history.clone(), sql.listener, login, pg::PgConfig::new(sql_tls, dev), tasks.stop());
    tasks.spawn("sql", Failure::StopsProcess, serving);
}

fn node_config(settings: &Settings) -> NodeConfig {
    let member = |member: &config::Member| Member { name: member.name.clone(), address: member.peer.clone() };
    let cluster =
        Cluster { token: settings.trust_domain.clone(), members: settings.members.iter().map(member).collect() };
    let tls = settings
        .peer_tls
        .as_ref()
        .map(|tls| PeerTls::new(tls.cert.clone(), tls.key.clone(), PeerTrust::Slots(tls.ca.clone())));
    NodeConfig {
        tls,
        timing: timing(settings),
        rejoin_wiped: settings.rejoin_wiped,
        ..NodeConfig::new(&settings.data_dir, cluster, &settings.name)
    }
}

fn timing(settings: &Settings) -> Timing {
    let election = settings.timing.election;
    Timing { heartbeat: settings.timing.heartbeat, election_min: election, election_max: election * 2 }
}

fn chainfire_config(settings: &Settings, doors: &Doors) -> chainfire_server::Config {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let address = settings.advertise_api.clone().unwrap_or_else(|| doors.api.address.to_string());
    chainfire_server::Config {
        peer_scheme: PEER_SCHEME,
        client_urls: vec![format!("{scheme}://{address}")],
        limits: settings.chainfire.limits,
        progress_interval: settings.chainfire.watch_progress,
        auto_compaction: settings.chainfire.auto_compaction,
        auto_disarm: settings.chainfire.quota_auto_disarm,
        lease_checkpoints: settings.chainfire.lease_checkpoints.then_some(chainfire_server::Config::LEASE_CHECKPOINTS),
        corrupt_check: settings.chainfire.integrity_check,
        ..chainfire_server::Config::new(timing(settings))
    }
}

fn iam_settings(settings: &Settings, doors: &Doors) -> anyhow::Result<iam_server::Settings> {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let issuer = settings.issuer.clone().unwrap_or_else(|| format!("{scheme}://{}", doors.http.address));
    let trust_domain = TrustDomain::new(&settings.trust_domain)?;
    let mut iam = iam_server::Settings::new(issuer, trust_domain, &settings.data_dir);
    iam.member.clone_from(&settings.name);
    iam.members = settings.members.iter().map(|member| member.name.clone()).collect();
    iam.dev = settings.dev;
    iam.lifetimes = settings.lifetimes;
    iam.break_glass.clone_from(&settings.break_glass);
    if settings.fleetlock.auth == FleetLockAuth::None {
        iam.warnings.push("reboot locks are given to and taken from whoever asks (fleetlock.client_auth)".to_owned());
    }
    Ok(iam)
}

fn configsrv_settings(settings: &Settings) -> configsrv_server::Settings {
    let client_auth = match settings.fleetlock.auth {
        FleetLockAuth::None => ClientAuth::None,
        FleetLockAuth::Basic => ClientAuth::Basic,
        FleetLockAuth::Token => ClientAuth::Token,
        FleetLockAuth::Mtls => ClientAuth::Mtls,
    };
    let config::FleetLock { default_slots, groups, listed_only, .. } = settings.fleetlock.clone();
    let fleetlock = LockSettings { client_auth, default_slots, groups, listed_only };
    configsrv_server::Settings { waits: settings.waits, fleetlock, ..configsrv_server::Settings::default() }
}
