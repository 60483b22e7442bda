use std::{fmt::Debug, io, ops::Bound, ops::RangeBounds, sync::Arc};

use futures::{Stream, stream};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::sync::oneshot;

use super::{
    db::{LogDb, Synced},
    disk::{Change, Disk, Family, damaged, meta, visit_entries},
    key::{self, Meta},
    verify::verify,
};
use crate::{
    Error, GroupId, Limits,
    error::DAMAGED,
    format::{decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote},
    types::{Entry, LogId, TypeConfig, Vote},
};

/// The state that entries are applied to. An entry may leave the log only when its effect is on disk there.
pub(crate) trait Durable: Send + Sync + 'static {
    /// Index below which everything applied survives a crash.
    fn durable(&self) -> u64;

    /// Makes everything applied survive a crash, and returns the new bound.
    fn make_durable(&self) -> io::Result<u64>;
}

/// One group's log, for writing. openraft gives all writes of a group to one of these, one after the other.
pub(crate) struct LogStore<D = LogDb> {
    reader: LogReader<D>,
    state: Arc<dyn Durable>,
    purged: Option<LogId>,
    last: Option<LogId>,
}

/// One group's log, for reading.
pub(crate) struct LogReader<D = LogDb> {
    disk: Arc<D>,
    group: GroupId,
    limits: Limits,
}

impl<D> Clone for LogReader<D> {
    fn clone(&self) -> Self {
        Self { disk: Arc::clone(&self.disk), group: self.group, limits: self.limits }
    }
}

impl LogStore {
    /// Opens a group's log after checking every entry in it.
    pub(crate) fn open(db: Arc<LogDb>, group: GroupId, limits: Limits, state: Arc<dyn Durable>) -> Result<Self, Error> {
        let path = db.path().to_owned();
        Self::on(db, group, limits, state)
            .map_err(|error| Error::Corrupt { path, message: format!("the Raft log is damaged: {error}. {DAMAGED}") })
    }
}

impl<D: Disk> LogStore<D> {
    /// The same on any disk.
    pub(crate) fn on(disk: Arc<D>, group: GroupId, limits: Limits, state: Arc<dyn Durable>) -> io::Result<Self> {
        let checked = verify(disk.as_ref(), group)?;
        Ok(Self { reader: LogReader { disk, group, limits }, state, purged: checked.purged, last: checked.last })
    }

    fn put_meta(&self, what: Meta, value: Vec<u8>) -> Change {
        Change::Put(Family::Meta, key::meta(self.reader.group, what), value)
    }

    /// Entries may go only when the state no longer needs them for a restart.
    async fn ensure_durable(&self, index: u64) -> io::Result<()> {
        if index < self.state.durable() {
            return Ok(());
        }
        let state = Arc::clone(&self.state);
        let durable = tokio::task::spawn_blocking(move || state.make_durable()).await.map_err(io::Error::other)??;
        if index < durable {
            return Ok(());
        }
        Err(io::Error::other(format!("entry {index} must stay in the log: the state is on disk below {durable} only")))
    }
}

impl<D: Disk> LogReader<D> {
    /// Entries of `start..end` that fit into `bytes`; at least one, if there is one.
    fn read(&self, start: u64, end: u64, bytes: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut size = 0_usize;
        if start >= end {
            return Ok(entries);
        }
        visit_entries(self.disk.as_ref(), self.group, start, |entry, length| {
            size = size.saturating_add(length);
            if entry.log_id.index >= end || (size > bytes && !entries.is_empty()) {
                return false;
            }
            entries.push(entry);
            true
        })?;
        Ok(entries)
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl<D: Disk> RaftLogReader<TypeConfig> for LogReader<D> {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let stored = meta(self.disk.as_ref(), self.group, Meta::Vote)?;
        stored.map(|bytes| decode_vote(&bytes)).transpose().map_err(|error| damaged(format!("the vote: {error}")))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, self.limits.append_bytes)
    }

    /// Reads in portions, so that catching up does not hold the whole log in memory.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let portions = stream::unfold((self.clone(), start), move |(reader, from)| async move {
            let portion = match reader.read(from, end, reader.limits.append_bytes) {
                Ok(entries) if entries.is_empty() => return None,
                Ok(entries) => entries,
                // The error ends the stream: nothing lies behind `end`.
                Err(error) => return Some((vec![Err(error)], (reader, end))),
            };
            let next = portion.last().map_or(end, |entry| entry.log_id.index.saturating_add(1));
            Some((portion.into_iter().map(Ok).collect(), (reader, next)))
        });
        use futures::StreamExt as _;
        portions.flat_map(stream::iter)
    }
}

impl<D: Disk> RaftLogStorage<TypeConfig> for LogStore<D> {
    type LogReader = LogReader<D>;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        Ok(LogState { last_purged_log_id: self.purged, last_log_id: self.last.max(self.purged) })
    }

    async fn get_log_reader(&mut self) -> LogReader<D> {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = encode_vote(vote).map_err(io::Error::other)?;
        self.reader.disk.write(vec![self.put_meta(Meta::Vote, vote)])?;
        let (done, synced) = oneshot::channel();
        self.reader.disk.enqueue(Synced::Vote(done));
        synced.await.map_err(|_| io::Error::other("the log is closed"))?
    }

    /// Not synced: an older value after a crash only means that openraft learns it again.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let Some(committed) = committed else { return Ok(()) };
        let committed = encode_log_id(&committed).map_err(io::Error::other)?;
        self.reader.disk.write(vec![self.put_meta(Meta::Committed, committed)])
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let stored = meta(self.reader.disk.as_ref(), self.reader.group, Meta::Committed)?;
        let stored = stored.map(|bytes| decode_log_id(&bytes)).transpose();
        stored.map_err(|error| damaged(format!("the committed position: {error}")))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut changes = Vec::new();
        let mut last = None;
        for entry in entries {
            let bytes = encode_entry(&entry).map_err(io::Error::other)?;
            let key = key::entry(self.reader.group, entry.log_id.index);
            changes.push(Change::Put(Family::Entries, key.to_vec(), bytes));
            last = Some(entry.log_id);
        }
        self.reader.disk.write(changes)?;
        self.last = last.or(self.last);
        self.reader.disk.enqueue(Synced::Append(callback));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let group = self.reader.group;
        let first = last.map_or(0, |last| last.index.saturating_add(1));
        let (start, end) = (key::entry(group, first).to_vec(), key::entries_end(group));
        // Not synced: what is appended next goes to disk behind it.
        self.reader.disk.write(vec![Change::DeleteRange(Family::Entries, start, end)])?;
        self.last = self.last.min(last);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.ensure_durable(upto.index).await?;
        let group = self.reader.group;
        let start = key::entry(group, 0).to_vec();
        let end =
            upto.index.checked_add(1).map_or_else(|| key::entries_end(group), |end| key::entry(group, end).to_vec());
        let purged = encode_log_id(&upto).map_err(io::Error::other)?;
        let changes = vec![Change::DeleteRange(Family::Entries, start, end), self.put_meta(Meta::Purged, purged)];
        self.reader.disk.write(changes)?;
        self.purged = Some(upto);
        Ok(())
    }
}
