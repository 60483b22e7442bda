//! What must be true of every run, each in a file of its own. They see more than any server: all of them at once.

mod election_safety;
mod lease;
mod log_matching;
mod lost_write;
mod monotonic_revision;
mod watch;

pub(super) use self::{
    election_safety::ElectionSafety, lease::LeaseNeverEarly, log_matching::LogMatching, lost_write::NoLostWrite,
    monotonic_revision::MonotonicRevision, watch::GaplessWatch,
};

/// What a run has done wrong, in words.
pub(super) type Verdict = Result<(), String>;
