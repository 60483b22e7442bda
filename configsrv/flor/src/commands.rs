use std::{env, fmt, path::PathBuf, sync::Arc, time::Duration};

use configsrv_fleet::Version;
use holdfast_service::Stop;
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{
    Error,
    activate::Activator,
    agent::{Agent, Demand},
    bundle, carried,
    cli::{self, Cli, Command, Format, Id},
    clock::SystemClock,
    cluster::Cluster,
    daemon,
    disk::RealDisk,
    enroll,
    home::{Home, Layout},
    identities::IdentityStore,
    ipc::{self, Answer, Request},
    lock,
    machine::{Phase, World},
    manual, metrics,
    op_lock::OpLock,
    outcome::{Outcome, StatusView, SyncRequest},
    plane::{DataPlane, LivePlane, NoPlane},
    renewal::Renewal,
    screen::{self, plain},
    server::HttpServer,
    stop_at,
    store::Store,
    trouble::Trouble,
};

const UPDATE_AVAILABLE: u8 = 4;
/// How often a waiting command looks whether somebody confirmed.
const LOOK: Duration = Duration::from_millis(200);
/// After it could not go back, e.g. because the disk is full.
const RETRY: Duration = Duration::from_secs(5);

/// One cluster on this machine, and how its agent is to be.
struct Site {
    layout: Layout,
    liveness: Duration,
}

/// This program.
#[derive(Serialize)]
struct Program {
    version: &'static str,
}

impl fmt::Display for Program {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "flor {}", self.version)
    }
}

/// Runs one command; its exit code.
pub(crate) async fn run(cli: Cli) -> Result<u8, Error> {
    let home = Home::find(cli.home.clone())?;
    let cluster = cli.cluster.as_deref();
    let liveness = cli.liveness.as_duration();
    let site = || Ok::<_, Error>(Site { layout: home.cluster(cluster)?, liveness });
    match cli.command {
        Command::Version => {
            print(cli.output, &Program { version: env!("CARGO_PKG_VERSION") })?;
            Ok(0)
        }
        Command::Completions { shell } => manual::completions(shell).map(|()| 0),
        Command::Man { out } => manual::pages(out.as_deref()).map(|()| 0),
        Command::Enroll(arguments) => {
            let enrolled = match &arguments.bundle {
                Some(path) => bundle::enroll(&home, path, arguments.name.as_deref()).await?,
                None => enroll::enroll(&home, &arguments).await?,
            };
            print(cli.output, &enrolled)?;
            Ok(0)
        }
        Command::Id(Id::Create { node, principals, out }) => {
            bundle::request(&home, node, principals, out.as_deref())?;
            Ok(0)
        }
        Command::Sync(arguments) | Command::Agent(cli::Agent::Sync(arguments)) => {
            sync(&site()?, cli.output, &arguments).await
        }
        Command::Status { json, metrics } => {
            let view = status(&site()?).await?;
            match (metrics, json) {
                (true, _) => {
                    let text = metrics::text(&view).map_err(|error| Error::Unexpected(error.to_string()))?;
                    screen::print(text.as_bytes())?;
                }
                (false, true) => print(Format::Json, &view)?,
                (false, false) => print(cli.output, &view)?,
            }
            Ok(0)
        }
        Command::Drift(arguments) => drift(&site()?, cli.output, &arguments).await,
        Command::Agent(cli::Agent::Run(arguments)) => {
            let site = site()?;
            let layout = site.layout.clone();
            let settings = daemon::Settings::new(&arguments)?;
            let stop = Stop::new();
            tokio::spawn(holdfast_service::on_signal(stop.clone()));
            let renewal =
                Renewal::new(Cluster::load(&RealDisk, &layout)?, layout.clone(), server(&layout, Arc::new(NoPlane))?);
            let identities = IdentityStore::new(&layout, Cluster::load(&RealDisk, &layout)?.cluster);
            let plane = Arc::new(LivePlane::new(identities, layout.identities())?);
            daemon::run(site.agent(Arc::clone(&plane) as _)?, plane, renewal, layout, settings, stop).await?;
            Ok(0)
        }
        Command::Lock(arguments) => {
            let layout = home.cluster(cluster)?;
            lock::run(&Cluster::load(&RealDisk, &layout)?, server(&layout, Arc::new(NoPlane))?, &arguments).await
        }
    }
}

