use std::fmt;

use serde::{Deserialize, Serialize};

use super::{State, Step};

/// The rotation of one item by another, taken step by step. Every step moves the item and the job in one change, so a
/// job that was interrupted is where its record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: String,
    /// The item that was active when it began.
    pub from: String,
    pub to: String,
    /// The last stage that is done.
    pub done: Stage,
    /// It pauses after this stage.
    pub until: Stage,
    pub state: JobState,
    pub started_by: String,
    pub started_ms: u64,
    pub changed_ms: u64,
    /// Why it paused, if nobody told it to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// The way of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Add,
    Activate,
    Retire,
    Purge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    Running,
    Paused,
    /// On its way back.
    Aborting,
    Done,
    Aborted,
}

/// What a job does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This step with this item; the job is as given after it.
    Step(Step, String, Box<Job>),
    /// Nothing is left to do but to say so.
    End(Box<Job>),
    /// It waits for somebody to tell it, or is at its end.
    Rest,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    #[error("the rotation {id} is {state}; to {what} it, {missing}")]
    State { id: String, state: JobState, what: &'static str, missing: &'static str },
    #[error("the rotation {id} has retired {from}, which stays retired; it can only go on")]
    TooLate { id: String, from: String },
    #[error("the rotation {id} is past {done}, so it cannot run until {until}")]
    Past { id: String, done: Stage, until: Stage },
}

impl Job {
    /// A job whose new item is being added with it.
    pub fn begin(id: String, from: String, to: String, until: Stage, by: String, now_ms: u64) -> Self {
        let state = if until == Stage::Add { JobState::Paused } else { JobState::Running };
        let (done, started_ms, changed_ms) = (Stage::Add, now_ms, now_ms);
        Self { id, from, to, done, until, state, started_by: by, started_ms, changed_ms, trouble: None }
    }

    /// Whether another one may begin.
    pub fn is_over(&self) -> bool {
        match self.state {
            JobState::Done | JobState::Aborted => true,
            JobState::Running | JobState::Paused | JobState::Aborting => false,
        }
    }

    /// What is to be done now, with the new item in `to_state`; none if it is gone.
    pub fn next(&self, to_state: Option<State>, now_ms: u64) -> Next {
        match self.state {
            JobState::Paused | JobState::Done | JobState::Aborted => Next::Rest,
            JobState::Running => self.forward(now_ms),
            JobState::Aborting => self.back(to_state, now_ms),
        }
    }

    fn forward(&self, now_ms: u64) -> Next {
        let (step, stage, item) = match self.done {
            Stage::Add => (Step::Activate, Stage::Activate, &self.to),
            Stage::Activate => (Step::Retire, Stage::Retire, &self.from),
            Stage::Retire => (Step::Purge, Stage::Purge, &self.from),
            Stage::Purge => return Next::End(Box::new(self.moved(JobState::Done, now_ms))),
        };
        let state = match stage {
            Stage::Purge => JobState::Done,
            stage if stage >= self.until => JobState::Paused,
            _ => JobState::Running,
        };
        Next::Step(step, item.clone(), Box::new(Self { done: stage, ..self.moved(state, now_ms) }))
    }

    fn back(&self, to_state: Option<State>, now_ms: u64) -> Next {
        let over = Box::new(self.moved(JobState::Aborted, now_ms));
        match to_state {
            Some(State::Active) => {
                let after = Self { done: Stage::Add, ..self.moved(JobState::Aborting, now_ms) };
                Next::Step(Step::Activate, self.from.clone(), Box::new(after))
            }
            // What was made with it is good until it ends.
            Some(State::Pending | State::Overlap) => Next::Step(Step::Retire, self.to.clone(), over),
            Some(State::Retired | State::Compromised) | None => Next::End(over),
        }
    }

    pub fn pause(&self, now_ms: u64) -> Result<Self, JobError> {
        match self.state {
            JobState::Running => Ok(self.moved(JobState::Paused, now_ms)),
            JobState::Paused => Ok(self.clone()),
            JobState::Aborting | JobState::Done | JobState::Aborted => Err(self.wrong("pause", "it must be running")),
        }
    }

    /// Pauses because of `trouble`.
    pub fn stuck(&self, trouble: String, now_ms: u64) -> Self {
        Self { trouble: Some(trouble), ..self.moved(JobState::Paused, now_ms) }
    }

    /// Goes on, until another stage if one is given; to the end if it had paused where it was told to.
    pub fn resume(&self, until: Option<Stage>, now_ms: u64) -> Result<Self, JobError> {
        if !matches!(self.state, JobState::Paused | JobState::Running) {
            return Err(self.wrong("resume", "it must be paused"));
        }
        let until = until.unwrap_or(if self.until > self.done { self.until } else { Stage::Purge });
        if until <= self.done {
            return Err(JobError::Past { id: self.id.clone(), done: self.done, until });
        }
        Ok(Self { until, ..self.moved(JobState::Running, now_ms) })
    }

    /// Turns round: the old item becomes active again and the new one is retired as soon as nothing needs it.
    pub fn abort(&self, now_ms: u64) -> Result<Self, JobError> {
        match self.state {
            JobState::Aborting | JobState::Aborted => Ok(self.clone()),
            JobState::Done => Err(self.wrong("abort", "begin another one back")),
            JobState::Running | JobState::Paused if self.done >= Stage::Retire => {
                Err(JobError::TooLate { id: self.id.clone(), from: self.from.clone() })
            }
            JobState::Running | JobState::Paused => Ok(self.moved(JobState::Aborting, now_ms)),
        }
    }

    fn moved(&self, state: JobState, now_ms: u64) -> Self {
        Self { state, changed_ms: now_ms, trouble: None, ..self.clone() }
    }

    fn wrong(&self, what: &'static str, missing: &'static str) -> JobError {
        JobError::State { id: self.id.clone(), state: self.state, what, missing }
    }
}

impl Stage {
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Add, Self::Activate, Self::Retire, Self::Purge].into_iter().find(|stage| stage.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Activate => "activate",
            Self::Retire => "retire",
            Self::Purge => "purge",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Aborting => "aborting",
            Self::Done => "done",
            Self::Aborted => "aborted",
        })
    }
}
