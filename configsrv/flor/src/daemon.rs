use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};

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
    disk::{Disk as _, PRIVATE_FOLDER, RealDisk},
    home::Layout,
    ipc::{self, Answer, Request},
    op_lock::OpLock,
    plane::LivePlane,
};

/// How often the daemon looks even though nothing is said to be pending: a command that found no daemon may have
/// changed that.
const IDLE: Duration = Duration::from_secs(60);
/// While something is pending, what is left is written down this often.
const PENDING: Duration = Duration::from_secs(10);
/// After a failure to roll back, e.g. because the disk is full.
const RETRY: Duration = Duration::from_secs(5);
/// A command whose line does not come in this time is dropped.
const LINE: Duration = Duration::from_secs(5);
/// Commands that are answered at a time; more wait in the socket's queue.
const MOST_COMMANDS: usize = 16;

/// How often the daemon looks whether identities were replaced.
const IDENTITIES: Duration = Duration::from_secs(2);

/// Watches over what is pending, runs the data plane, and does what commands ask over the socket, until `stop`.
pub(crate) async fn run(agent: Agent, plane: Arc<LivePlane>, layout: Layout, stop: Stop) -> Result<(), Error> {
    let listener = listen(&layout).await?;
    let mut next = {
        let _turn = OpLock::acquire(&layout).await?;
        agent.recover().await?;
        let next = due(agent.tick().await);
        // After what is overdue is rolled back. Without a plane there is still somebody who keeps the deadlines.
        if let Err(error) = agent.connect().await {
            tracing::error!(%error, "the data plane is not what the active version says");
        }
        next
    };
    let following = tokio::spawn(follow(Arc::clone(&plane)));
    tracing::info!(socket = %layout.socket().display(), "agent is running");
    let (wake, mut woken) = mpsc::channel::<()>(1);
    let mut commands = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.requested() => break,
            accepted = listener.accept(), if commands.len() < MOST_COMMANDS => match accepted {
                Ok((stream, _)) => {
                    commands.spawn(serve(agent.clone(), Arc::clone(&plane), layout.clone(), stream, wake.clone()));
                }
                Err(error) => {
                    // Out of file descriptors: the deadline is kept all the same.
                    tracing::warn!(%error, "a command was not accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = commands.join_next() => {}
            _ = woken.recv() => next = Instant::now(),
            () = sleep_until(next) => next = watch(&agent, &layout).await,
        }
    }
    following.abort();
    plane.stop().await;
    let _ = fs::remove_file(layout.socket());
    Ok(())
}

/// Identities come and go while the daemon runs.
async fn follow(plane: Arc<LivePlane>) {
    loop {
        sleep(IDENTITIES).await;
        plane.look().await;
    }
}

/// Rolls back what is overdue, and says when to look again.
async fn watch(agent: &Agent, layout: &Layout) -> Instant {
    match OpLock::try_acquire(layout) {
        Ok(Some(_turn)) => due(agent.tick().await),
        // Whoever is at work writes its own deadline down.
        Ok(None) => Instant::now() + Duration::from_millis(100),
        Err(error) => {
            tracing::error!(%error, "the state cannot be locked");
            Instant::now() + RETRY
        }
    }
}

fn due(left: Result<Option<u64>, Error>) -> Instant {
    let wait = match left {
        Ok(None) => IDLE,
        Ok(Some(left_ms)) => Duration::from_millis(left_ms).min(PENDING),
        Err(error) => {
            tracing::error!(%error, "the agent's state could not be brought in order");
            RETRY
        }
    };
    Instant::now() + wait
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
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

async fn serve(agent: Agent, plane: Arc<LivePlane>, layout: Layout, mut stream: UnixStream, wake: mpsc::Sender<()>) {
    let request = match tokio::time::timeout(LINE, ipc::read::<Request>(&mut stream)).await {
        Ok(Ok(Some(request))) => request,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => {
            let _ = ipc::write(&mut stream, &Answer::Failed(error)).await;
            return;
        }
    };
    let answer = answer(&agent, &plane, &layout, request).await.unwrap_or_else(Answer::Failed);
    // The deadline may have moved, also when the command failed.
    let _ = wake.try_send(());
    if let Err(error) = ipc::write(&mut stream, &answer).await {
        tracing::debug!(%error, "a command did not wait for its answer");
    }
}

async fn answer(agent: &Agent, plane: &LivePlane, layout: &Layout, request: Request) -> Result<Answer, Error> {
    if let Request::Status = request {
        let mut view = agent.status()?;
        view.daemon = true;
        view.plane = Some(plane.view().await);
        return Ok(Answer::Status(Box::new(view)));
    }
    let _turn = OpLock::acquire(layout).await?;
    let outcome = match request {
        Request::Sync(request) => agent.sync(&request).await?,
        Request::Confirm { version } => agent.confirm(version).await?,
        Request::Cancel => agent.cancel().await?,
        Request::Status => return Err(Error::Unexpected("status is answered without a turn".into())),
    };
    Ok(Answer::Done(outcome))
}
