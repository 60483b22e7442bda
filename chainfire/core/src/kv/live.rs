use bytes::Bytes;
use holdfast_keyspace::{KeyRange, Order, Read, Scan};

use super::{
    KeyValue, Keys, Revision,
    index::{Live, Version, behind, decode_live, escape, index_range, seen_at, split, version},
};
use crate::{Halt, kv::row::RowId, table};

/// Versions of one key that a scan steps over before it seeks past the rest. Stepping is cheaper than seeking, as
/// long as it is a few steps.
const STEPS_BEFORE_SEEK: usize = 16;

/// The version of `key` that revision `at` sees, deletions included. One seek, or none.
pub(crate) fn newest(read: &dyn Read, key: &[u8], at: Revision) -> Result<Option<Version>, Halt> {
    let escaped = escape(key);
    let pair = if at == Revision::MAX {
        read.first(table::INDEX, &escaped)?
    } else {
        let range = KeyRange::between(seen_at(&escaped, at), behind(&escaped));
        read.scan(table::INDEX, range, Order::Ascending).next().transpose()?
    };
    let Some((index_key, value)) = pair else { return Ok(None) };
    let (escaped, row) = split(&index_key)?;
    version(escaped, row, &value).map(Some)
}

/// The live version of `key` at revision `at`.
pub(crate) fn live(read: &dyn Read, key: &[u8], at: Revision) -> Result<Option<Version>, Halt> {
    Ok(newest(read, key, at)?.filter(|version| version.live.is_some()))
}

/// The stored pair of a live version.
pub(crate) fn load(read: &dyn Read, row: RowId) -> Result<KeyValue, Halt> {
    let [bytes] = read.get_all(table::ROWS, &[row.encode(false)])?.try_into().unwrap_or_default();
    stored(row, bytes)
}

/// The stored pairs of live versions, in their order.
pub(crate) fn load_all(read: &dyn Read, rows: &[RowId]) -> Result<Vec<KeyValue>, Halt> {
    let keys: Vec<_> = rows.iter().map(|row| row.encode(false)).collect();
    let stored_rows = read.get_all(table::ROWS, &keys)?;
    rows.iter().zip(stored_rows).map(|(row, bytes)| stored(*row, bytes)).collect()
}

fn stored(row: RowId, bytes: Option<Bytes>) -> Result<KeyValue, Halt> {
    let bytes = bytes.ok_or_else(|| Halt::damaged(format!("the row of revision {} is missing", row.main)))?;
    KeyValue::decode(&bytes)
}

/// The live keys of a selection at a revision, in key order.
pub(crate) struct LiveKeys<'a> {
    read: &'a dyn Read,
    scan: Scan<'a>,
    end: Option<Vec<u8>>,
    at: Revision,
    /// The escaped key whose version is already found: older ones are of no interest.
    done: Vec<u8>,
    steps: usize,
    /// Rows of the index that were looked at, until somebody asks.
    walked: usize,
}

impl<'a> LiveKeys<'a> {
    pub(crate) fn new(read: &'a dyn Read, keys: &Keys, at: Revision) -> Self {
        let range = index_range(keys);
        let end = range.end.clone();
        let scan = read.scan(table::INDEX, range, Order::Ascending);
        Self { read, scan, end, at, done: Vec::new(), steps: 0, walked: 0 }
    }

    fn seek(&mut self, start: Vec<u8>) {
        let range = KeyRange { start, end: self.end.clone() };
        self.scan = self.read.scan(table::INDEX, range, Order::Ascending);
        self.steps = 0;
    }

    /// How many live keys are left. Cheaper than taking them: nothing is built that would be thrown away.
    pub(crate) fn count_left(&mut self) -> Result<u64, Halt> {
        let mut count = 0;
        while self.advance()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// How many rows of the index this has looked at since it was asked last.
    pub(super) fn take_walked(&mut self) -> usize {
        std::mem::take(&mut self.walked)
    }

    /// Goes on to the next live key; `done` is that key, escaped.
    fn advance(&mut self) -> Result<Option<(RowId, Live)>, Halt> {
        while let Some(pair) = self.scan.next() {
            self.walked += 1;
            let (index_key, value) = pair?;
            let (escaped, row) = split(&index_key)?;
            if escaped == self.done {
                self.steps += 1;
                if self.steps > STEPS_BEFORE_SEEK {
                    self.seek(behind(escaped));
                }
            } else if row.main > self.at {
                self.steps += 1;
                if self.steps > STEPS_BEFORE_SEEK {
                    self.seek(seen_at(escaped, self.at));
                }
            } else {
                self.steps = 0;
                self.done.clear();
                self.done.extend_from_slice(escaped);
                if let Some(live) = decode_live(&value)? {
                    return Ok(Some((row, live)));
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for LiveKeys<'_> {
    type Item = Result<Version, Halt>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(None) => None,
            Ok(Some((row, live))) => Some(Version::of(&self.done, row, Some(live))),
            Err(halt) => Some(Err(halt)),
        }
    }
}
