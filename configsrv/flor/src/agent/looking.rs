//! How looks and syncs ended, for whoever asks afterwards.

use std::sync::PoisonError;

use configsrv_fleet::Version;

use super::Agent;
use crate::{
    Error,
    machine::{Event, Looked, SyncResult, World},
    outcome::{Outcome, SyncRequest},
    tally::{Cause, PLANE, TallyView},
};

impl Agent {
    /// Keeps how a sync ended; whoever calls has the turn. What was applied is written down already, with the change.
    pub(super) async fn noted(&self, request: &SyncRequest, ended: Result<Outcome, Error>) -> Result<Outcome, Error> {
        if let Some((result, version)) = result_of(&ended).filter(|_| !request.dry_run)
            && let Some(looked) = self.remember(result, version, ended.as_ref().err())
            && result != SyncResult::Applied
            && let Err(error) = self.write_down(looked).await
        {
            tracing::debug!(%error, "how this sync ended is not written down");
        }
        ended
    }

    /// The servers had nothing new; nothing is written down of it, since that may be so every few seconds. Where it was
    /// nothing but a version that is passed over, refused or failed before, that is still how the last sync ended.
    pub(crate) fn found_nothing(&self, passes_over: bool) {
        let world = self.store.load().ok();
        let fails = passes_over || world.as_ref().is_some_and(|world| world.failed().is_some());
        let before = world.as_ref().and_then(|world| self.looked(world)).filter(|_| fails);
        match (before, self.clock.now()) {
            (Some(before), Ok(now)) => self.show(Looked { at_ms: now.wall_ms, ..before }),
            (Some(_), Err(_)) => {}
            (None, _) => {
                self.remember(SyncResult::Unchanged, None, None);
            }
        }
    }

    /// A look came to nothing before anything was touched.
    pub(crate) fn failed_to_look(&self, error: &Error) {
        self.remember(SyncResult::Failed, None, Some(error));
    }

    /// The data plane runs again that did not run although it should.
    pub(crate) fn plane_came_back(&self) {
        self.activator.tally().restarted(PLANE, Cause::Crash);
    }

    /// What this process has counted.
    pub(crate) fn tally(&self) -> TallyView {
        self.activator.tally().view()
    }

    /// How the servers were looked at last: by this process, or as the disk has it.
    pub(super) fn looked(&self, world: &World) -> Option<Looked> {
        let known = self.looked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        world.state.looked.clone().into_iter().chain(known).max_by_key(|looked| looked.at_ms)
    }

    /// `None` on a machine that does not say what time it is.
    fn remember(&self, result: SyncResult, version: Option<Version>, failure: Option<&Error>) -> Option<Looked> {
        // A way back is counted where it ends, whoever began it.
        if result != SyncResult::RolledBack {
            self.activator.tally().ended(result);
        }
        let at_ms = self.clock.now().ok()?.wall_ms;
        let looked = Looked { at_ms, result, version, failure: failure.cloned() };
        self.show(looked.clone());
        Some(looked)
    }

    fn show(&self, looked: Looked) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked);
    }

    async fn write_down(&self, looked: Looked) -> Result<(), Error> {
        let mut world = self.store.load()?;
        self.drive(&mut world, Event::Looked(looked)).await
    }
}

/// What the end of a sync means; nothing where it was no sync.
fn result_of(ended: &Result<Outcome, Error>) -> Option<(SyncResult, Option<Version>)> {
    match ended {
        Ok(Outcome::Unchanged { version }) => {
            Some((SyncResult::Unchanged, Some(*version).filter(|version| *version != Version::NONE)))
        }
        Ok(Outcome::Pending { version, .. } | Outcome::Committed { version, .. }) => {
            Some((SyncResult::Applied, Some(*version)))
        }
        Ok(
            Outcome::Available { .. }
            | Outcome::Confirmed { .. }
            | Outcome::Cancelled { .. }
            | Outcome::Repaired { .. },
        ) => None,
        Err(Error::RolledBack(_)) => Some((SyncResult::RolledBack, None)),
        Err(_) => Some((SyncResult::Failed, None)),
    }
}
