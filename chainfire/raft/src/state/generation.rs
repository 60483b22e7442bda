use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use holdfast_keyspace::{Change, Error, KeyRange, Order, Read, Residence, Scan, Table};
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, Direction, FlushOptions,
    IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::{
    Meta, failed,
    memory::{RecentPairs, WholeTable},
    meta,
};
use crate::error::DAMAGED;

/// One folder with a whole state in it. A snapshot from the leader begins another generation.
pub(crate) struct Generation {
    db: DB,
    tables: Vec<Table>,
    whole: BTreeMap<Table, WholeTable>,
    recent: BTreeMap<Table, RecentPairs>,
    /// Dropped after the database, so that the folder goes when nobody reads it any more.
    folder: Doomed,
}

/// A folder that is removed with its owner once it is condemned.
struct Doomed {
    path: PathBuf,
    condemned: AtomicBool,
}

impl Generation {
    /// Opens the state in `path` with the machine's `tables`. Where there is none, an empty one is created if
    /// `may_begin`.
    pub(crate) fn open(path: &Path, tables: &[Table], may_begin: bool) -> Result<Self, crate::Error> {
        let mut tables = tables.to_vec();
        tables.push(meta::TABLE);
        let options = database_options();
        if path.join("CURRENT").exists() {
            let stored = DB::list_cf(&options, path).map_err(crate::Error::database("the state", path))?;
            let unknown =
                stored.iter().find(|name| *name != "default" && tables.iter().all(|table| table.name != *name));
            if let Some(name) = unknown {
                let message = format!("a newer release has written the table {name:?}; this one cannot read it");
                return Err(crate::Error::Corrupt { path: path.to_owned(), message });
            }
        } else if !may_begin {
            let message = format!("the state was deleted. {DAMAGED}");
            return Err(crate::Error::Corrupt { path: path.to_owned(), message });
        }
        let families = tables.iter().map(|table| ColumnFamilyDescriptor::new(table.name, table_options()));
        let db = DB::open_cf_descriptors(&options, path, families);
        let db = db.map_err(crate::Error::database("the state", path))?;
        let folder = Doomed { path: path.to_owned(), condemned: AtomicBool::new(false) };
        let residing = |residence| tables.iter().copied().filter(move |table| table.residence == residence);
        let whole = residing(Residence::Whole).map(|table| (table, WholeTable::default())).collect();
        let recent = residing(Residence::Recent).map(|table| (table, RecentPairs::default())).collect();
        Ok(Self { db, tables, whole, recent, folder })
    }

    pub(crate) fn db(&self) -> &DB {
        &self.db
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder.path
    }

    /// The machine's tables.
    pub(crate) fn machine_tables(&self) -> impl Iterator<Item = Table> {
        self.tables.iter().copied().filter(|table| *table != meta::TABLE)
    }

