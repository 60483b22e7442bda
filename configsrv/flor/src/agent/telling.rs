//! What the servers are told and asked. While a version waits for its confirmation nothing of it outlasts the window: the way
//! back begins in time, though no server answers.

use std::{future::Future, time::Duration};

use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

use super::Agent;
use crate::{
    Error,
    machine::{Carried, Event, Target, Told, World},
    server::{Report, ReportedDrift},
};

/// What the servers are told.
pub(super) struct Reports {
    /// One at a time: what was said before a way back must not arrive after it.
    order: Mutex<()>,
    /// The servers may not know how this node is.
    owed: watch::Sender<bool>,
}

impl Default for Reports {
    /// Nobody knows what was said before this process began.
    fn default() -> Self {
        Self { order: Mutex::default(), owed: watch::channel(true).0 }
    }
}

/// No report is worth more waiting than this, however many servers there are.
const LONGEST: Duration = Duration::from_secs(20);

/// How long a report may take when so much is left of a window: what comes after it needs the most of it.
fn patience(left: Option<Duration>) -> Duration {
    left.map_or(LONGEST, |left| (left / 4).min(LONGEST))
}

impl Reports {
    pub(super) fn owe(&self) {
        self.owed.send_replace(true);
    }
}

impl Agent {
    fn report(&self, world: &World, told: &Told) -> Report {
        let drift = self.drift_in(world).ok().filter(|drift| !drift.files.is_empty());
        let left_ms = self.left_ms(world).ok().flatten();
        Report { drift: drift.as_ref().map(ReportedDrift::of), left_ms, ..Report::of(world, told) }
    }

    /// A confirmation that the servers refuse, since they have another content under its number, says no more than how
    /// things are: from that they see that they are behind, and everybody who asks them.
    async fn say(&self, world: &World, told: &Told) -> Result<(), Error> {
        match (self.server.report(&self.report(world, told)).await, told) {
            (Err(error @ Error::Unexpected(_)), Told::Confirmed { .. }) => {
                tracing::warn!(%error, "the servers do not know what was confirmed here; they are told what runs");
                self.server.report(&self.report(world, &Told::Unchanged)).await
            }
            (said, _) => said,
        }
    }

    /// Waits for an answer, but not past the end of the window of what is pending.
    pub(super) async fn in_window<T>(
        &self,
        world: &World,
        answer: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let Some(left_ms) = self.left_ms(world)? else { return answer.await };
        match timeout(Duration::from_millis(left_ms), answer).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(Error::Unreachable("no server answered before the window of what is pending was over".into()))
            }
        }
    }

    /// Shows that the servers are reached through the version that waits.
    pub(crate) async fn prove(&self, target: Target) -> Result<(), Error> {
        let asking = async {
            let _order = self.reports.order.lock().await;
            let world = self.store.load()?;
            let Some(pending) = world.pending.as_ref().filter(|pending| pending.to == target) else {
                let version = target.version;
                return Err(Error::State(format!("version {version} does not wait for a confirmation any more")));
            };
            self.server.prove(target, pending.carried, self.report(&world, &Told::Pending)).await
        };
        self.in_window(&self.store.load()?, asking).await
    }

    /// Reports are for information: the node goes on without them. Whether somebody listened.
    pub(super) async fn tell(&self, world: &World, told: &Told) -> bool {
        let left = self.left_ms(world).ok().flatten().map(Duration::from_millis);
        let said = async {
            let _order = self.reports.order.lock().await;
            self.say(world, told).await
        };
        let heard = match timeout(patience(left), said).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the server was not told");
                false
            }
            Err(_) => {
                tracing::debug!("no server listened in time");
                false
            }
        };
        self.reports.owed.send_replace(!heard);
        heard
    }

    /// Waits until there is something that the servers may not know.
    pub(crate) async fn owes_a_report(&self) {
        // It fails only without a sender, and this is one.
        let _ = self.reports.owed.subscribe().wait_for(|owed| *owed).await;
    }

    /// Says how this node is now, without a turn; what people brought here and the servers know by that.
    pub(crate) async fn retell(&self) -> Result<Vec<Carried>, Error> {
        let _order = self.reports.order.lock().await;
        // What happens from here on is owed anew.
        self.reports.owed.send_replace(false);
        let said = self.say_how_it_is().await;
        if said.is_err() {
            self.reports.owed.send_replace(true);
        }
        said
    }

    async fn say_how_it_is(&self) -> Result<Vec<Carried>, Error> {
        let world = self.store.load()?;
        if let Some(told) = Told::now(&world) {
            let said = timeout(LONGEST, self.say(&world, &told)).await;
            said.unwrap_or_else(|_| Err(Error::Unreachable("no server listened in time".into())))?;
        }
        Ok(world.state.carried)
    }

    /// Where no daemon runs, what people brought here is told as soon as a server answers.
    pub(super) async fn catch_up(&self, world: &mut World) -> Result<(), Error> {
        let carried = world.state.carried.clone();
        match Told::now(world) {
            Some(told) if !carried.is_empty() && self.tell(world, &told).await => {
                self.drive(world, Event::Heard(carried)).await
            }
            _ => Ok(()),
        }
    }

    /// Forgets what the servers know.
    pub(crate) async fn heard(&self, carried: Vec<Carried>) -> Result<(), Error> {
        let mut world = self.store.load()?;
        self.drive(&mut world, Event::Heard(carried)).await
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
