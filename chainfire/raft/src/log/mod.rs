//! The Raft logs of all groups in one RocksDB with one write-ahead log, and one thread that syncs it for everybody.

mod db;
mod disk;
mod flusher;
mod key;
mod mark;
mod store;
#[cfg(test)]
mod tests;
mod unsynced;
mod verify;
mod wal;

pub(crate) use db::LogDb;
pub(crate) use store::{Durable, LogReader, LogStore};
pub(crate) use unsynced::Unsynced;
#[cfg(test)]
pub(crate) use {
    db::Synced,
    disk::{Change, Disk, Family, Visit},
    flusher::Waiter,
};
