use std::{
    io,
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use openraft::storage::IOFlushed;
use prometheus_client::metrics::histogram::Histogram;
use rocksdb::{
    BoundColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction, IteratorMode, Options,
    ReadOptions, WriteBatch,
};
use tokio::sync::oneshot;

use super::{
    disk::{Change, Disk, Family, Visit},
    flusher::{Flusher, Waiter},
    key,
    unsynced::Unsynced,
    wal,
};
use crate::{Error, FatalHook, error::DAMAGED, metrics::durations, types::TypeConfig};

/// The log database of a process.
pub(crate) struct LogDb {
    /// Dropped first: its thread uses the database.
    flusher: Flusher<Synced>,
    db: Arc<DB>,
    /// How long the syncs took.
    syncs: Histogram,
}

/// A disk that takes longer is not fit for a log.
const SLOW_SYNC: Duration = Duration::from_secs(1);

/// Who waits for a sync.
pub(crate) enum Synced {
    Append(IOFlushed<TypeConfig>),
    Vote(oneshot::Sender<io::Result<()>>),
    Mark(mpsc::Sender<io::Result<()>>),
}

impl Waiter for Synced {
    fn complete(self, result: io::Result<()>) {
        match self {
            Self::Append(callback) => callback.io_completed(result),
            // Nobody waits any more when the node is going down.
            Self::Vote(waiting) => drop(waiting.send(result)),
            Self::Mark(waiting) => drop(waiting.send(result)),
        }
    }
}

impl LogDb {
    pub(crate) fn open(path: &Path, fatal: FatalHook) -> Result<Self, Error> {
        if let Some(damage) = wal::damage(path).map_err(Error::io(path))? {
            let message = format!("the Raft log cannot be opened: {damage}. {DAMAGED}");
            return Err(Error::Corrupt { path: path.to_owned(), message });
        }
        let families = [key::ENTRIES, key::META].map(|name| ColumnFamilyDescriptor::new(name, table_options()));
        let db = DB::open_cf_descriptors(&database_options(), path, families);
        let db = Arc::new(db.map_err(Error::database("the Raft log", path))?);
        let synced = Arc::clone(&db);
        let syncs = durations();
        let measured = syncs.clone();
        let sync = move || {
            let begun = Instant::now();
            synced.flush_wal(true).map_err(|error| error.to_string())?;
            let took = begun.elapsed();
            measured.observe(took.as_secs_f64());
            if took > SLOW_SYNC {
                let log = synced.path().display();
                tracing::warn!(%log, ?took, "syncing the log was slow; every write waits for it: look at the disk");
            }
            Ok(())
        };
        let flusher = Flusher::spawn(sync, fatal).map_err(Error::io(path))?;
        Ok(Self { flusher, db, syncs })
    }

    fn family(&self, family: Family) -> io::Result<Arc<BoundColumnFamily<'_>>> {
        let name = name(family);
        self.db.cf_handle(name).ok_or_else(|| io::Error::other(format!("the log has no column family {name}")))
    }

    pub(crate) fn path(&self) -> &Path {
        self.db.path()
    }

    /// How long the syncs took, in seconds.
    pub(crate) fn syncs(&self) -> Histogram {
        self.syncs.clone()
    }

    /// How long what is not on disk yet has been waiting.
    pub(crate) fn unsynced(&self) -> Unsynced {
        self.flusher.unsynced()
    }

    /// Grows with every write.
    pub(crate) fn written(&self) -> u64 {
        self.db.latest_sequence_number()
    }
}

impl Disk for LogDb {
    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        for change in changes {
            match change {
                Change::Put(family, key, value) => batch.put_cf(&self.family(family)?, key, value),
                Change::DeleteRange(family, start, end) => batch.delete_range_cf(&self.family(family)?, start, end),
            }
        }
        self.db.write(batch).map_err(io::Error::other)
    }

    fn enqueue(&self, waiter: Synced) {
        self.flusher.enqueue(waiter);
    }

    fn get(&self, family: Family, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.db.get_cf(&self.family(family)?, key).map_err(io::Error::other)
    }

    fn scan(&self, family: Family, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end.to_vec());
        let mode = IteratorMode::From(start, Direction::Forward);
        for pair in self.db.iterator_cf_opt(&self.family(family)?, options, mode) {
            let (key, value) = pair.map_err(io::Error::other)?;
            if !visit(&key, &value)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn name(family: Family) -> &'static str {
    match family {
        Family::Entries => key::ENTRIES,
        Family::Meta => key::META,
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A crash tears the last write; damage anywhere else means that acknowledged entries are gone.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    // The flusher writes and syncs; between its turns the log collects in memory.
    options.set_manual_wal_flush(true);
    options.set_paranoid_checks(true);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_total_wal_size(256 << 20);
    options
}

fn table_options() -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(64 << 20);
    options
}
