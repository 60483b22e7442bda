use std::{
    fmt::Display,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use holdfast_service::Stop;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use crate::{Standing, strangers::Strangers};

/// Between two complaints that connections cannot be accepted.
const QUIET: Duration = Duration::from_secs(10);

/// Gives every connection to `handle`, at most `connections` of them at a time, until `stop`; then lets the open ones
/// finish for `drain`. A quarter of the places is for connections whose callers are not known yet; they are also the
/// ones that make room when all places are taken.
pub async fn accept<F, E>(
    listener: TcpListener,
    connections: usize,
    drain: Duration,
    stop: Stop,
    handle: impl Fn(TcpStream, SocketAddr, Standing) -> F,
) -> io::Result<()>
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send,
{
    let open = TaskTracker::new();
    let free = Arc::new(Semaphore::new(connections));
    let strangers = Strangers::new(connections / 4);
    let mut complained: Option<Instant> = None;
    loop {
        let (stream, source) = tokio::select! {
            () = stop.requested() => break,
            accepted = listener.accept() => match accepted {
                // A caller has one address, whichever kind of socket it came in by.
                Ok((stream, source)) => (stream, SocketAddr::new(source.ip().to_canonical(), source.port())),
                Err(error) => {
                    // Out of file descriptors, or a client that left while it was queued: neither ends the listener.
                    if complained.is_none_or(|at| at.elapsed() >= QUIET) {
                        tracing::warn!(%error, "connections are not accepted");
                        complained = Some(Instant::now());
                    }
                    strangers.make_room();
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        if free.available_permits() == 0 {
            strangers.make_room();
        }
        let permit = tokio::select! {
            () = stop.requested() => break,
            permit = free.clone().acquire_owned() => permit.map_err(io::Error::other)?,
        };
        let standing = strangers.enter(source.ip());
        let handled = handle(stream, source, standing.clone());
        open.spawn(async move {
            tokio::select! {
                ended = handled => if let Err(error) = ended {
                    tracing::debug!(%source, %error, "connection ended");
                },
                () = standing.cut() => tracing::debug!(%source, "connection cut: its place was needed, or its callers may not go on"),
            }
            drop(permit);
        });
    }
    open.close();
    if timeout(drain, open.wait()).await.is_err() {
        tracing::info!(open = open.len(), "connections cut at the end of the drain time");
    }
    Ok(())
}
