//! etcd's own authentication: users, roles, what roles may do with keys, and who may do what.
//!
//! Passwords are hashed before a command is made, and tokens are the servers' business; here is what is replicated.
//! Every command is judged when it is applied, by the state that it changes: [`Judge`] compares what its
//! [`Origin`](crate::Origin) claims with what a request [demands](Demand). Origins that IAM has established, and the
//! servers' own, are none of its business.

mod command;
mod demand;
mod judge;
mod manage;
mod record;
mod store;

pub use command::{AuthCommand, Login};
pub use demand::{Demand, KeyAccess};
pub use judge::Judge;
pub use record::{AuthStatus, PasswordHash, Permission, PermissionKind, Role, User};
pub use store::{import, role, roles, status, user, users};

pub(crate) use manage::{Change, Ended, log_in, manage};

/// The name of the user, and of the role, that may do everything.
pub const ROOT: &str = "root";
