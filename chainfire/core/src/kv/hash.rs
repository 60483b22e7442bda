use std::collections::HashSet;

use holdfast_keyspace::{KeyRange, Order, Read};

use super::{
    Revision, compacted_revision, current_revision,
    index::{decode_live, split},
    range::check_readable,
    row::RowId,
};
use crate::{Failure, Halt, UserError, table};

/// etcd's HashKV: equal stores of the user keyspace have equal hashes, wherever they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvHash {
    pub hash: u32,
    /// The revision that was hashed.
    pub revision: Revision,
    pub compacted: Option<Revision>,
    /// The newest revision.
    pub current: Revision,
}

/// What every hash begins with: the name of the part of etcd's file that holds the rows.
const BUCKET: &[u8] = b"key";

/// Hashes the state at `at`, the newest if none: CRC-32C over every row that a compaction cannot have removed, so that
/// the result does not depend on how far the removal has come.
pub fn hash(read: &dyn Read, at: Option<Revision>) -> Result<KvHash, Failure> {
    let current = current_revision(read)?;
    let revision = at.unwrap_or(current);
    let compacted = compacted_revision(read)?;
    // A negative revision is before everything, and nothing that was before it can be compacted.
    if revision.0 < 0 {
        return Ok(KvHash { hash: crc32c::crc32c(BUCKET), revision, compacted, current });
    }
    check_readable(read, at, current)?;
    let floor = compacted.unwrap_or(Revision(-1));
    let kept = kept_below(read, revision, floor)?;

    let mut crc = crc32c::crc32c(BUCKET);
    let end = RowId { main: Revision(revision.0.saturating_add(1)), sub: 0 };
    let rows = KeyRange { start: Vec::new(), end: Some(end.encode(false)) };
    for pair in read.scan(table::ROWS, rows, Order::Ascending) {
        let (key, value) = pair?;
        let (row, _) = RowId::decode(&key)?;
        if row.main > floor || kept.contains(&row) {
            crc = crc32c::crc32c_append(crc, &key);
            crc = crc32c::crc32c_append(crc, &value);
        }
    }
    Ok(KvHash { hash: crc, revision, compacted, current })
}

/// CRC-32C over the rows of the revisions after `after`, up to and with `upto`. All of them must be there: a store that is
/// compacted beyond `after` cannot tell.
pub fn hash_between(read: &dyn Read, after: Revision, upto: Revision) -> Result<u32, Failure> {
    if compacted_revision(read)?.is_some_and(|compacted| compacted > after) {
        return Err(UserError::Compacted.into());
    }
    if upto > current_revision(read)? {
        return Err(UserError::FutureRevision.into());
    }
    let first = |after: Revision| RowId { main: after.next(), sub: 0 }.encode(false);
    let mut crc = 0;
    for pair in read.scan(table::ROWS, KeyRange::between(first(after), first(upto)), Order::Ascending) {
        let (key, value) = pair?;
        crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, &key), &value);
    }
    Ok(crc)
}

/// CRC-32C over every row that the etcd API can change, as it is stored: equal on members that have applied the same
/// entry, and comparable with no other cluster's.
pub fn hash_rows(read: &dyn Read) -> Result<u32, Halt> {
    let mut crc = 0;
    for table in table::USER {
        crc = crc32c::crc32c_append(crc, table.name.as_bytes());
        for pair in read.scan(*table, KeyRange::all(), Order::Ascending) {
            let (key, value) = pair?;
            crc = crc32c::crc32c_append(crc, &key);
            crc = crc32c::crc32c_append(crc, &value);
        }
    }
    Ok(crc)
}

/// The rows up to `floor` that count: the versions that are live at `at`. Where no key at all is live at `at`, etcd
/// does not filter, and everything that a finished compaction leaves counts: the versions live at `floor`.
fn kept_below(read: &dyn Read, at: Revision, floor: Revision) -> Result<HashSet<RowId>, Halt> {
    let mut live_at_revision = HashSet::new();
    let mut live_at_floor = HashSet::new();
    let mut any_live = false;
    let mut seen_at_revision = Vec::new();
    let mut seen_at_floor = Vec::new();
    for pair in read.scan(table::INDEX, KeyRange::all(), Order::Ascending) {
        let (index_key, value) = pair?;
        let (escaped, row) = split(&index_key)?;
        let newest_at_revision = row.main <= at && escaped != seen_at_revision;
        let newest_at_floor = row.main <= floor && escaped != seen_at_floor;
        if !newest_at_revision && !newest_at_floor {
            continue;
        }
        let live = decode_live(&value)?.is_some();
        if newest_at_revision {
            seen_at_revision = escaped.to_vec();
            any_live |= live;
            if live && row.main <= floor {
                live_at_revision.insert(row);
            }
        }
        if newest_at_floor {
            seen_at_floor = escaped.to_vec();
            if live {
                live_at_floor.insert(row);
            }
        }
    }
    Ok(if any_live { live_at_revision } else { live_at_floor })
}
