//! What becomes of a version that waits for its confirmation, when somebody says so.

use configsrv_fleet::Version;
use serde::{Deserialize, Serialize};

use super::Agent;
use crate::{
    Error,
    health::{self, Candidate},
    machine::{Event, Phase, SyncResult, Target, step},
    outcome::Outcome,
};

/// What has to speak for a version that a person keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Demand {
    /// The servers are reached through it, and each of its probes holds.
    #[default]
    All,
    /// The servers are reached through it; the person answers for its probes.
    WithoutProbes,
    /// Nothing but the person's word, for what they brought here themselves.
    Word,
}

impl Agent {
    /// Confirms what is pending, after showing as much as `demand` says.
    pub(crate) async fn confirm(&self, version: Option<Version>, demand: Demand) -> Result<Outcome, Error> {
        let mut world = self.recover().await?;
        let event = |version| match demand {
            Demand::All => Event::Confirm(version),
            Demand::WithoutProbes => Event::Unprobed(version),
            Demand::Word => Event::Keep(version),
        };
        let effects = step(&world, event(version), &self.clock.now()?);
        let effects = effects.map_err(|refusal| self.explain(&world, refusal.into()))?;
        let Some(pending) = world.pending.clone().filter(|_| !effects.is_empty()) else {
            return Ok(Outcome::Confirmed { version: version.unwrap_or(Version::NONE), already: true });
        };
        match demand {
            Demand::All => {
                self.prove(pending.to).await?;
                self.in_window(&world, self.probe(pending.to.version)).await?;
            }
            Demand::WithoutProbes => {
                self.prove(pending.to).await?;
                tracing::warn!(version = %pending.to.version, "confirming though its probes are not asked");
            }
            Demand::Word => {
                tracing::warn!(version = %pending.to.version, "confirming though neither servers nor probes are asked");
            }
        }
        self.drive(&mut world, event(Some(pending.to.version))).await?;
        self.activator.tally().ended(SyncResult::Confirmed);
        Ok(Outcome::Confirmed { version: pending.to.version, already: false })
    }

    /// Asks every probe of a version once.
    async fn probe(&self, version: Version) -> Result<(), Error> {
        let payload = self.staged(&self.store.load()?, version)?;
        health::probe(&payload, self.plane_runs()).await.map_err(|error| {
            Error::Unreachable(format!(
                "{error}; not confirmed: try again when it holds, or keep the version with --without-probes"
            ))
        })
    }

    /// What waits for its confirmation, as far as its activation is done.
    pub(crate) fn candidate(&self) -> Result<Option<Candidate>, Error> {
        let world = self.store.load()?;
        let Some(pending) = world.pending.as_ref().filter(|pending| pending.phase == Phase::Guarded) else {
            return Ok(None);
        };
        let payload = self.staged(&world, pending.to.version)?;
        Ok(Some(Candidate { target: pending.to, payload }))
    }

    /// Confirms a version of which everything has held, after one more proof.
    pub(crate) async fn keep(&self, target: Target, evidence: String) -> Result<Outcome, Error> {
        let mut world = self.recover().await?;
        let held = Event::Held { version: target.version, evidence };
        step(&world, held.clone(), &self.clock.now()?)?;
        self.prove(target).await?;
        self.drive(&mut world, held).await?;
        self.activator.tally().ended(SyncResult::Confirmed);
        Ok(Outcome::Confirmed { version: target.version, already: false })
    }

    /// Goes back to the confirmed version now.
    pub(crate) async fn cancel(&self) -> Result<Outcome, Error> {
        let mut world = self.recover().await?;
        let version = world.pending.as_ref().map(|pending| pending.to.version);
        self.drive(&mut world, Event::Cancel).await.map_err(|error| self.explain(&world, error))?;
        let active = world.active().map(|active| active.version);
        Ok(Outcome::Cancelled { version: version.unwrap_or(Version::NONE), active })
    }
}
