//! chainfire's replicated state machine, pure: time, ids and random bytes come inside the command.
//!
//! A log entry is an [`Envelope`]; [`apply()`] changes the state by it and returns the [`Answer`] that every server
//! computes alike, with the [`Effect`]s that a server tells its clients. What a command may not do is a replicated
//! answer; what makes going on wrong is a [`Halt`]. Reads ([`kv::range`], [`kv::history`], [`lease::lease`],
//! [`system::get`], [`journal::after`] and others) are functions over any consistent view of the state.
//!
//! - [`kv`]: the user keyspace, as etcd's API defines it: revisions, ranges, transactions, compaction, hashes.
//! - [`lease`]: granted leases and the keys that hang on them.
//! - [`auth`]: etcd's own users and roles, and what they may do.
//! - [`system`]: records and locks of IAM and configsrv, out of the etcd API's reach.
//! - [`journal`]: who changed what, until the history has it.
//! - [`alarm`], [`quota`]: when the user keyspace has to refuse.
//! - [`cluster`]: genesis, lineages, feature level, limits.

pub mod alarm;
mod answer;
mod apply;
pub mod auth;
pub mod cluster;
mod command;
mod effect;
mod error;
pub mod format;
pub mod journal;
pub mod kv;
pub mod lease;
mod meta;
pub mod origin;
pub mod quota;
pub mod system;
pub mod table;

pub use answer::{Answer, UserAnswer, UserRefusal};
pub use apply::{Applied, LogPosition, apply};
pub use command::{Command, Envelope, FEATURE_LEVEL, UserCommand};
pub use effect::Effect;
pub use error::{ClusterError, Failure, Halt, SystemError, UserError};
pub use origin::{AuthenticatedBy, Origin};
