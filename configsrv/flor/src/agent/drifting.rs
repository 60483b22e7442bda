use std::sync::PoisonError;

use configsrv_fleet::{Payload, Version};

use super::Agent;
use crate::{
    Error,
    drift::{Drift, show},
    machine::{Event, Failure, Phase, Told, World},
    outcome::{Outcome, SyncRequest},
};

impl Agent {
    /// Which files of the active version somebody else changed.
    pub(crate) fn drift(&self) -> Result<Drift, Error> {
        self.drift_in(&self.store.load()?)
    }

    /// While files are being written there is nothing to say about them.
    pub(super) fn drift_in(&self, world: &World) -> Result<Drift, Error> {
        let still = world.pending.as_ref().is_none_or(|pending| pending.phase == Phase::Guarded);
        let Some(active) = world.active().filter(|_| still) else { return Ok(Drift::default()) };
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.look(self.store.disk(), active, || self.staged(world, active.version))
    }

    /// The same as a diff, read with the rights of whoever asks.
    pub(crate) fn show_drift(&self, drift: &Drift) -> Result<String, Error> {
        let payload: Option<Payload> = self.active_payload(&self.store.load()?)?;
        payload.map_or(Ok(String::new()), |payload| show(self.store.disk(), &payload, drift))
    }

    /// Refuses to take anything newer over changes that somebody has to decide about.
    pub(super) fn thawed(&self, world: &World, request: &SyncRequest) -> Result<(), Error> {
        if request.dry_run || request.overwrite_drift {
            return Ok(());
        }
        // What cannot be looked at, because its set is damaged, is mended first.
        let Ok(drift) = self.drift_in(world) else { return Ok(()) };
        if !drift.freezes() {
            return Ok(());
        }
        let files: Vec<String> = drift.files.iter().map(ToString::to_string).collect();
        Err(Error::State(format!(
            "files were changed here, and this node takes nothing newer until somebody decides ({}): flor drift --diff shows \
             how, flor drift --repair writes them again, flor sync --overwrite-drift goes over them",
            files.join("; ")
        )))
    }

    /// Writes files again that somebody else changed: `paths`, or all of them.
    pub(crate) async fn repair(&self, paths: Option<&[String]>) -> Result<Outcome, Error> {
        let mut world = self.recover().await?;
        if let Some(pending) = &world.pending {
            return Err(Error::State(format!(
                "version {} waits for its confirmation; confirm it or go back first",
                pending.to.version
            )));
        }
        let drifted = self.drift_in(&world)?.files.into_iter().map(|file| file.path);
        let due: Vec<String> = drifted.filter(|path| paths.is_none_or(|paths| paths.contains(path))).collect();
        if due.is_empty() {
            return Ok(Outcome::Repaired { files: Vec::new() });
        }
        self.drive(&mut world, Event::Drifted(due.clone())).await?;
        if let Some(told) = Told::now(&world) {
            self.tell(&world, &told).await;
        }
        match world.state.repaired.and_then(|repaired| repaired.failure) {
            Some(failure) => Err(Error::Unexpected(format!("not everything is as it was written: {failure}"))),
            None => Ok(Outcome::Repaired { files: due }),
        }
    }

    pub(super) async fn rewrite(&self, world: &World, version: Version, paths: &[String]) -> Result<(), Failure> {
        let payload = self.staged(world, version).map_err(|error| Failure(error.to_string()))?;
        tracing::warn!(%version, ?paths, "writing files again that somebody changed");
        self.activator.rewrite(&self.store, &payload, paths).await
    }

    /// Since the machine's start.
    pub(crate) fn uptime_ms(&self) -> Result<u64, Error> {
        Ok(self.clock.now()?.uptime_ms)
    }

    /// The servers are to know of something that no transition tells.
    pub(crate) fn owe_a_report(&self) {
        self.reports.owe();
    }
}
