//! A running Raft group: what services hold to propose, to read and to watch.

mod ask;
mod handle;
mod leadership;
mod life;
mod peer;
mod propose;
mod read;
mod rejoin;
mod rounds;
mod watch;

pub use ask::Desk;
pub use handle::Group;
pub(crate) use handle::{Parts, settings};
pub(crate) use life::Life;
pub use propose::Committed;
pub(crate) use watch::{Heard, Watch, initial as initial_status};
