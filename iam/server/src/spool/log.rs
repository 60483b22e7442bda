use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use holdfast_format::{decode, from_compact, kind, to_compact};
use iam_client::DecisionRecord;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Budget, Seen, SpoolError, SpoolStatus,
    displaced::Displaced,
    segment::{self, Bytes, Failure, Segment},
};
use crate::files;

/// A new file begins after this many bytes, so that shipping can free space in pieces.
const SEGMENT: u64 = 1 << 20;
const CURSOR: &str = "cursor";
/// Version 1 was the number alone, without an id.
const CURSOR_VERSION: u16 = 2;

/// The files of the log. Only the writer appends.
pub(super) struct Log {
    folder: PathBuf,
    budget: Budget,
    /// Oldest first; the last one is being written.
    pub(super) segments: Vec<Segment>,
    /// The last one takes no more records.
    pub(super) sealed: bool,
    next: u64,
    cursor: Cursor,
    pub(super) displaced: Displaced,
    dropped_denials: u64,
    failed: Option<Failed>,
}

/// Why nothing is written at present.
struct Failed {
    reason: String,
    /// After a failed sync what the disk holds is unknown until a restart reads it.
    for_good: bool,
}

/// Which log this is and how much of it is safe elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    id: Uuid,
    shipped: u64,
}

impl Log {
    /// A log that has no id yet gets `new_id`.
    pub(super) fn open(folder: &Path, budget: Budget, new_id: Uuid) -> Result<Self, SpoolError> {
        let fail = |error: io::Error| SpoolError::Io { path: folder.to_owned(), reason: error.to_string() };
        fs::create_dir_all(folder).map_err(fail)?;
        let mut segments = Segment::list(folder).map_err(fail)?;
        let newest = segments.len().saturating_sub(1);
        for (index, segment) in segments.iter_mut().enumerate() {
            let content = segment.read().map_err(fail)?;
            if content.damaged > 0 {
                tracing::error!(path = %segment.path.display(), stretches = content.damaged, "decision log is damaged");
            }
            segment.last = content.records.last().map_or(segment.last, |record| record.sequence);
            segment.bytes = content.bytes;
            segment.end = content.valid;
            if index == newest {
                segment.trim().map_err(fail)?;
            }
        }
        // Only what is shipped leaves the front.
        let before_first = segments.first().map_or(0, |segment| segment.first.saturating_sub(1));
        let stored = read_cursor(&folder.join(CURSOR), new_id)?;
        let cursor = stored.unwrap_or(Cursor { id: new_id, shipped: before_first });
        let last = segments.last().map_or(0, |segment| segment.last);
        let next = last.max(cursor.shipped) + 1;
        let folder = folder.to_owned();
        let displaced = Displaced::default();
        let mut log =
            Self { folder, budget, segments, sealed: false, next, cursor, displaced, dropped_denials: 0, failed: None };
        if cursor.id == new_id {
            log.set_cursor(cursor)?;
        }
        Ok(log)
    }

    /// Whether a decision fits into its budget.
    pub(super) fn admit(&self) -> Result<(), SpoolError> {
        if let Some(failed) = &self.failed {
            return Err(SpoolError::Failed(failed.reason.clone()));
        }
        let bytes = self.bytes().decisions;
        if bytes >= self.budget.decisions {
            return Err(SpoolError::Full { bytes, budget: self.budget.decisions });
        }
        Ok(())
    }

    pub(super) fn admit_denials(&mut self, records: &mut Vec<DecisionRecord>) {
        if self.failed.is_some() || self.bytes().denials >= self.budget.denials {
            let dropped: u64 = records.iter().map(|record| record.count).sum();
            self.dropped_denials = self.dropped_denials.saturating_add(dropped);
            records.clear();
        }
    }

    /// Numbers, writes and syncs `records`. After an error nothing is written until [`Log::recover`] succeeds.
    pub(super) fn append(&mut self, records: &mut [DecisionRecord]) -> Result<(), SpoolError> {
        let before = self.next;
        let result = self.write(records);
        if let Err(error) = &result {
            let for_good = matches!(error, Failure::Sync(_));
            tracing::error!(error = %error, for_good, "the decision log failed; logins and issues are refused");
            self.next = before;
            self.failed = Some(Failed { reason: error.to_string(), for_good });
        }
        result.map_err(|error| SpoolError::Failed(error.to_string()))
    }

    /// After a failed write: takes back what was written of it, so that the next one may try.
    pub(super) fn recover(&mut self) {
        if self.failed.as_ref().is_none_or(|failed| failed.for_good) {
            return;
        }
        match self.segments.last().map_or(Ok(()), Segment::trim) {
            Ok(()) => self.failed = None,
            Err(error) => tracing::debug!(%error, "the decision log is not in order yet"),
        }
    }

