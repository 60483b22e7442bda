//! The etcd v3 services, and what administrators need beyond them. Handlers convert, ask for permission, and call the store; they decide nothing themselves.

mod admin;
mod auth;
mod caller;
mod cluster;
mod copies;
mod deadline;
mod demands;
mod downgrade;
mod etcd;
mod front;
mod history;
mod kv;
mod learner;
mod lease;
mod maintenance;
mod oversize;
mod range_stream;
mod received;
mod recipe;
mod release;
mod rights;
mod traffic;
mod watch;

pub(crate) use copies::Copies;
pub use etcd::Doors;
pub(crate) use etcd::{Etcd, Parts};
