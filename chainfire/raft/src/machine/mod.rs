//! The contract of a replicated state machine, and the loop that applies committed entries to it.

mod apply;
mod contract;
mod heads;
#[cfg(test)]
mod tests;

pub(crate) use apply::Applier;
pub use contract::{Applied, Halt, Machine};
