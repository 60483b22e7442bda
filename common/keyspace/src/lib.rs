//! An ordered byte map with tables: what the pure state machines read and write.
//!
//! `core` crates see only these traits. In production they run on RocksDB (one column family a table), in tests on
//! [`Memory`]. [`Overlay`] collects the changes of one command on top of either, so that a command sees its own
//! writes and its changes reach the disk as one batch.

mod memory;
mod overlay;
mod range;
mod ranges;

pub use memory::Memory;
pub use overlay::{Change, Overlay};
pub use range::KeyRange;
pub use ranges::KeyRanges;

/// A named table (in RocksDB: a column family). Names are part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

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
}

/// A state that can be changed.
pub trait Write: Read {
    fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>);

    fn delete(&mut self, table: Table, key: Vec<u8>);
}