    fn write(&mut self, records: &mut [DecisionRecord]) -> Result<(), Failure> {
        if self.segments.last().is_none_or(|segment| self.sealed || segment.bytes.total() >= SEGMENT) {
            // One without records has the new one's name.
            self.segments.pop_if(|segment| segment.first == self.next);
            let segment = Segment::create(&self.folder, self.next).map_err(Failure::Write)?;
            files::sync_folder(&self.folder).map_err(Failure::Sync)?;
            self.segments.push(segment);
            self.sealed = false;
        }
        let Some(segment) = self.segments.last_mut() else {
            return Err(Failure::Write(io::Error::other("no segment is open")));
        };
        let mut buffer = Vec::new();
        let mut bytes = segment.bytes;
        for record in records.iter_mut() {
            record.sequence = self.next;
            self.next += 1;
            let frame = segment::encode(record).map_err(|error| Failure::Write(io::Error::other(error)))?;
            bytes.add(record, frame.len() as u64);
            buffer.extend_from_slice(&frame);
        }
        segment.append(&buffer)?;
        segment.end += buffer.len() as u64;
        segment.bytes = bytes;
        segment.last = self.next - 1;
        Ok(())
    }

    /// Records up to `sequence` are safe elsewhere; whole files of them go.
    pub(super) fn shipped(&mut self, sequence: u64) -> Result<(), SpoolError> {
        if sequence <= self.cursor.shipped {
            return Ok(());
        }
        if sequence >= self.next {
            return Err(SpoolError::NoSuchRecord { sequence, newest: self.next - 1 });
        }
        self.set_cursor(Cursor { shipped: sequence, ..self.cursor })?;
        // The newest one goes on, unless its bytes are what keeps others out.
        while let [oldest, newer @ ..] = self.segments.as_slice()
            && oldest.last <= sequence
            && (!newer.is_empty() || self.is_spent())
        {
            match fs::remove_file(&oldest.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(SpoolError::Io { path: oldest.path.clone(), reason: error.to_string() });
                }
                Ok(()) | Err(_) => drop(self.segments.remove(0)),
            }
        }
        Ok(())
    }

    /// The same records and numbers under another id.
    pub(super) fn renew(&mut self, id: Uuid) -> Result<(), SpoolError> {
        self.set_cursor(Cursor { id, ..self.cursor })
    }

    /// The cursor, if somebody took its file away.
    pub(super) fn keep_cursor(&mut self) -> Result<bool, SpoolError> {
        let missing = !self.folder.join(CURSOR).exists();
        if missing {
            self.set_cursor(self.cursor)?;
        }
        Ok(missing)
    }

    fn set_cursor(&mut self, cursor: Cursor) -> Result<(), SpoolError> {
        let path = self.folder.join(CURSOR);
        let bytes = to_compact(kind::DECISION_CURSOR, CURSOR_VERSION, &cursor).map_err(io::Error::other);
        bytes
            .and_then(|bytes| files::replace(&path, &bytes))
            .map_err(|error| SpoolError::Io { path, reason: error.to_string() })?;
        self.cursor = cursor;
        Ok(())
    }

    /// What others see of it.
    pub(super) fn seen(&self) -> Seen {
        Seen {
            id: self.cursor.id,
            status: self.status(),
            failed: self.failed.is_some(),
            warning: self.displaced.warning(),
            segments: self.segments.clone(),
        }
    }

    pub(super) fn status(&self) -> SpoolStatus {
        SpoolStatus {
            newest: self.next - 1,
            shipped: self.cursor.shipped,
            bytes: self.bytes().total(),
            budget: self.budget.decisions + self.budget.denials,
            dropped_denials: self.dropped_denials,
            displaced_files: self.displaced.count(),
        }
    }

    fn is_spent(&self) -> bool {
        let bytes = self.bytes();
        bytes.decisions >= self.budget.decisions || bytes.denials >= self.budget.denials
    }

    fn bytes(&self) -> Bytes {
        self.segments.iter().fold(Bytes::default(), |sum, segment| Bytes {
            decisions: sum.decisions + segment.bytes.decisions,
            denials: sum.denials + segment.bytes.denials,
        })
    }
}

