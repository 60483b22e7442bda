//! A disk that hangs: it neither syncs the log nor says that it has failed.
//!
//! The other servers make a majority without this one's disk, so a leader with such a disk would go on: it lives, its
//! heartbeats arrive. But it holds on its own word alone what the others hold on disk, it can lose nobody else, and it
//! freezes at the first thing that does not get past the disk. So it steps down, and does not stand for election.
//!
//! - `duration`: how long is too long; `successor`: who can take over, if anybody can; both pure.
//! - `step_down`: what a group does; `watch`: who looks, and what an operator is told.

mod duration;
mod news;
mod step_down;
mod successor;
mod watch;

pub use duration::Stall;
pub(crate) use step_down::StepDown;
pub(crate) use successor::{furthest, matched};
pub(crate) use watch::run;
