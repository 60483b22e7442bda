//! When revisions were made: a row each, with the time that the proposer's clock said, or that of the revision before
//! if it is later. So times never go back, whichever server's clock is a little behind, and the revision of a time is
//! found by halving. Rows go with the revisions that are compacted.

use holdfast_keyspace::{Change, KeyRange, Order, Read, Write};

use super::{Revision, compacted_revision, current_revision};
use crate::{Failure, Halt, UserError, meta, table};

/// Notes the time of the newest revision.
pub(crate) fn record(state: &mut dyn Write, revision: Revision, time_ms: u64) -> Result<(), Halt> {
    let before = match time_of(&*state, Revision(revision.0.saturating_sub(1)))? {
        Some(before) => before,
        None => last(&*state, revision)?.map_or(0, |(_, before)| before),
    };
    state.put(table::TIMES, key(revision), time_ms.max(before).to_be_bytes().to_vec());
    Ok(())
}

/// Unix time in milliseconds at which `revision` was made; none if it is not known (any more).
pub fn time_of(read: &dyn Read, revision: Revision) -> Result<Option<u64>, Halt> {
    read.get(table::TIMES, &key(revision))?.map(|bytes| decode(&bytes)).transpose()
}

/// The newest revision that was made at or before `time_ms`. Before the first change that is [`Revision::FRESH`];
/// refused where the revisions of that time are compacted, or were made elsewhere.
pub fn revision_at(read: &dyn Read, time_ms: u64) -> Result<Revision, Failure> {
    let current = current_revision(read)?;
    let Some((oldest, begin)) = first(read)? else {
        return if current == Revision::FRESH { Ok(current) } else { Err(UserError::Compacted.into()) };
    };
    if time_ms < begin {
        return if oldest == Revision::FRESH.next() { Ok(Revision::FRESH) } else { Err(UserError::Compacted.into()) };
    }
    // Made at or before the time: `low`. Made after it, or not at all: `high`.
    let (mut low, mut high) = (oldest, current.next());
    while low.next() < high {
        let middle = Revision(low.0 + (high.0 - low.0) / 2);
        match last(read, middle.next())? {
            Some((_, time)) if time <= time_ms => low = middle,
            _ => high = middle,
        }
    }
    if compacted_revision(read)?.is_some_and(|compacted| low < compacted) {
        return Err(UserError::Compacted.into());
    }
    Ok(low)
}

/// Removes rows of revisions before `target`, `rows` at most: nobody can read those revisions any more. Returns whether
/// none is left.
pub(super) fn remove_outdated(
    read: &dyn Read,
    target: Revision,
    rows: usize,
    changes: &mut Vec<Change>,
) -> Result<bool, Halt> {
    let outdated = KeyRange::between(begin(read)?, key(target));
    let mut removed = 0;
    for pair in read.scan(table::TIMES, outdated, Order::Ascending).take(rows) {
        let (key, _) = pair?;
        changes.push(Change { table: table::TIMES, key, value: None });
        removed += 1;
    }
    if let Some(Change { key, .. }) = changes.last().filter(|_| removed > 0) {
        let begin = Some(key.clone());
        changes.push(Change { table: table::META, key: meta::TIMES_BEGIN.into(), value: begin });
    }
    Ok(removed < rows)
}

fn first(read: &dyn Read) -> Result<Option<(Revision, u64)>, Halt> {
    row(read.scan(table::TIMES, KeyRange::from(begin(read)?), Order::Ascending).next())
}

/// Where the first row may be.
fn begin(read: &dyn Read) -> Result<Vec<u8>, Halt> {
    Ok(read.get(table::META, meta::TIMES_BEGIN.as_bytes())?.unwrap_or_default())
}

/// The newest row before `revision`.
fn last(read: &dyn Read, revision: Revision) -> Result<Option<(Revision, u64)>, Halt> {
    row(read.scan(table::TIMES, KeyRange::between(Vec::new(), key(revision)), Order::Descending).next())
}

fn row(
    pair: Option<Result<holdfast_keyspace::Pair, holdfast_keyspace::Error>>,
) -> Result<Option<(Revision, u64)>, Halt> {
    let Some(pair) = pair else { return Ok(None) };
    let (key, value) = pair?;
    let revision: [u8; 8] = key.try_into().map_err(|_| Halt::damaged("the key of a time is not a revision"))?;
    Ok(Some((Revision(i64::from_be_bytes(revision)), decode(&value)?)))
}

fn key(revision: Revision) -> Vec<u8> {
    revision.0.to_be_bytes().to_vec()
}

fn decode(bytes: &[u8]) -> Result<u64, Halt> {
    let bytes = bytes.try_into().map_err(|_| Halt::damaged("a revision's time is not 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}
