//! An ordered byte map with tables: what the pure state machines read and write.
//!
//! `core` crates see only these traits. In production they run on RocksDB (one column family a table), in tests on
//! [`Memory`]. [`Overlay`] collects the changes of one command on top of either, so that a command sees its own
//! writes and its changes reach the disk as one batch.

mod memory;
mod overlay;
mod range;
mod ranges;
mod table;

pub use memory::Memory;
pub use overlay::{Change, Overlay};
pub use range::KeyRange;
pub use ranges::KeyRanges;
pub use table::{Residence, Table};

use bytes::Bytes;

/// One stored pair.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A lazy scan; an error ends it.
pub type Scan<'a> = Box<dyn Iterator<Item = Result<Pair, Error>> + 'a>;

/// The order of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// The storage below failed. It is never a "not found"; the caller stops or reports, it does not go on.
#[derive(Debug, thiserror::Error)]
#[error("storage failed: {0}")]
pub struct Error(pub String);

/// Point and range reads over one consistent state.
pub trait Read {
    /// The value at `key`, if there is one.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// All pairs of `table` inside `range`, in `order`.
    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_>;

    /// The values at `keys`, in their order. For many keys, and for tables that are [`Residence::Recent`], it takes
    /// less than one [`Self::get`] after the other.
    fn get_all(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, Error> {
        keys.iter().map(|key| Ok(self.get(table, key)?.map(Bytes::from))).collect()
    }

    /// The first pair whose key begins with `key`: in a table that is [`Residence::Versions`], the newest version of
    /// `key`, which must be whole but for the version.
    fn first(&self, table: Table, key: &[u8]) -> Result<Option<Pair>, Error> {
        self.scan(table, KeyRange::prefix(key), Order::Ascending).next().transpose()
    }
}

/// A state that can be changed.
pub trait Write: Read {
    fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>);

    fn delete(&mut self, table: Table, key: Vec<u8>);
}
