//! The newest versions of keys that were written or read lately. To find the newest version is a seek in RocksDB, and
//! a put does little else; only the applier changes the state, so it can remember what it has written.

use bytes::Bytes;
use holdfast_keyspace::{Change, Error, KeyRange, Order, Pair, Read, Residence, Scan, Table};
use quick_cache::{Weighter, sync::Cache};

/// Of tables that are [`Residence::Versions`].
pub(super) struct Heads(Cache<(Table, Box<[u8]>), Head, Weight>);

/// The version and the value of a key's first pair; none where the key has no pair.
type Head = Option<(Box<[u8]>, Box<[u8]>)>;

impl Heads {
    /// Bytes at most.
    const CAPACITY: u64 = 16 << 20;
    /// Keys that there is room for from the beginning.
    const EXPECTED: usize = 16 << 10;

    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(Self::EXPECTED, Self::CAPACITY, Weight))
    }

    /// The state is another one now.
    pub(super) fn clear(&self) {
        self.0.clear();
    }

    /// Follows changes that are in the state.
    pub(super) fn follow(&self, changes: &[Change]) {
        for Change { table, key, value } in changes {
            let Residence::Versions { suffix } = table.residence else { continue };
            let Some((key, version)) = key.len().checked_sub(suffix).and_then(|at| key.split_at_checked(at)) else {
                continue;
            };
            let place = (*table, Box::from(key));
            let Some(head) = self.0.get(&place) else { continue };
            let first = head.as_ref().map(|(first, _)| first.as_ref());
            match value {
                Some(value) if first.is_none_or(|first| version <= first) => {
                    self.0.insert(place, Some((version.into(), value.as_slice().into())));
                }
                None if first == Some(version) => {
                    self.0.remove(&place);
                }
                Some(_) | None => {}
            }
        }
    }

    fn first(&self, below: &dyn Read, table: Table, key: &[u8]) -> Result<Option<Pair>, Error> {
        let place = (table, Box::from(key));
        let head = match self.0.get(&place) {
            Some(head) => head,
            None => {
                let found = below.first(table, key)?;
                let head = found.and_then(|(whole, value)| Some((whole.strip_prefix(key)?.into(), value.into())));
                self.0.insert(place, head.clone());
                head
            }
        };
        Ok(head.map(|(version, value)| ([key, &version].concat(), value.into())))
    }
}

/// A state as its only writer reads it.
pub(super) struct Remembered<'a> {
    pub(super) state: &'a (dyn Read + 'a),
    pub(super) heads: &'a Heads,
}

impl Read for Remembered<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.state.get(table, key)
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        self.state.scan(table, range, order)
    }

    fn get_all(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, Error> {
        self.state.get_all(table, keys)
    }

    fn first(&self, table: Table, key: &[u8]) -> Result<Option<Pair>, Error> {
        match table.residence {
            Residence::Versions { .. } => self.heads.first(self.state, table, key),
            Residence::Disk | Residence::Whole | Residence::Recent => self.state.first(table, key),
        }
    }
}

#[derive(Clone)]
struct Weight;

impl Weight {
    /// What a head takes beside its bytes.
    const OVERHEAD: usize = 128;
}

impl Weighter<(Table, Box<[u8]>), Head> for Weight {
    fn weight(&self, (_, key): &(Table, Box<[u8]>), head: &Head) -> u64 {
        let head = head.as_ref().map_or(0, |(version, value)| version.len() + value.len());
        (key.len() + head + Self::OVERHEAD) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use holdfast_keyspace::{Memory, Overlay, Write as _};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const T: Table = Table::residing("t", Residence::Versions { suffix: 1 });

    /// A batch: what is looked at first, then what is put or deleted.
    type Batch = (Vec<u8>, Vec<(u8, u8, Option<u8>)>);

    fn batches() -> impl Strategy<Value = Vec<Batch>> {
        const KEYS: Range<u8> = 0..4;
        vec((vec(KEYS, 0..4), vec((KEYS, 0u8..4, any::<Option<u8>>()), 0..6)), 1..20)
    }

    proptest! {
        #[test]
        fn a_remembered_head_is_the_one_that_a_seek_finds(batches in batches()) {
            let mut state = Memory::new();
            let heads = Heads::new();
            for (looks, writes) in batches {
                let remembered = Remembered { state: &state, heads: &heads };
                for key in looks {
                    prop_assert_eq!(remembered.first(T, &[key]).unwrap(), state.first(T, &[key]).unwrap());
                }
                let mut overlay = Overlay::new(&remembered);
                for (key, version, value) in writes {
                    match value {
                        Some(value) => overlay.put(T, vec![key, version], vec![value]),
                        None => overlay.delete(T, vec![key, version]),
                    }
                }
                let changes: Vec<_> = overlay.into_changes().collect();
                changes.iter().cloned().for_each(|change| change.apply(&mut state));
                heads.follow(&changes);
            }
        }
    }
}