    pub(crate) fn table(&self, table: Table) -> Result<Arc<BoundColumnFamily<'_>>, Error> {
        self.db.cf_handle(table.name).ok_or_else(|| failed(format_args!("the machine has no table {:?}", table.name)))
    }

    /// Writes without a log; it lasts from the next flush on.
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), Error> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(failed)
    }

    /// Makes `changes` of the machine's tables, and with them the position that they lead to. Returns the batch's bytes.
    pub(crate) fn commit(&self, changes: &[Change], position: Option<&Meta>) -> Result<usize, Error> {
        let mut batch = WriteBatch::default();
        for change in changes {
            let table = self.table(change.table)?;
            match &change.value {
                Some(value) => batch.put_cf(&table, &change.key, value),
                None => batch.delete_cf(&table, &change.key),
            }
        }
        if let Some(position) = position {
            position.write(self, &mut batch)?;
        }
        let bytes = batch.size_in_bytes();
        self.write(batch)?;
        changes.iter().for_each(|change| self.remember(change));
        Ok(bytes)
    }

    fn remember(&self, change: &Change) {
        match change.table.residence {
            Residence::Whole => {
                if let Some(table) = self.whole.get(&change.table) {
                    table.follow(change);
                }
            }
            Residence::Recent if change.value.is_none() => {
                if let Some(pairs) = self.recent.get(&change.table) {
                    pairs.forget(&change.key);
                }
            }
            Residence::Recent | Residence::Disk | Residence::Versions { .. } => {}
        }
    }

    /// The values at `keys`, from memory or as `options` see them. Whether to keep what was read is the reader's to
    /// say: a writer reads what it is about to replace.
    pub(super) fn read_all(
        &self,
        table: Table,
        keys: &[Vec<u8>],
        options: &ReadOptions,
        keep: bool,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let memory = self.recent.get(&table);
        let mut values: Vec<_> = keys.iter().map(|key| memory?.get(key)).collect();
        let missing: Vec<_> = keys.iter().zip(&mut values).filter(|(_, value)| value.is_none()).collect();
        if missing.is_empty() {
            return Ok(values);
        }
        let asked = missing.iter().map(|(key, _)| *key);
        let read = self.db.batched_multi_get_cf_opt(&self.table(table)?, asked, false, options);
        for ((key, place), value) in missing.into_iter().zip(read) {
            *place = value.map_err(failed)?.map(|value| Bytes::copy_from_slice(&value));
            if let (true, Some(memory), Some(value)) = (keep, memory, &*place) {
                memory.keep(key, value.clone());
            }
        }
        Ok(values)
    }

    /// Makes everything written so far durable, all tables at the same point.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let families: Result<Vec<_>, _> = self.tables.iter().map(|table| self.table(*table)).collect();
        let families = families?;
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_cfs_opt(&families.iter().collect::<Vec<_>>(), &options).map_err(failed)
    }

    /// The folder is removed when the last reader lets go.
    pub(crate) fn condemn(&self) {
        self.folder.condemned.store(true, Ordering::Release);
    }

    pub(crate) fn spare(&self) {
        self.folder.condemned.store(false, Ordering::Release);
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if self.condemned.load(Ordering::Acquire)
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            // The next start removes what is not the current generation.
            tracing::warn!(path = %self.path.display(), %error, "old state not removed");
        }
    }
}

impl Read for Generation {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.whole.get(&table) {
            Some(whole) => whole.get(key, || self.scan(table, KeyRange::all(), Order::Ascending).collect()),
            None => self.db.get_cf(&self.table(table)?, key).map_err(failed),
        }
    }

    fn get_all(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, Error> {
        self.read_all(table, keys, &ReadOptions::default(), false)
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        let table = match self.table(table) {
            Ok(table) => table,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        if range.is_empty() {
            return Box::new(std::iter::empty());
        }
        let (options, start) = bounds(&range, order);
        let pairs = self.db.iterator_cf_opt(&table, options, start.mode());
        Box::new(pairs.map(|pair| pair.map(|(key, value)| (key.into(), value.into())).map_err(failed)))
    }
}

/// Where an iterator begins.
pub(crate) struct Start {
    key: Option<Vec<u8>>,
    order: Order,
}

impl Start {
    pub(crate) fn mode(&self) -> IteratorMode<'_> {
        match (&self.key, self.order) {
            (Some(key), Order::Ascending) => IteratorMode::From(key, Direction::Forward),
            (_, Order::Ascending) => IteratorMode::Start,
            // The upper bound is exclusive, so the end is the last key below it.
            (_, Order::Descending) => IteratorMode::End,
        }
    }
}

/// Options and start of an iterator over `range`.
pub(crate) fn bounds(range: &KeyRange, order: Order) -> (ReadOptions, Start) {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(range.start.clone());
    if let Some(end) = &range.end {
        options.set_iterate_upper_bound(end.clone());
    }
    (options, Start { key: Some(range.start.clone()), order })
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Without it a crash could leave tables at different entries.
    options.set_atomic_flush(true);
    options.set_paranoid_checks(true);
    options.set_max_background_jobs(4);
    options.set_keep_log_file_num(2);
    options.set_bytes_per_sync(1 << 20);
    options
}

fn table_options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_format_version(6);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(32 << 20);
    options.set_level_compaction_dynamic_level_bytes(true);
    options
}
