use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use configsrv_fleet::Span;
use holdfast_service::Stop;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Error,
    agent::Agent,
    autosync::{self, AgentLooks, Mode, Schedule},
    carried, cli,
    disk::{Disk as _, PRIVATE_FOLDER, RealDisk},
    drift,
    health::{self, AgentWatched, Verdict},
    home::Layout,
    ipc::{self, Answer, Request},
    lane,
    op_lock::OpLock,
    outcome::{Freshness, SyncRequest},
    plane::{LivePlane, Reached},
    policy::{ConfirmPolicy, Policy, SyncMode},
    renewal::Renewal,
    retell,
    trouble::Trouble,
};

/// How often the daemon looks even though nothing is said to be pending: a command that found no daemon may have
/// changed that.
const IDLE: Duration = Duration::from_secs(60);
/// While something is pending, what is left is written down this often.
const PENDING: Duration = Duration::from_secs(10);
/// After a failure to roll back, e.g. because the disk is full.
const RETRY: Duration = Duration::from_secs(5);
/// Between two looks, whatever the state says.
const SOONEST: Duration = Duration::from_millis(50);
/// A command whose line does not come in this time is dropped.
const LINE: Duration = Duration::from_secs(5);
/// Commands that are answered at a time; more wait in the socket's queue.
const MOST_COMMANDS: usize = 16;

/// How often the daemon looks whether identities were replaced.
const IDENTITIES: Duration = Duration::from_secs(2);

/// How this daemon was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    policy: Policy,
    interval: Option<Duration>,
    commit_timeout: Span,
    look_every: Duration,
}

impl Settings {
    pub(crate) fn new(arguments: &cli::Run) -> Result<Self, Error> {
        let policy = Policy::new(arguments.sync, arguments.confirm_policy);
        let usage = |text: &str| Err(Error::Usage(text.to_owned()));
        if arguments.commit_timeout.is_zero() && policy.sync != SyncMode::Manual {
            return usage(
                "--commit-timeout 0 would keep whatever comes: a machine that syncs by itself needs a way back",
            );
        }
        if arguments.interval.is_some() && policy.sync != SyncMode::Timer {
            return usage("--interval is for --sync timer");
        }
        if arguments.interval.is_some_and(Span::is_zero) {
            return usage("--interval is at least 1s");
        }
        if arguments.look_every.is_zero() {
            return usage("--look-every is at least 1s");
        }
        let interval = arguments.interval.map(Span::as_duration);
        let look_every = arguments.look_every.as_duration();
        Ok(Self { policy, interval, commit_timeout: arguments.commit_timeout, look_every })
    }
}

/// What commands are answered with.
#[derive(Clone)]
struct Context {
    agent: Agent,
    plane: Arc<LivePlane>,
    layout: Layout,
    settings: Settings,
    verdict: Verdict,
    /// Why the state is not in order.
    disorder: Trouble,
    /// Why the data plane is not what the active version says.
    astray: Trouble,
    /// Why this node's certificate is not renewed.
    renewal: Trouble,
}

impl Context {
    /// Syncs, confirmations and reports that nobody types.
    fn unattended(&self, wake: &mpsc::Sender<()>, stop: &Stop) -> Result<JoinSet<()>, Error> {
        let mut tasks = JoinSet::new();
        tasks.spawn(lane::run(self.agent.lane(), self.layout.clone(), stop.clone()));
        tasks.spawn(retell::run(self.agent.clone(), self.layout.clone(), stop.clone()));
        let Settings { policy, interval, commit_timeout, look_every } = self.settings;
        tasks.spawn(drift::run(self.agent.clone(), self.layout.clone(), look_every, stop.clone()));
        if policy.confirm == ConfirmPolicy::Health {
            let watched = AgentWatched::new(self.agent.clone(), self.layout.clone(), wake.clone())?;
            tasks.spawn(health::run(Arc::new(watched), self.verdict.clone(), stop.clone()));
        }
        let mode = match policy.sync {
            SyncMode::Manual => return Ok(tasks),
            SyncMode::Watch => Mode::Watch,
            SyncMode::Timer => Mode::Timer,
        };
        let request = SyncRequest {
            window_ms: commit_timeout.as_secs().saturating_mul(1000),
            unattended: policy.confirm == ConfirmPolicy::Health,
            ..SyncRequest::default()
        };
        let (agent, layout) = (self.agent.clone(), self.layout.clone());
        let schedule = Schedule::new(mode, agent.node());
        let looks = AgentLooks::new(agent, layout, request, interval, wake.clone());
        tasks.spawn(autosync::run(Arc::new(looks), schedule, stop.clone()));
        Ok(tasks)
    }
}

