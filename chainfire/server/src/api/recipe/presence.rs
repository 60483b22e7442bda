use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::Error;

/// Tells a recipe that its caller does not wait for it any more.
#[derive(Clone)]
pub(super) struct Absent(CancellationToken);

/// Runs `recipe` to its end even if the caller leaves: what it has begun has to be undone then.
pub(super) async fn attended<T, F>(recipe: impl FnOnce(Absent) -> F) -> Result<T, Status>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Status>> + Send + 'static,
{
    let token = CancellationToken::new();
    let running = tokio::spawn(recipe(Absent(token.clone())));
    let _leaving = token.drop_guard();
    running.await.map_err(|join| Error::Storage(join.to_string()))?
}

impl Absent {
    /// Waits for `goal` as long as the caller does. If the caller has left, or it cannot be reached, `undo` is run.
    pub(super) async fn or<T, U>(
        &self,
        goal: impl Future<Output = Result<T, Status>>,
        undo: impl Future<Output = Result<U, Status>>,
    ) -> Result<T, Status> {
        let reached = tokio::select! {
            biased;
            () = self.0.cancelled() => Err(Status::cancelled("the caller has left")),
            reached = goal => reached,
        };
        if reached.is_err()
            && let Err(error) = undo.await
        {
            tracing::debug!(%error, "a place in a line stays until its lease ends");
        }
        reached
    }
}
