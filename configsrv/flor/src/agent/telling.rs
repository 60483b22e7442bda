//! What the servers are told and asked. While a version waits for its confirmation nothing of it outlasts the window: the way
//! back begins in time, though no server answers.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use super::Agent;
use crate::{
    Error,
    machine::{Target, Told, World},
    server::Report,
};

/// No report is worth more waiting than this, however many servers there are.
const LONGEST: Duration = Duration::from_secs(20);

/// How long a report may take when so much is left of a window: what comes after it needs the most of it.
fn patience(left: Option<Duration>) -> Duration {
    left.map_or(LONGEST, |left| (left / 4).min(LONGEST))
}

impl Agent {
    /// Waits for an answer, but not past the end of the window of what is pending.
    pub(super) async fn in_window<T>(
        &self,
        world: &World,
        answer: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let Some(left_ms) = self.left_ms(world)? else { return answer.await };
        match timeout(Duration::from_millis(left_ms), answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unreachable("no server answered before the window of what is pending was over".into())),
        }
    }

    /// Shows that the servers are reached through the version that waits.
    pub(crate) async fn prove(&self, target: Target) -> Result<(), Error> {
        let _order = self.reports.lock().await;
        let world = self.store.load()?;
        if world.pending.as_ref().is_none_or(|pending| pending.to != target) {
            return Err(Error::State(format!("version {} does not wait for a confirmation any more", target.version)));
        }
        self.in_window(&world, self.server.prove(target, Report::of(&world, &Told::Pending))).await
    }

    /// Reports are for information: the node goes on without them.
    pub(super) async fn tell(&self, world: &World, told: &Told) {
        let left = self.left_ms(world).ok().flatten().map(Duration::from_millis);
        let said = async {
            let _order = self.reports.lock().await;
            self.server.report(&Report::of(world, told)).await
        };
        match timeout(patience(left), said).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the server was not told"),
            Err(_) => tracing::debug!("no server listened in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_leaves_most_of_a_window_to_what_comes_after_it() {
        let seconds = Duration::from_secs;
        for (left, expected) in [(None, 20), (Some(300), 20), (Some(12), 3), (Some(0), 0)] {
            assert_eq!(patience(left.map(seconds)), seconds(expected), "{left:?}");
        }
    }
}
