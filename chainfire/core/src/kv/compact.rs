//! Compaction in two parts. Applying [`Compact`] only moves the compacted revision: from then on reads below it fail.
//! The rows that nobody can see any more are removed in bounded steps, each a log entry of its own
//! ([`ClusterCommand::CompactStep`](crate::cluster::ClusterCommand::CompactStep)) that the leader proposes at leisure:
//! so all members' states stay byte for byte alike, no step holds up other entries for long, and a snapshot or a new
//! leader goes on where the last one stopped. [`hash`](super::hash()) does not depend on how far the removal is.

use holdfast_format::kind;
use holdfast_keyspace::{Change, KeyRange, Order, Pair, Read, Write};
use serde::{Deserialize, Serialize};

use super::{
    Compact, Revision, compacted_revision, current_revision,
    index::{decode_live, split},
    times,
};
use crate::{
    Failure, Halt, UserError,
    format::{decode_record, encode_record},
    meta, table,
};

/// One pass over the index, on behalf of one compacted revision. It goes from the end to the start, so that of each
/// key the oldest version comes first: a deletion goes after everything that it hides, and no state between two steps
/// shows a key that was deleted.
#[derive(Serialize, Deserialize)]
struct Cursor {
    target: Revision,
    finished: bool,
    /// The pass has looked at everything from this index key on; none when it has looked at nothing.
    done_from: Option<Vec<u8>>,
}

/// What one step of the removal changes.
#[derive(Debug)]
pub struct CompactStep {
    pub changes: Vec<Change>,
    /// Versions among the changes.
    pub removed: u64,
    /// Bytes of the rows among the changes, of the index and of what it points to.
    pub freed: u64,
    /// Nothing is left to remove.
    pub finished: bool,
}

/// Applies a compaction.
pub(crate) fn compact(state: &mut dyn Write, request: Compact) -> Result<Revision, Failure> {
    let current = current_revision(&*state)?;
    let compacted = compacted_revision(&*state)?;
    if request.revision.0 < 0 || compacted.is_some_and(|compacted| request.revision <= compacted) {
        return Err(UserError::Compacted.into());
    }
    if request.revision > current {
        return Err(UserError::FutureRevision.into());
    }
    meta::set_counter(state, meta::COMPACTED, request.revision.0.cast_unsigned());
    Ok(current)
}

/// Whether a [`compact_step`] would find work.
pub fn compaction_pending(read: &dyn Read) -> Result<bool, Halt> {
    let Some(compacted) = compacted_revision(read)? else { return Ok(false) };
    Ok(cursor(read)?.is_none_or(|cursor| !cursor.finished || cursor.target < compacted))
}

/// The next part of the removal: looks at no more than `rows` versions. Of each key the newest version at the
/// compacted revision survives, unless it is a deletion; a deletion exactly at the compacted revision survives too,
/// so that a watch from there sees it.
pub fn compact_step(read: &dyn Read, rows: usize) -> Result<CompactStep, Halt> {
    let mut step = CompactStep { changes: Vec::new(), removed: 0, freed: 0, finished: true };
    let Some(compacted) = compacted_revision(read)? else { return Ok(step) };
    let mut cursor = match cursor(read)? {
        Some(cursor) if !cursor.finished => cursor,
        Some(cursor) if cursor.target >= compacted => return Ok(step),
        _ => Cursor { target: compacted, finished: false, done_from: None },
    };
    let left = KeyRange { start: Vec::new(), end: cursor.done_from.clone() };
    let mut scan = read.scan(table::INDEX, left, Order::Descending);
    let mut current = scan.next().transpose()?;
    for _ in 0..rows.max(1) {
        let Some((index_key, value)) = current else { break };
        let newer = scan.next().transpose()?;
        if let Some(row) = dead(&index_key, &value, newer.as_ref(), cursor.target)? {
            step.removed += 1;
            let stored = read.get(table::ROWS, &row)?.map_or(0, |stored| row.len() + stored.len());
            step.freed += (stored + index_key.len() + value.len()) as u64;
            step.changes.push(Change { table: table::ROWS, key: row, value: None });
            step.changes.push(Change { table: table::INDEX, key: index_key.clone(), value: None });
        }
        cursor.done_from = Some(index_key);
        current = newer;
    }
    // Each revision has at least one version, so that its time is out of the way by the end of the pass.
    let outdated = times::remove_outdated(read, cursor.target, rows.max(1), &mut step.changes)?;
    cursor.finished = current.is_none() && outdated;
    step.finished = cursor.finished && cursor.target >= compacted;
    step.changes.push(Change {
        table: table::META,
        key: meta::COMPACT_CURSOR.into(),
        value: Some(encode_record(kind::COMPACTION, &cursor)?),
    });
    Ok(step)
}

/// Applies one step; returns what it removed and whether it was the last.
pub(crate) fn remove_compacted(state: &mut dyn Write, rows: u32) -> Result<(u64, bool), Halt> {
    let step = compact_step(&*state, rows as usize)?;
    if step.freed > 0 {
        meta::count(state, meta::USER_BYTES, -step.freed.cast_signed())?;
    }
    for change in step.changes {
        match change.value {
            Some(value) => state.put(change.table, change.key, value),
            None => state.delete(change.table, change.key),
        }
    }
    Ok((step.removed, step.finished))
}

/// The row's key if nobody can see this version from `target` on. `newer` is what follows in the pass: the next newer
/// version, if it is of the same key.
fn dead(index_key: &[u8], value: &[u8], newer: Option<&Pair>, target: Revision) -> Result<Option<Vec<u8>>, Halt> {
    let (escaped, row) = split(index_key)?;
    if row.main > target {
        return Ok(None);
    }
    let deleted = decode_live(value)?.is_none();
    let replaced = match newer {
        None => false,
        Some((index_key, _)) => {
            let (key, newer) = split(index_key)?;
            key == escaped && newer.main <= target
        }
    };
    let dead = replaced || (deleted && row.main < target);
    Ok(dead.then(|| row.encode(deleted)))
}

fn cursor(read: &dyn Read) -> Result<Option<Cursor>, Halt> {
    let bytes = read.get(table::META, meta::COMPACT_CURSOR.as_bytes())?;
    bytes.map(|bytes| decode_record(kind::COMPACTION, &bytes)).transpose()
}
