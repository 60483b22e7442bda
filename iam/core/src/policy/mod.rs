//! Who may do what: roles compiled to Cedar policies, and rights on chainfire's keys as interval sets.

mod decide;
mod ranges;
mod role;

pub use decide::{Caller, Context, CustomPolicy, Policies, PolicyError, Verdict};
pub use holdfast_keyspace::KeyRanges;
pub use ranges::KeyRights;
pub use role::Role;
