//! The agent's state machine, pure: what is durable, what may happen, and what must be done about it, in order.
//!
//! ```text
//! COMMITTED(n) --offer m--> [pending m is durable] -> point at m -> activate -> PENDING(m)
//! PENDING(m)   --confirm--> COMMITTED(m)
//! PENDING(m)   --deadline, failure, cancel, boot past the deadline--> point at n -> restore -> COMMITTED(n)
//! ```
//!
//! [`step`] looks at the [`World`] and an [`Event`] and returns [`Effect`]s. Whoever runs them stops at the first that
//! fails; whatever is on disk then is a world that [`Event::Boot`] brings to a good end. The default end is the old
//! state.

mod boot;
mod carried;
mod clock;
mod looked;
mod repair;
mod step;
mod told;
mod world;

pub(crate) use carried::Carried;
pub(crate) use clock::{BootId, Guard, Now};
pub(crate) use looked::{Looked, SyncResult};
pub(crate) use step::{Effect, Event, Failure, Offer, Refusal, step};
pub(crate) use told::Told;
pub(crate) use world::{AgentState, LastChange, Pending, Phase, Refused, Rejected, Released, Repaired, Target, World};

#[cfg(test)]
mod tests;
