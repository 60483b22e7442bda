//! The state database of a group: tables in RocksDB without a write-ahead log. The Raft log is the log.
//!
//! Data, applied position and membership change in one batch, and all column families are flushed together, so that
//! after any crash the database is the state at some applied entry. From there the log is applied again.

mod db;
mod folder;
mod generation;
mod incoming;
mod memory;
mod meta;
mod outgoing;
#[cfg(test)]
mod tests;
mod view;

pub use db::StateDb;
pub(crate) use folder::{replace_file, sync_parent};
pub(crate) use incoming::{Incoming, Progress, Verified};
pub(crate) use meta::Meta;
pub use outgoing::Frames;
pub(crate) use outgoing::Outgoing;
pub use view::{OwnedScan, View};

/// A snapshot in openraft's hands: a view to send, or a verified state that was received.
pub(crate) enum SnapshotData {
    View(View),
    Received(Box<Verified>),
}

/// The storage failed; it is never "not there".
pub(crate) fn failed(error: impl std::fmt::Display) -> holdfast_keyspace::Error {
    holdfast_keyspace::Error(error.to_string())
}
