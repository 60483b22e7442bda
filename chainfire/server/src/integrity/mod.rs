//! Whether all members hold the same data. The leader asks the others for checksums of what it holds itself; a member
//! in the minority gets the alarm that stops all use of the user keyspace.
//!
//! Always on is a comparison of the rows of recent revisions, a window at a time, whose cost is that of what was
//! written. A comparison of the whole store is etcd's own check, and costs as much as reading all of it.

mod answer;
mod inspector;
mod verdict;
mod wire;

pub(crate) use answer::answer;
pub(crate) use inspector::{Differs, Inspector};
pub(crate) use wire::Question;