async fn sync(site: &Site, format: Format, arguments: &cli::Sync) -> Result<u8, Error> {
    let window_ms = arguments.commit_timeout.as_secs().saturating_mul(1000);
    let wanted = SyncRequest {
        window_ms,
        dry_run: arguments.dry_run,
        supersede: arguments.supersede,
        retry_rejected: arguments.retry_rejected,
        unattended: false,
        carried: arguments.from.is_some(),
        overwrite_drift: arguments.overwrite_drift,
    };
    let request = match (&arguments.confirm, &arguments.from) {
        (Some(version), _) => {
            let demand = match (arguments.local, arguments.without_probes) {
                (true, _) => Demand::Word,
                (false, true) => Demand::WithoutProbes,
                (false, false) => Demand::All,
            };
            Request::Confirm { version: *version, demand }
        }
        (None, Some(path)) => {
            let node = Cluster::load(&RealDisk, &site.layout)?.node;
            Request::Carry { artifact: carried::read(path, &node)?, request: wanted }
        }
        (None, None) if arguments.cancel => Request::Cancel,
        (None, None) => Request::Sync(wanted),
    };
    change(site, format, request, arguments.exit_code).await
}

/// Lets the daemon do it, if there is one.
async fn change(site: &Site, format: Format, request: Request, exit_code: bool) -> Result<u8, Error> {
    let outcome = match ipc::ask(&site.layout, &request).await? {
        Some(Answer::Done(outcome)) => outcome,
        Some(Answer::Failed(error)) => return Err(error),
        Some(Answer::Status(_)) => return Err(Error::Unexpected("the daemon answered another question".into())),
        None => return without_daemon(site, format, request, exit_code).await,
    };
    print(format, &outcome)?;
    Ok(code(&outcome, exit_code))
}

/// What is only shown is read here, with the rights of whoever asks.
async fn drift(site: &Site, format: Format, arguments: &cli::Drift) -> Result<u8, Error> {
    if arguments.repair {
        return change(site, format, Request::Repair, false).await;
    }
    let agent = site.agent(Arc::new(NoPlane))?;
    let drift = agent.drift()?;
    match (format, arguments.diff) {
        (Format::Text, true) => screen::print(agent.show_drift(&drift)?.as_bytes())?,
        _ => print(format, &drift)?,
    }
    Ok(0)
}

/// Works on the state directly. Nobody else watches the deadline then, so this command does, whatever becomes of its
/// terminal.
async fn without_daemon(site: &Site, format: Format, request: Request, exit_code: bool) -> Result<u8, Error> {
    // From here on a lost line ends nothing. Output that nobody takes does not either: Rust's programs begin with SIGPIPE
    // ignored.
    let _hangup = signal(SignalKind::hangup()).map_err(|error| Error::Unexpected(error.to_string()))?;
    let agent = site.agent(Arc::new(NoPlane))?;
    // Nobody else follows the lane then. What does not come through does not keep the versions from it.
    if let Request::Sync(SyncRequest { dry_run: false, .. }) = &request {
        agent.lane().once(&site.layout).await;
    }
    let looks = matches!(&request, Request::Sync(asked) | Request::Carry { request: asked, .. } if asked.dry_run);
    let (done, left) = {
        let _turn = OpLock::acquire(&site.layout).await?;
        let done = act(&agent, request).await;
        (done, cut_off(&agent).filter(|_| !looks))
    };
    let (layout, agent) = (&site.layout, &agent);
    match (done, left) {
        (Ok(outcome), _) => {
            if let Err(error) = print(format, &outcome) {
                tracing::warn!(%error, "nobody is told");
            }
            match outcome {
                Outcome::Pending { version, .. } => watch(layout, agent, version, format).await,
                outcome => Ok(code(&outcome, exit_code)),
            }
        }
        (Err(error), None) => Err(error),
        (Err(error), Some(version)) => {
            tracing::error!(%error, %version, "cut off; this command stays until the node is back");
            watch(layout, agent, version, format).await
        }
    }
}

async fn act(agent: &Agent, request: Request) -> Result<Outcome, Error> {
    match request {
        Request::Sync(request) => agent.sync(&request).await,
        Request::Carry { artifact, request } => agent.take(&carried::decode(&artifact)?, &request).await,
        Request::Confirm { version, demand } => agent.confirm(version, demand).await,
        Request::Cancel => agent.cancel().await,
        Request::Repair => agent.repair(None).await,
        Request::Status => Err(Error::Unexpected("status is another command".into())),
    }
}

/// The version that a full disk left half active, or half gone. Who asks has the turn.
fn cut_off(agent: &Agent) -> Option<Version> {
    let pending = agent.world().ok()?.pending?;
    (pending.phase != Phase::Guarded).then_some(pending.to.version)
}

