//! Rotations as jobs: what is rotated, what callers may do with a job, and who takes its steps.

mod authorities;
mod family;
mod master_keys;
mod runner;
mod signing_keys;

use iam_client::Identity;
use iam_core::{
    record::key,
    rotation::{Job, JobError, JobState, Next, Stage},
};

use self::family::{FAMILIES, family};
pub(crate) use self::family::{Family, Plan, Progress};
use crate::{
    Error, Iam,
    records::{Change, Versioned},
};

/// A job, what is left of it, and what it waits for.
pub(crate) struct Report {
    pub(crate) job: Job,
    pub(crate) revision: u64,
    pub(crate) plan: Plan,
    pub(crate) waits: Option<String>,
    pub(crate) progress: Option<Progress>,
}

/// How often a caller's wish is tried again on what changed meanwhile.
const ATTEMPTS: usize = 5;

/// What a caller does with a job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Pause,
    Resume(Option<Stage>),
    Abort,
}

/// What a caller wants of a family.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Begin(Stage),
    Order(Order),
}

impl Iam {
    /// What a rotation would do now, or what is left of the one that is going on.
    pub(crate) fn plan_rotation(&self, name: &str) -> Result<Plan, Error> {
        let family = family(name)?;
        let job = self.0.records.get::<Job>(&key::rotation(name))?.filter(|job| !job.value.is_over());
        match job {
            Some(Versioned { value: job, .. }) => family.plan(&self.0, &job.from, Some(&job.to)),
            None => family.plan(&self.0, &family.active(&self.0)?, None),
        }
    }

    /// Begins a rotation with a new item, which is added in the same change.
    pub(crate) async fn begin_rotation(&self, by: &Identity, name: &str, until: Stage) -> Result<Report, Error> {
        self.insist(by, name, Wish::Begin(until)).await
    }

    async fn try_to_begin(&self, by: &Identity, name: &str, until: Stage) -> Result<Report, Error> {
        let family = family(name)?;
        let at = key::rotation(name);
        let last = self.0.records.get::<Job>(&at)?;
        if let Some(Versioned { value: job, .. }) = last.as_ref().filter(|last| !last.value.is_over()) {
            let Job { id, state, done, .. } = job;
            return Err(Error::Precondition(format!(
                "the rotation {id} is {state} after {done}; it must end before another one begins"
            )));
        }
        let from = family.active(&self.0)?;
        let (to, change) = family.add(&self.0)?;
        let id = hex::encode(self.0.random::<6>()?);
        let job = Job::begin(id, from, to, until, by.principal.to_string(), self.0.now_ms());
        let change = match last {
            Some(last) => change.replace(at, last.revision, &job)?,
            None => change.create(at, &job)?,
        };
        let revision = self.0.records.commit(by.origin(), change).await?;
        self.report(family, Versioned { value: job, revision })
    }

    /// The job that is going on, or the last one.
    pub(crate) fn rotation(&self, name: &str) -> Result<Report, Error> {
        let family = family(name)?;
        let job = self.0.records.get::<Job>(&key::rotation(name))?;
        self.report(family, job.ok_or_else(|| Error::NotFound(format!("rotation of {name}")))?)
    }

    pub(crate) async fn order_rotation(&self, by: &Identity, name: &str, order: Order) -> Result<Report, Error> {
        self.insist(by, name, Wish::Order(order)).await
    }

    /// A job moves on by itself, and a server may lag behind it: what is wanted means the same a moment later.
    async fn insist(&self, by: &Identity, name: &str, wish: Wish) -> Result<Report, Error> {
        let mut attempts = 1..=ATTEMPTS;
        loop {
            let done = match wish {
                Wish::Begin(until) => self.try_to_begin(by, name, until).await,
                Wish::Order(order) => self.try_to_order(by, name, order).await,
            };
            match done {
                Err(Error::Conflict { .. }) if attempts.next().is_some() => {
                    self.0.records.store().barrier().await?;
                }
                done => return done,
            }
        }
    }

    async fn try_to_order(&self, by: &Identity, name: &str, order: Order) -> Result<Report, Error> {
        let family = family(name)?;
        let at = key::rotation(name);
        let found = self.0.records.get::<Job>(&at)?;
        let Versioned { value: job, revision } = found.ok_or_else(|| Error::NotFound(format!("rotation of {name}")))?;
        let now_ms = self.0.now_ms();
        let (action, next) = match order {
            Order::Pause => ("iam.RotationPause", job.pause(now_ms)),
            Order::Resume(until) => ("iam.RotationResume", job.resume(until, now_ms)),
            Order::Abort => ("iam.RotationAbort", job.abort(now_ms)),
        };
        let next = next?;
        if next.state == job.state && next.until == job.until {
            return self.report(family, Versioned { value: job, revision });
        }
        let change = Change::new(action, format!("rotation/{}", job.id)).replace(at, revision, &next)?;
        let revision = self.0.records.commit(by.origin(), change).await?;
        self.report(family, Versioned { value: next, revision })
    }

    fn report(&self, family: &dyn Family, job: Versioned<Job>) -> Result<Report, Error> {
        let Versioned { value: job, revision } = job;
        let mut plan = family.plan(&self.0, &job.from, Some(&job.to))?;
        if job.is_over() || job.state == JobState::Aborting {
            plan.stages.clear();
        }
        let waits = match job.next(family.state(&self.0, &job.to)?, self.0.now_ms()) {
            Next::Step(step, id, _) => family.step(&self.0, &id, step).err().map(|error| error.to_string()),
            Next::End(_) | Next::Rest => None,
        };
        let progress = family.progress(&self.0)?.filter(|_| !job.is_over());
        Ok(Report { job, revision, plan, waits, progress })
    }
}

impl From<JobError> for Error {
    fn from(error: JobError) -> Self {
        match error {
            JobError::State { .. } | JobError::TooLate { .. } => Self::Precondition(error.to_string()),
            JobError::Past { .. } => Self::Invalid(error.to_string()),
        }
    }
}
