use std::{fmt::Display, io, net::SocketAddr, sync::Arc, time::Duration};

use holdfast_service::Stop;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

/// Gives every connection to `handle`, at most `connections` of them at a time, until `stop`; then lets the open ones
/// finish for `drain`.
pub async fn accept<F, E>(
    listener: TcpListener,
    connections: usize,
    drain: Duration,
    stop: Stop,
    handle: impl Fn(TcpStream, SocketAddr) -> F,
) -> io::Result<()>
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send,
{
    let open = TaskTracker::new();
    let free = Arc::new(Semaphore::new(connections));
    loop {
        let permit = tokio::select! {
            () = stop.requested() => break,
            permit = free.clone().acquire_owned() => permit.map_err(io::Error::other)?,
        };
        let (stream, source) = tokio::select! {
            () = stop.requested() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or a client that left while it was queued: neither ends the listener.
                    tracing::warn!(%error, "connection not accepted");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let handled = handle(stream, source);
        open.spawn(async move {
            if let Err(error) = handled.await {
                tracing::debug!(%source, %error, "connection ended");
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
