//! Who may do what: roles and hand-written policies, decided by Cedar, and rights on chainfire's keys as interval sets.

mod bounds;
mod compile;
mod decide;
mod entities;
mod error;
mod explain;
mod index;
mod question;
mod ranges;
mod role;
mod types;

pub use compile::{Compiled, Compiler};
pub use decide::{Policies, Verdict};
pub use error::PolicyError;
pub use explain::{Candidate, Clause, Effect};
pub use holdfast_keyspace::KeyRanges;
pub use question::{Caller, Circumstances, Target};
pub use ranges::{KeyRights, KeyRule};
pub use role::Role;