/// Stays until the version is confirmed elsewhere, replaced, or rolled back here. What fails meanwhile is tried again.
async fn watch(layout: &Layout, agent: &Agent, version: Version, format: Format) -> Result<u8, Error> {
    let trouble = Trouble::default();
    loop {
        sleep(LOOK).await;
        let world = match keep_deadline(layout, agent).await {
            Ok(world) => world,
            Err(error) => {
                if trouble.set(Some(error.to_string())) {
                    tracing::error!(%error, again_in_s = RETRY.as_secs(), "the deadline is not kept yet");
                }
                sleep(RETRY).await;
                continue;
            }
        };
        match &world.pending {
            Some(pending) if pending.to.version == version => {}
            _ if world.state.confirmed.map(|confirmed| confirmed.version) >= Some(version) => {
                print(format, &Outcome::Confirmed { version, already: false })?;
                return Ok(0);
            }
            Some(_) => return Err(Error::State(format!("version {version} was replaced by another sync"))),
            None => {
                let reason = world.state.rejected.last().map(|rejected| rejected.reason.clone()).unwrap_or_default();
                return Err(Error::RolledBack(format!("version {version} is rolled back: {reason}")));
            }
        }
    }
}

/// Rolls back what is overdue, and says how things are. A daemon that was started meanwhile does it itself, since it has a
/// data plane.
async fn keep_deadline(layout: &Layout, agent: &Agent) -> Result<World, Error> {
    if !OpLock::has_daemon(layout)?
        && let Some(_turn) = OpLock::try_acquire(layout)?
    {
        agent.tick(None).await?;
    }
    agent.world()
}

/// What the daemon says, or what the disk shows. A node in trouble is shown as far as it can be.
async fn status(site: &Site) -> Result<StatusView, Error> {
    let failed = match ipc::ask(&site.layout, &Request::Status).await {
        Ok(Some(Answer::Status(view))) => return Ok(*view),
        Ok(Some(Answer::Done(_))) => Some(Error::Unexpected("the daemon answered another question".into())),
        Ok(Some(Answer::Failed(error))) | Err(error) => Some(error),
        Ok(None) => None,
    };
    let agent = site.agent(Arc::new(NoPlane))?;
    let trouble = match failed {
        None => tidy(&site.layout, &agent).await.err(),
        // Nothing is touched past a daemon.
        failed => failed,
    };
    let mut view = agent.status();
    if let Some(error) = trouble {
        view.troubles.add(error.to_string());
    }
    Ok(view)
}

/// Whoever looks also puts in order what a killed agent left, unless somebody is at it.
async fn tidy(layout: &Layout, agent: &Agent) -> Result<(), Error> {
    if let Some(_turn) = OpLock::try_acquire(layout)? {
        agent.recover().await?;
    }
    Ok(())
}

impl Site {
    fn agent(&self, plane: Arc<dyn DataPlane>) -> Result<Agent, Error> {
        let layout = &self.layout;
        let (disk, hooks) = stop_at::machine(layout, self.liveness);
        let cluster = Cluster::load(disk.as_ref(), layout)?;
        let store = Store::new(disk, layout.clone(), cluster.node.clone());
        let identities = IdentityStore::new(layout, cluster.cluster.clone());
        let server = Arc::new(server(layout, Arc::clone(&plane))?);
        let activator = Activator::new(hooks, plane);
        Ok(Agent::new(cluster, store, identities, activator, server, Arc::new(SystemClock)))
    }
}

fn server(layout: &Layout, plane: Arc<dyn DataPlane>) -> Result<HttpServer, Error> {
    let cluster = Cluster::load(&RealDisk, layout)?;
    let token_file = env::var_os("FLOR_TOKEN_FILE").map(PathBuf::from);
    Ok(HttpServer::new(cluster, layout.clone(), token_file, plane))
}

fn code(outcome: &Outcome, exit_code: bool) -> u8 {
    match outcome {
        Outcome::Available { update: true, .. } if exit_code => UPDATE_AVAILABLE,
        _ => 0,
    }
}

fn print<T: Serialize + fmt::Display>(format: Format, value: &T) -> Result<(), Error> {
    match format {
        Format::Text => screen::print(format!("{}\n", plain(&value.to_string())).as_bytes()),
        Format::Json => {
            let text = serde_json::to_string(value).map_err(|error| Error::Unexpected(error.to_string()))?;
            screen::print(format!("{text}\n").as_bytes())
        }
    }
}
