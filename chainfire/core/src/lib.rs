//! chainfire's replicated state machine, pure: time, ids and random bytes come inside the command.

pub mod journal;
pub mod origin;
pub mod system;

pub use origin::{AuthenticatedBy, Origin};
