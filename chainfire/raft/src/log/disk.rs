use std::io;

use super::{
    db::Synced,
    key::{self, Meta},
};
use crate::{GroupId, format::decode_entry, types::Entry};

/// What logs lie on: ordered pairs in two families, a batch at a time. RocksDB in a server; the simulator has one that
/// forgets what was not synced.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Writes all of `changes` or nothing: readable at once, durable after the next sync.
    fn write(&self, changes: Vec<Change>) -> io::Result<()>;

    /// Completes `waiter` when everything written before is durable. Waiters complete in order.
    fn enqueue(&self, waiter: Synced);

    fn get(&self, family: Family, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Shows `visit` the pairs of `start..end` in order until it returns false.
    fn scan(&self, family: Family, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> io::Result<()>;
}

pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> io::Result<bool> + 'a;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Entries,
    Meta,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put(Family, Vec<u8>, Vec<u8>),
    /// Everything of `start..end`.
    DeleteRange(Family, Vec<u8>, Vec<u8>),
}

pub(super) fn meta(disk: &dyn Disk, group: GroupId, what: Meta) -> io::Result<Option<Vec<u8>>> {
    disk.get(Family::Meta, &key::meta(group, what))
}

/// Entries from `start` on, in order, until `visit` returns false. An entry that does not decode, or a gap, is an error,
/// never skipped.
pub(super) fn visit_entries(
    disk: &dyn Disk,
    group: GroupId,
    start: u64,
    mut visit: impl FnMut(Entry, usize) -> bool,
) -> io::Result<()> {
    let mut expected = None;
    disk.scan(Family::Entries, &key::entry(group, start), &key::entries_end(group), &mut |key, value| {
        let index = key::index_of(key).ok_or_else(|| damaged(format!("{key:?} is not the key of an entry")))?;
        if expected.is_some_and(|expected| expected != index) {
            return Err(damaged(format!("entry {} of group {group} is missing", expected.unwrap_or_default())));
        }
        let entry = decode_entry(value).map_err(|error| damaged(format!("entry {index} of group {group}: {error}")))?;
        if entry.log_id.index != index {
            return Err(damaged(format!("entry {index} of group {group} says it is {}", entry.log_id.index)));
        }
        expected = index.checked_add(1);
        Ok(visit(entry, value.len()))
    })
}

pub(super) fn damaged(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