/// Watches over what is pending, runs the data plane, syncs if it is to, and does what commands ask over the socket, until
/// `stop`.
pub(crate) async fn run(
    agent: Agent,
    plane: Arc<LivePlane>,
    renewal: Renewal,
    layout: Layout,
    settings: Settings,
    stop: Stop,
) -> Result<(), Error> {
    let _place = match OpLock::daemon(&layout).await {
        Ok(Some(place)) => Some(place),
        Ok(None) => return Err(Error::State("an agent is running already".into())),
        Err(error) => {
            // Nothing is changed on such a disk; tunnels are needed all the same.
            tracing::error!(%error, "this daemon has no lock, so that commands may take it for none");
            None
        }
    };
    let listener = listen(&layout).await?;
    let (wake, mut woken) = mpsc::channel::<()>(1);
    let context = Context {
        agent,
        plane,
        layout,
        settings,
        verdict: Verdict::default(),
        disorder: Trouble::default(),
        astray: Trouble::default(),
        renewal: renewal.trouble(),
    };
    let mut keeper = Keeper { context: context.clone(), recovered: false };
    let mut next = keeper.begin().await?;
    let following = tokio::spawn(follow(Arc::clone(&context.plane), context.agent.clone()));
    let mut unattended = context.unattended(&wake, &stop)?;
    unattended.spawn(renewal.run(stop.clone()));
    let (agent, layout, Policy { sync, confirm }) = (&context.agent, &context.layout, settings.policy);
    tracing::info!(socket = %layout.socket().display(), %sync, %confirm, "agent is running");
    let mut commands = JoinSet::new();
    let mut expired = None;
    loop {
        tokio::select! {
            () = stop.requested() => break,
            accepted = listener.accept(), if commands.len() < MOST_COMMANDS => match accepted {
                Ok((stream, _)) => {
                    commands.spawn(serve(context.clone(), stream, wake.clone()));
                }
                Err(error) => {
                    // Out of file descriptors: the deadline is kept all the same.
                    tracing::warn!(%error, "a command was not accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = commands.join_next() => {}
            _ = woken.recv() => next = Instant::now(),
            () = sleep_until(next) => {
                next = keeper.look().await;
                alarm(agent, &mut expired);
            }
        }
    }
    following.abort();
    unattended.shutdown().await;
    context.plane.stop().await;
    if let Err(error) = remove(&layout.socket()) {
        tracing::warn!(%error, "the socket stays behind; the next daemon removes it");
    }
    Ok(())
}

/// Identities come and go while the daemon runs.
async fn follow(plane: Arc<LivePlane>, agent: Agent) {
    loop {
        sleep(IDENTITIES).await;
        if plane.look().await == Reached::Restarted {
            agent.plane_came_back();
        }
    }
}

/// Says once that a version is not fresh any more.
fn alarm(agent: &Agent, known: &mut Option<Freshness>) {
    match agent.expired() {
        Ok(expired) => {
            if let Some(expired) = expired.filter(|expired| Some(*expired) != *known) {
                tracing::error!("{expired}");
            }
            *known = expired;
        }
        Err(error) => tracing::debug!(%error, "it is not known whether this version is fresh"),
    }
}

/// Keeps the deadlines, and the data plane on what is active.
struct Keeper {
    context: Context,
    /// Whether what an earlier run left is in order.
    recovered: bool,
}

impl Keeper {
    /// The first look, and the data plane. A disk that is full or read-only is tried again and keeps no node from its
    /// tunnels; only what a new start does not help with is an error.
    async fn begin(&mut self) -> Result<Instant, Error> {
        let turn = OpLock::acquire(&self.context.layout).await;
        // Before there is a plane: it starts as narrow as it is to be.
        self.context.agent.lane().narrow().await?;
        let kept = match &turn {
            Ok(_) => self.keep().await,
            Err(error) => Err(error.clone()),
        };
        if let Err(error @ Error::Configuration(_)) = kept {
            return Err(error);
        }
        // After what is overdue is rolled back. Without a plane there is still somebody who keeps the deadlines.
        let connected = self.context.agent.connect().await;
        self.note_plane(connected);
        Ok(self.note_order(kept))
    }

    /// Rolls back what is overdue, and says when to look again.
    async fn look(&mut self) -> Instant {
        match OpLock::try_acquire(&self.context.layout) {
            Ok(Some(_turn)) => {
                let kept = self.keep().await;
                let agreed = self.agree().await;
                self.note_plane(agreed);
                self.note_order(kept)
            }
            // Whoever is at work writes its own deadline down.
            Ok(None) => Instant::now() + Duration::from_millis(100),
            Err(error) => self.note_order(Err(error)),
        }
    }

    async fn keep(&mut self) -> Result<Option<u64>, Error> {
        let Context { agent, verdict, .. } = &self.context;
        if !self.recovered {
            agent.recover().await?;
            self.recovered = true;
        }
        agent.tick(verdict.get()).await
    }

    /// Somebody may have changed what is active without this daemon.
    async fn agree(&self) -> Result<(), Error> {
        let Context { agent, plane, .. } = &self.context;
        let active = agent.active()?;
        if plane.wants(active.as_ref()).await {
            return Ok(());
        }
        tracing::warn!("the data plane does not run what is active, and is brought there");
        agent.connect().await
    }

    fn note_order(&self, kept: Result<Option<u64>, Error>) -> Instant {
        let wait = due(&kept);
        let disorder = kept.err().map(|error| error.to_string());
        if self.context.disorder.set(disorder.clone()) {
            tracing::error!(
                error = disorder,
                again_in_s = wait.as_secs(),
                "the agent's state could not be brought in order"
            );
        }
        Instant::now() + wait
    }

    fn note_plane(&self, agreed: Result<(), Error>) {
        let astray = agreed.err().map(|error| error.to_string());
        if self.context.astray.set(astray.clone()) {
            tracing::error!(error = astray, "the data plane is not what the active version says");
        }
    }
}

/// How long until the next look, when so many milliseconds are left of a window, if there is one.
fn due(left: &Result<Option<u64>, Error>) -> Duration {
    match left {
        Ok(None) => IDLE,
        Ok(Some(left_ms)) => Duration::from_millis(*left_ms).clamp(SOONEST, PENDING),
        Err(_) => RETRY,
    }
}

/// Binds the socket, in place of one that a killed daemon left.
async fn listen(layout: &Layout) -> Result<UnixListener, Error> {
    let path = layout.socket();
    if UnixStream::connect(&path).await.is_ok() {
        return Err(Error::State("an agent is running already".into()));
    }
    let failed = |error| Error::file(&path, &error);
    if let Some(folder) = path.parent() {
        RealDisk.create_folder(folder, PRIVATE_FOLDER).map_err(failed)?;
    }
    let in_the_way = |error| Error::Unexpected(format!("{} is in the way of the socket: {error}", path.display()));
    remove(&path).map_err(in_the_way)?;
    let listener = UnixListener::bind(&path).map_err(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Fine if there is none.
fn remove(socket: &Path) -> io::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

async fn serve(context: Context, mut stream: UnixStream, wake: mpsc::Sender<()>) {
    let request = match tokio::time::timeout(LINE, ipc::read::<Request>(&mut stream)).await {
        Ok(Ok(Some(request))) => request,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => {
            let _ = ipc::write(&mut stream, &Answer::Failed(error)).await;
            return;
        }
    };
    let answer = answer(&context, request).await.unwrap_or_else(Answer::Failed);
    // The deadline may have moved, also when the command failed.
    let _ = wake.try_send(());
    if let Err(error) = ipc::write(&mut stream, &answer).await {
        tracing::debug!(%error, "a command did not wait for its answer");
    }
}

async fn answer(context: &Context, request: Request) -> Result<Answer, Error> {
    let Context { agent, plane, layout, settings, verdict, disorder, astray, renewal } = context;
    if let Request::Status = request {
        let mut view = agent.status();
        [disorder, astray].into_iter().filter_map(Trouble::get).for_each(|trouble| view.troubles.add(trouble));
        if let Some(certificate) = &mut view.node_certificate {
            certificate.not_renewed = renewal.get();
        }
        view.daemon = true;
        view.policy = Some(settings.policy);
        view.not_yet = verdict.get();
        view.plane = Some(plane.view().await);
        view.counters = Some(agent.tally());
        return Ok(Answer::Status(Box::new(view)));
    }
    let _turn = OpLock::acquire(layout).await?;
    let outcome = match request {
        Request::Sync(request) => agent.sync(&request).await?,
        Request::Carry { artifact, request } => agent.take(&carried::decode(&artifact)?, &request).await?,
        Request::Confirm { version, demand } => agent.confirm(version, demand).await?,
        Request::Cancel => agent.cancel().await?,
        Request::Repair => agent.repair(None).await?,
        Request::Status => return Err(Error::Unexpected("status is answered without a turn".into())),
    };
    Ok(Answer::Done(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_in_time_and_never_in_a_rush() {
        assert_eq!((due(&Ok(None)), due(&Ok(Some(600_000)))), (IDLE, PENDING));
        assert_eq!((due(&Ok(Some(700))), due(&Ok(Some(0)))), (Duration::from_millis(700), SOONEST));
        assert_eq!(due(&Err(Error::Unexpected("disk full".into()))), RETRY);
    }
}
