//! What a generation keeps in memory of its tables, beside RocksDB's own caches: a point read of RocksDB takes
//! microseconds even where the block is cached.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_keyspace::{Change, Error};
use parking_lot::RwLock;
use quick_cache::{Weighter, sync::Cache};

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A table that is in memory as a whole, from the first read on.
#[derive(Default)]
pub(super) struct WholeTable(RwLock<Option<Pairs>>);

impl WholeTable {
    /// The value of `key`; `all` reads the table.
    pub(super) fn get(&self, key: &[u8], all: impl FnOnce() -> Result<Pairs, Error>) -> Result<Option<Vec<u8>>, Error> {
        if let Some(pairs) = &*self.0.read() {
            return Ok(pairs.get(key).cloned());
        }
        // Whoever changes the table changes the disk before this, so that nothing is missed.
        let mut pairs = self.0.write();
        let pairs = match &mut *pairs {
            Some(pairs) => pairs,
            none => none.insert(all()?),
        };
        Ok(pairs.get(key).cloned())
    }

    /// Follows a change that is on the disk.
    pub(super) fn follow(&self, change: &Change) {
        if let Some(pairs) = &mut *self.0.write() {
            match &change.value {
                Some(value) => pairs.insert(change.key.clone(), value.clone()),
                None => pairs.remove(&change.key),
            };
        }
    }
}

/// Pairs of one table that were read lately; the table's pairs never change while they exist.
pub(super) struct RecentPairs(Cache<Box<[u8]>, Bytes, Weight>);

impl RecentPairs {
    /// Bytes at most.
    const CAPACITY: u64 = 64 << 20;
    /// Pairs that there is room for from the beginning.
    const EXPECTED: usize = 16 << 10;

    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key)
    }

    pub(super) fn keep(&self, key: &[u8], value: Bytes) {
        self.0.insert(key.into(), value);
    }

    /// Makes room: nobody asks for a pair that is gone.
    pub(super) fn forget(&self, key: &[u8]) {
        self.0.remove(key);
    }
}

impl Default for RecentPairs {
    fn default() -> Self {
        Self(Cache::with_weighter(Self::EXPECTED, Self::CAPACITY, Weight))
    }
}

#[derive(Clone)]
struct Weight;

impl Weight {
    /// What a pair takes beside its key and value.
    const OVERHEAD: usize = 96;
}

impl Weighter<Box<[u8]>, Bytes> for Weight {
    fn weight(&self, key: &Box<[u8]>, value: &Bytes) -> u64 {
        (key.len() + value.len() + Self::OVERHEAD) as u64
    }
}
