//! Every server takes the steps of the jobs. Each step is one compare-and-set that moves the job, too: whoever comes
//! second finds that it is done, and a server that ends in between leaves the step before or the step after.

use std::time::Duration;

use chainfire_core::{Origin, system::Expect};
use holdfast_service::Stop;
use iam_core::{
    record::key,
    rotation::{Job, Next, StepError},
};
use tokio::time::sleep;

use super::{FAMILIES, Family};
use crate::{
    Doors, Error, Iam,
    iam::Inner,
    records::{Change, Versioned},
};

/// How often time alone is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Servers look one after the other, so that mostly the first one takes the step.
const TURN: Duration = Duration::from_millis(200);

impl Iam {
    pub(crate) async fn keep_rotating(&self, stop: &Stop) {
        let settings = &self.0.settings;
        let place = settings.members.iter().position(|member| *member == settings.member).unwrap_or_default();
        let turn = TURN * (1 + u32::try_from(place).unwrap_or_default());
        let mut changes = self.0.records.store().changes();
        loop {
            let rest = async {
                tokio::select! {
                    _ = changes.changed() => {}
                    () = sleep(LOOK) => {}
                }
                sleep(turn).await;
            };
            tokio::select! {
                () = stop.requested() => return,
                () = rest => {}
            }
            if *self.0.doors.borrow() != Doors::Open {
                continue;
            }
            for family in FAMILIES {
                if let Err(error) = self.0.go_on(family).await {
                    tracing::warn!(family = family.name(), error = %error, "a rotation does not go on here");
                }
            }
        }
    }
}

impl Inner {
    /// Takes the next step of the family's job, if there is one and its time has come.
    async fn go_on(&self, family: &dyn Family) -> Result<(), Error> {
        let at = key::rotation(family.name());
        let Some(Versioned { value: job, revision }) = self.records.get::<Job>(&at)? else { return Ok(()) };
        let (change, after) = match job.next(family.state(self, &job.to)?, self.now_ms()) {
            Next::Rest => return Ok(()),
            Next::End(after) => (Change::new("iam.RotationEnd", format!("rotation/{}", job.id)), *after),
            Next::Step(step, id, after) => match family.step(self, &id, step) {
                Ok(change) => (change, *after),
                Err(Error::Step(StepError::NotYet(_) | StepError::InUse { .. })) => {
                    if let Some(change) = family.work(self, &id, step)? {
                        // Not after the job has been told to pause.
                        self.take(&job, change.expect(at, Expect::Revision(revision))).await?;
                    }
                    return Ok(());
                }
                Err(Error::Step(error)) => {
                    let stuck = job.stuck(error.to_string(), self.now_ms());
                    (Change::new("iam.RotationPause", format!("rotation/{}", job.id)), stuck)
                }
                Err(error) => return Err(error),
            },
        };
        if self.take(&job, change.replace(at, revision, &after)?).await? {
            tracing::info!(family = family.name(), rotation = job.id, done = %after.done, state = %after.state, "a rotation went on");
        }
        Ok(())
    }

    /// Commits what the job does; false if somebody else was first.
    async fn take(&self, job: &Job, change: Change) -> Result<bool, Error> {
        let origin = Origin::system("iam", format!("rotation-{}-{}", job.id, hex::encode(self.random::<4>()?)));
        match self.records.commit(origin, change).await {
            Ok(_) => Ok(true),
            Err(Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
