//! A server that has lost its disk gets its place back (§0 "Wiped member").
//!
//! It has forgotten votes and entries that it acknowledged, so it must not take part under its old identity: together
//! with a server that never had an entry it could make a majority that does not know it. It starts without Raft under
//! a fresh incarnation and asks the leader of each group. There, each step a committed change of the membership:
//!
//! 1. The leader proves to a quorum that it leads.
//! 2. The old incarnation leaves. From here on it counts nowhere: whatever is committed is on a majority of the others.
//! 3. The new incarnation becomes a learner. The leader answers; the server may run Raft, without a vote.
//! 4. When the learner has on disk an index that was committed after the removal, it becomes a voter.
//!
//! Where any of the two crashes, the membership says which step is next: the server asks again ([`guest`]), or whoever
//! leads goes on ([`host`]). What is decided is in [`plan`], which knows neither network nor disk.

mod guest;
mod host;
mod plan;
mod roster;

pub(crate) use guest::ask_back;
pub(crate) use host::Host;
pub(crate) use plan::{Step, unfinished};
pub(crate) use roster::Roster;
