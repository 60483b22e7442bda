use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use holdfast_keyspace::{Error, KeyRange, Order, Pair, Read, Scan, Table};
use rocksdb::{ReadOptions, Snapshot};
use self_cell::self_cell;

use super::{
    Frames, Meta, failed,
    generation::{Generation, bounds},
};
use crate::{Position, types::position};

self_cell!(
    /// A RocksDB snapshot together with the database that it looks at.
    struct Pinned {
        owner: Arc<Generation>,

        #[covariant]
        dependent: Snapshot,
    }
);

/// The state at one applied entry, for as long as the view lives. Clones are cheap and share it. Holding one keeps
/// old versions on disk, so do not keep views of an idle client.
#[derive(Clone)]
pub struct View {
    pinned: Arc<Pinned>,
}

impl View {
    pub(crate) fn of(generation: Arc<Generation>) -> Self {
        Self { pinned: Arc::new(Pinned::new(generation, |generation| generation.db().snapshot())) }
    }

    /// Index of the entry that this is the state after; 0 for an empty state.
    pub fn applied(&self) -> Result<u64, Error> {
        Ok(self.meta()?.applied.map_or(0, |id| id.index))
    }

    /// The entry that this is the state after; none for an empty state.
    pub fn position(&self) -> Result<Option<Position>, Error> {
        Ok(self.meta()?.applied.as_ref().map(position))
    }

    /// The whole state as bytes for another folder; an error for an empty state.
    pub fn frames(&self) -> Result<Frames, Error> {
        Frames::new(self.clone())
    }

    /// A scan that owns its view, for streams that outlive the caller. Pairs are read in pages.
    pub fn into_scan(self, table: Table, range: KeyRange, order: Order) -> OwnedScan {
        OwnedScan { view: self, table, rest: Some(range), order, page: VecDeque::new() }
    }

    pub(crate) fn meta(&self) -> Result<Meta, Error> {
        Meta::read(self)
    }

    pub(crate) fn generation(&self) -> &Generation {
        self.pinned.borrow_owner()
    }
}

impl Read for View {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let table = self.generation().table(table)?;
        self.pinned.borrow_dependent().get_cf(&table, key).map_err(failed)
    }

    fn get_all(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, Error> {
        let mut options = ReadOptions::default();
        options.set_snapshot(self.pinned.borrow_dependent());
        self.generation().read_all(table, keys, &options, true)
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        let table = match self.generation().table(table) {
            Ok(table) => table,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        if range.is_empty() {
            return Box::new(std::iter::empty());
        }
        let (options, start) = bounds(&range, order);
        let pairs = self.pinned.borrow_dependent().iterator_cf_opt(&table, options, start.mode());
        Box::new(pairs.map(|pair| pair.map(|(key, value)| (key.into(), value.into())).map_err(failed)))
    }
}

/// Pairs of a view, in order; see [`View::into_scan`].
pub struct OwnedScan {
    view: View,
    table: Table,
    /// What the next page reads; none when there is nothing more.
    rest: Option<KeyRange>,
    order: Order,
    page: VecDeque<Pair>,
}

const PAGE_PAIRS: usize = 256;
const PAGE_BYTES: usize = 256 << 10;

impl OwnedScan {
    fn fill(&mut self, range: KeyRange) -> Result<(), Error> {
        let mut bytes = 0;
        for pair in self.view.scan(self.table, range.clone(), self.order) {
            let (key, value) = pair?;
            bytes += key.len() + value.len();
            self.page.push_back((key, value));
            if self.page.len() >= PAGE_PAIRS || bytes >= PAGE_BYTES {
                self.rest = self.page.back().map(|(last, _)| after(range, last, self.order));
                break;
            }
        }
        Ok(())
    }
}

/// What is left of `range` behind `last`.
fn after(mut range: KeyRange, last: &[u8], order: Order) -> KeyRange {
    match order {
        Order::Ascending => {
            range.start = last.to_vec();
            range.start.push(0);
        }
        Order::Descending => range.end = Some(last.to_vec()),
    }
    range
}

impl Iterator for OwnedScan {
    type Item = Result<Pair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && let Some(range) = self.rest.take()
            && let Err(error) = self.fill(range)
        {
            self.page.clear();
            return Some(Err(error));
        }
        self.page.pop_front().map(Ok)
    }
}
