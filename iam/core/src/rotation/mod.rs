//! One life for everything that rotates: pending, active, overlap, retired, purged; with compromised beside it.
//!
//! A [`Set`] holds the items of one kind and takes steps with them. What a step waits for is computed from [`Windows`]
//! (how long things last) and [`Evidence`] (what the verifiers are known to enforce), so that a refusal can say what is
//! missing, who is waited for, when the step becomes possible anyway, and what it would break now. A [`Job`] takes the
//! steps of a whole rotation, one after the other.

mod evidence;
mod job;
mod plan;
mod set;
mod step;
#[cfg(test)]
mod tests;

pub use evidence::{Acknowledgement, Evidence, Part, Verifier};
pub use job::{Job, JobError, JobState, Next, Stage};
pub use plan::{Planned, Undo};
pub use set::{Item, Rotates, Set, State};
pub use step::{FOREVER, NotYet, Step, StepError, Terms, Waive, Windows, utc};
