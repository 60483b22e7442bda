use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use holdfast_keyspace::{Error, KeyRange, Order, Read, Scan, Table};
use parking_lot::Mutex;
use rocksdb::WriteBatch;
use tokio::sync::watch;

use super::{Incoming, Meta, Verified, View, failed, folder::Folder, generation::Generation};
use crate::types::{LogId, Membership, StoredMembership};

/// A group's state. Reads see the newest applied entry; [`StateDb::snapshot`] gives a consistent view.
#[derive(Clone)]
pub struct StateDb {
    inner: Arc<Inner>,
}

struct Inner {
    folder: Folder,
    tables: Vec<Table>,
    current: ArcSwap<Generation>,
    applied: watch::Sender<u64>,
    /// Index below which everything applied survives a crash (exclusive, so that 0 means nothing).
    durable: AtomicU64,
    /// One flush or replacement at a time.
    maintenance: Mutex<()>,
}

impl StateDb {
    pub(crate) fn open(path: PathBuf, tables: &[Table]) -> Result<Self, crate::Error> {
        let (folder, current) = Folder::open(path)?;
        let generation = Generation::open(&folder.generation(current), tables, current == Folder::FIRST)?;
        let meta = Meta::read(&generation).map_err(|error| crate::Error::damaged(generation.path(), &error))?;
        // What is found at the start is on disk by definition: nothing was written but by flushes.
        let inner = Inner {
            folder,
            tables: tables.to_vec(),
            current: ArcSwap::from_pointee(generation),
            applied: watch::Sender::new(meta.applied.map_or(0, |id| id.index)),
            durable: AtomicU64::new(exclusive(&meta)),
            maintenance: Mutex::new(()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A consistent view of the newest applied entry.
    pub fn snapshot(&self) -> View {
        View::of(self.inner.current.load_full())
    }

    /// Index of the last applied entry.
    pub fn applied(&self) -> u64 {
        *self.inner.applied.borrow()
    }

    /// Wakes when entries have been applied and published; the value is the last one's index.
    pub fn applied_changes(&self) -> watch::Receiver<u64> {
        self.inner.applied.subscribe()
    }

    /// Bytes that `tables` use on disk and in memory, with what awaits compaction.
    pub fn table_bytes(&self, tables: &[Table]) -> Result<u64, Error> {
        let generation = self.inner.current.load_full();
        let mut sum = 0;
        for table in tables {
            let handle = generation.table(*table)?;
            for name in ["rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables"] {
                sum += generation.db().property_int_value_cf(&handle, name).map_err(failed)?.unwrap_or(0);
            }
        }
        Ok(sum)
    }

    /// Makes the state durable and returns the index up to which it is (exclusive).
    pub(crate) fn flush(&self) -> Result<u64, Error> {
        let _alone = self.inner.maintenance.lock();
        let generation = self.inner.current.load_full();
        // Read before the flush: entries applied meanwhile may or may not be in it.
        let applied = exclusive(&Meta::read(generation.as_ref())?);
        if applied > self.durable() {
            generation.flush()?;
            self.inner.durable.fetch_max(applied, Ordering::AcqRel);
        }
        Ok(self.durable())
    }

    /// Index below which everything applied survives a crash.
    pub(crate) fn durable(&self) -> u64 {
        self.inner.durable.load(Ordering::Acquire)
    }

    pub(crate) fn generation(&self) -> Arc<Generation> {
        self.inner.current.load_full()
    }

    /// Tells readers that entries up to `index` are in the state and published.
    pub(crate) fn announce(&self, index: u64) {
        self.inner.applied.send_replace(index);
    }

    /// What the newest applied entry left.
    pub(crate) fn meta(&self) -> Result<Meta, Error> {
        Meta::read(self.generation().as_ref())
    }

    /// Ends a restore: the state is that of entry `at`, and belongs to nobody yet. On disk when this returns.
    pub(crate) fn wait_for_members(&self, at: LogId) -> Result<(), Error> {
        let generation = self.generation();
        let mut batch = WriteBatch::default();
        Meta::write_restored(at, &generation, &mut batch)?;
        generation.write(batch)?;
        generation.flush()
    }

    /// Gives a restored state its members. On disk when this returns.
    pub(crate) fn adopt(&self, membership: Membership) -> Result<(), Error> {
        let generation = self.generation();
        let meta = self.meta()?;
        let meta = Meta { membership: StoredMembership::new(meta.applied, membership), ..meta };
        let mut batch = WriteBatch::default();
        meta.write(&generation, &mut batch)?;
        generation.write(batch)?;
        generation.flush()
    }

    /// Begins to receive a snapshot beside the current state.
    pub(crate) fn receive(&self) -> Result<Box<Incoming>, crate::Error> {
        let _alone = self.inner.maintenance.lock();
        let number = self.inner.folder.next_number()?;
        Incoming::begin(number, &self.inner.folder.generation(number), &self.inner.tables)
    }

    /// Replaces the state by a received one. After a crash the old or the new one is there, whole.
    pub(crate) fn install(&self, verified: Verified) -> Result<(), crate::Error> {
        let _alone = self.inner.maintenance.lock();
        let (number, generation, meta) = verified.into_parts();
        // Before the pointer: if moving it fails half-way, it may name this generation after all.
        generation.spare();
        self.inner.folder.point_to(number)?;
        let old = self.inner.current.swap(Arc::new(generation));
        old.condemn();
        self.inner.durable.store(exclusive(&meta), Ordering::Release);
        Ok(())
    }
}

fn exclusive(meta: &Meta) -> u64 {
    meta.applied.map_or(0, |id| id.index + 1)
}

impl Read for StateDb {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.inner.current.load().get(table, key)
    }

    fn get_all(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, Error> {
        Read::get_all(&**self.inner.current.load(), table, keys)
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        if range.is_empty() {
            return Box::new(std::iter::empty());
        }
        Box::new(self.snapshot().into_scan(table, range, order))
    }
}
