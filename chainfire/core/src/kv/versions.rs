use bytes::Bytes;
use holdfast_keyspace::{KeyRange, Order, Read};

use super::{
    EventKind, KeyValue, PartLimit, Revision, compacted_revision,
    index::{escape, index_key, seen_at, split, version},
    live, times,
};
use crate::{Failure, Halt, UserError, kv::row::RowId, table};

/// What a key was from one revision on, until its next version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVersion {
    pub kind: EventKind,
    /// Of a deletion only key and revision.
    pub kv: KeyValue,
    /// Unix time in milliseconds; none if it is not known.
    pub time_ms: Option<u64>,
}

/// Which versions of a key to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionsOf {
    pub key: Bytes,
    /// Both inclusive.
    pub from: Revision,
    pub upto: Revision,
    pub newest_first: bool,
    pub keys_only: bool,
}

/// A piece of a key's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionsPart {
    pub versions: Vec<KeyVersion>,
    /// What to ask for next; none if this was all.
    pub rest: Option<VersionsOf>,
}

/// The versions of a key that are not compacted: those after the compacted revision, and the one that it sees.
pub fn versions(read: &dyn Read, ask: &VersionsOf, limit: PartLimit) -> Result<VersionsPart, Failure> {
    if ask.key.is_empty() {
        return Err(UserError::KeyNotProvided.into());
    }
    let escaped = escape(&ask.key);
    let from = ask.from.max(oldest_kept(read, &ask.key)?);
    let mut part = VersionsPart { versions: Vec::new(), rest: None };
    if ask.upto < from {
        return Ok(part);
    }
    let mut end = index_key(escaped.clone(), RowId { main: from, sub: 0 });
    end.push(0);
    // The index has the newest version first.
    let order = if ask.newest_first { Order::Ascending } else { Order::Descending };
    let mut bytes = 0;
    for pair in read.scan(table::INDEX, KeyRange::between(seen_at(&escaped, ask.upto), end), order) {
        let (index_key, value) = pair?;
        let (escaped, row) = split(&index_key)?;
        if part.versions.len() >= limit.items.max(1) || bytes >= limit.bytes {
            let rest = ask.clone();
            part.rest = Some(match ask.newest_first {
                true => VersionsOf { upto: row.main, ..rest },
                false => VersionsOf { from: row.main, ..rest },
            });
            break;
        }
        let version = version(escaped, row, &value)?;
        let kind = if version.live.is_some() { EventKind::Put } else { EventKind::Delete };
        let kv = match version.live {
            None => KeyValue { mod_revision: row.main, ..KeyValue::tombstone(version.key) },
            Some(live) if ask.keys_only => version.without_value(live),
            Some(_) => live::load(read, row)?,
        };
        bytes += kv.key.len() + kv.value.len();
        part.versions.push(KeyVersion { kind, kv, time_ms: times::time_of(read, row.main)? });
    }
    Ok(part)
}

/// The first revision whose version of `key` is not compacted. What is older may still be on the disk.
fn oldest_kept(read: &dyn Read, key: &[u8]) -> Result<Revision, Halt> {
    let Some(compacted) = compacted_revision(read)? else { return Ok(Revision(0)) };
    let seen = live::newest(read, key, compacted)?;
    // A deletion is kept only by the very revision.
    let seen = seen.filter(|version| version.live.is_some() || version.row.main == compacted);
    Ok(seen.map_or(compacted.next(), |version| version.row.main))
}
