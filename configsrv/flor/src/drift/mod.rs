//! Files that the active version wrote and that somebody else changed since: found cheaply, told plainly, and dealt with as
//! the version says.

mod compare;
mod decide;
mod diff;
mod rounds;
mod show;
mod watch;

pub(crate) use compare::{Drift, DriftedFile};
pub(crate) use rounds::run;
pub(crate) use show::show;
pub(crate) use watch::Watch;
