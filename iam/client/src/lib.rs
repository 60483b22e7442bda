//! The layer in front of every service: authenticate, decide, record. Handlers find an [`Identity`] in the request's
//! extensions and never read headers.
//!
//! The listener puts a [`holdfast_rpc::Connection`] into each request's extensions; [`IamLayer`] takes what the caller
//! presented, lets the [`Authority`] establish who that is, looks the path up in the access table and lets the request
//! pass or answers with a [`Refusal`] in the protocol of the path.
//! Every answer carries the index that the server has applied; a request that names one is looked at from there on only.

mod access;
mod authority;
mod decision;
mod disclosure;
mod freshness;
mod identity;
mod layer;
mod path;
mod presented;
mod refusal;
mod response;

pub use access::{Access, AccessTable, Rule};
pub use authority::{Authority, KeyAuthority, PasswordLogin, StillHolds};
pub use chainfire_core::auth::KeyAccess;
pub use decision::{DecisionRecord, DecisionSource};
pub use disclosure::DisclosureLog;
pub use iam_core::{Kind, PrincipalId, Scope};
pub use identity::{Caller, Evidence, Identity, identity};
pub use layer::{IamLayer, IamService, RequestId};
pub use presented::Presented;
pub use refusal::Refusal;
pub use response::Style;
