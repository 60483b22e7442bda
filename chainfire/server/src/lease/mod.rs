//! Time to live. The state machine knows which leases exist; how long they still run only the leader knows, from its
//! own clock. A new leader gives every lease its whole time again, or what a checkpoint says, so that a lease may live
//! longer than promised but never shorter.

mod checkpoints;
mod desk;
mod expiry;
mod keeper;
mod lessor;
mod wire;

pub(crate) use chainfire_core::lease::Renewal;
pub(crate) use desk::Desk;
pub(crate) use expiry::Expiry;
pub(crate) use keeper::Keeper;
pub(crate) use lessor::Lessor;
