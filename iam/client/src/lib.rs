//! The layer in front of every service: authenticate, decide, record. Handlers find an [`Identity`] in the request's
//! extensions and never read headers.

mod access;
mod authority;
mod decision;
mod identity;

pub use access::{Access, Rule};
pub use authority::{Authority, Presented, Refusal};
pub use decision::{DecisionRecord, DecisionSource};
pub use identity::{Identity, Kind, PrincipalId};
