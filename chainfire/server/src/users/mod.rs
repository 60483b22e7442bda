//! etcd's own authentication, for the drop-in server: who a call comes from, passwords and tokens. What users may do is
//! replicated and judged in [`chainfire_core::auth`].
//!
//! - `layer`: in front of every service; finds out who calls and keeps strangers out.
//! - `session`: what a call presents and whom that makes it.
//! - `tokens`, `simple`, `jwt`: two kinds of tokens.
//! - `passwords`: bcrypt, away from the threads that answer.

mod jwt;
mod layer;
mod passwords;
mod session;
mod settings;
mod simple;
mod tokens;
#[expect(clippy::module_inception, reason = "the type that the others belong to")]
mod users;

pub(crate) use layer::Gate;
pub(crate) use passwords::Passwords;
pub(crate) use session::{AuthUser, Credentials, Session};
pub use settings::{AuthSettings, AuthTokenError};
pub(crate) use simple::{Issued, SimpleTokens};
pub(crate) use users::Users;