/// At most `limit` durable records after `after` from `segments`.
pub(super) fn read(segments: &[Segment], after: u64, limit: usize) -> Result<Vec<Arc<DecisionRecord>>, SpoolError> {
    let mut found = Vec::new();
    for segment in segments.iter().filter(|segment| segment.last > after) {
        let fail = |error: io::Error| SpoolError::Io { path: segment.path.clone(), reason: error.to_string() };
        let content = segment.read().map_err(fail)?;
        // What follows `last` may be written and not yet synced.
        let durable =
            content.records.into_iter().filter(|record| record.sequence > after && record.sequence <= segment.last);
        found.extend(durable.take(limit - found.len()));
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// The cursor, if there is one; what was written before logs had ids gets `new_id`.
fn read_cursor(path: &Path, new_id: Uuid) -> Result<Option<Cursor>, SpoolError> {
    let fail = |reason: String| SpoolError::Io { path: path.to_owned(), reason };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error.to_string())),
    };
    let cursor = match decode(kind::DECISION_CURSOR, &bytes).map_err(|error| fail(error.to_string()))?.version {
        1 => from_compact(kind::DECISION_CURSOR, 1, &bytes).map(|shipped| Cursor { id: new_id, shipped }),
        _ => from_compact(kind::DECISION_CURSOR, CURSOR_VERSION, &bytes),
    };
    cursor.map(Some).map_err(|error| fail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    const BUDGET: Budget = Budget { decisions: 1 << 30, denials: 1 << 30 };
    const ID: Uuid = Uuid::from_u128(1);

    fn records(count: usize, outcome: &str) -> Vec<DecisionRecord> {
        vec![DecisionRecord { resource: "x".repeat(200), ..sample(0, outcome) }; count]
    }

    fn open(folder: &Path) -> Log {
        Log::open(folder, BUDGET, ID).unwrap()
    }

    #[test]
    fn files_go_when_they_are_shipped_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open(folder.path());
        for _ in 0..3 {
            log.append(&mut records(3000, "done")).unwrap();
        }
        assert_eq!(log.segments.len(), 3);
        let found = read(&log.segments, 2999, 4).unwrap();
        assert_eq!(found.iter().map(|record| record.sequence).collect::<Vec<_>>(), [3000, 3001, 3002, 3003]);
        log.shipped(2999).unwrap();
        assert_eq!(log.segments.len(), 3, "one record of the first file is missing elsewhere");
        log.shipped(3000).unwrap();
        assert_eq!(log.segments.len(), 2);
        log.shipped(100).unwrap();
        log.shipped(9000).unwrap();
        assert_eq!((log.segments.len(), log.cursor.shipped), (1, 9000));
        let before = log.status();
        drop(log);
        let mut log = open(folder.path());
        assert_eq!(log.status(), before);
        log.append(&mut records(1, "done")).unwrap();
        assert_eq!(log.status().newest, 9001);
    }

    #[test]
    fn numbers_go_on_after_the_files_are_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open(folder.path());
        log.append(&mut records(5, "done")).unwrap();
        log.shipped(5).unwrap();
        let path = log.segments[0].path.clone();
        drop(log);
        fs::remove_file(path).unwrap();
        let mut log = open(folder.path());
        log.append(&mut records(1, "done")).unwrap();
        assert_eq!(read(&log.segments, 0, 9).unwrap()[0].sequence, 6);
    }

    #[test]
    fn denials_and_decisions_do_not_eat_each_others_budget() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), Budget { decisions: 1000, denials: 1000 }, ID).unwrap();
        log.append(&mut records(3, "denied")).unwrap();
        let mut more = records(2, "denied");
        log.admit_denials(&mut more);
        assert_eq!((more.len(), log.status().dropped_denials), (0, 2));
        assert_eq!(log.admit(), Ok(()));
        log.append(&mut records(3, "done")).unwrap();
        assert!(matches!(log.admit(), Err(SpoolError::Full { budget: 1000, .. })));
    }

    #[test]
    fn the_id_stays_with_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open(folder.path());
        log.append(&mut records(9000, "done")).unwrap();
        log.append(&mut records(9000, "done")).unwrap();
        log.shipped(9000).unwrap();
        drop(log);
        let other = Uuid::from_u128(2);
        let mut log = Log::open(folder.path(), BUDGET, other).unwrap();
        assert_eq!((log.cursor.id, log.cursor.shipped), (ID, 9000));
        log.renew(Uuid::from_u128(3)).unwrap();
        drop(log);
        let log = Log::open(folder.path(), BUDGET, other).unwrap();
        assert_eq!((log.cursor.id, log.cursor.shipped), (Uuid::from_u128(3), 9000));
        drop(log);
        // Without the cursor nothing that is left is taken for shipped.
        fs::remove_file(folder.path().join(CURSOR)).unwrap();
        let log = Log::open(folder.path(), BUDGET, other).unwrap();
        assert_eq!((log.cursor.id, log.cursor.shipped), (other, 9000));
    }

    #[test]
    fn what_was_never_written_cannot_be_shipped() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open(folder.path());
        log.append(&mut records(5, "done")).unwrap();
        assert_eq!(log.shipped(6), Err(SpoolError::NoSuchRecord { sequence: 6, newest: 5 }));
        assert_eq!((log.cursor.shipped, read(&log.segments, 0, 9).unwrap().len()), (0, 5));
    }

    #[test]
    fn released_cursors_are_frozen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CURSOR);
        fs::write(&path, b"HF\x04\x05\x00\x01\x00\x00\x00\x02\x7b\xc0\x24\x3a\xac\x02").unwrap();
        assert_eq!(read_cursor(&path, ID).unwrap(), Some(Cursor { id: ID, shipped: 300 }));
        let mut log = open(folder.path());
        log.set_cursor(Cursor { id: Uuid::from_u128(7), shipped: 300 }).unwrap();
        let second = [b"HF\x04\x05\x00\x02\x00\x00\x00\x13\x22\xe4\x30\x36\x10".as_slice(), &[0; 15], b"\x07\xac\x02"];
        assert_eq!(fs::read(&path).unwrap(), second.concat());
        assert_eq!(read_cursor(&path, ID).unwrap(), Some(Cursor { id: Uuid::from_u128(7), shipped: 300 }));
    }
}
