use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A request to end in good order. Clones share one state; a child may be stopped without its parent.
#[derive(Clone, Debug, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    pub fn new() -> Self {
        Self::default()
    }

    /// A stop that is requested with this one, and can be requested alone.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    pub fn request(&self) {
        self.0.cancel();
    }

    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Completes when the stop is requested.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }
}

/// Requests `stop` at the first SIGTERM or SIGINT. Only `main` calls this.
pub async fn on_signal(stop: Stop) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
        () = stop.requested() => {}
    }
    stop.request();
    Ok(())
}
