use holdfast_keyspace::{KeyRange, Order, Read};

use super::{
    Event, EventKind, KeyValue, Revision, RevisionEvents, compacted_revision, current_revision,
    index::{behind, decode_live, escape, index_key, split},
    live,
    row::RowId,
};
use crate::{Failure, Halt, UserError, table};

/// What one event costs beside its key and value.
const EVENT_BYTES: usize = 96;

/// A piece of the past, revision by revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub revisions: Vec<RevisionEvents>,
    /// The first revision that is not in here.
    pub next: Revision,
}

/// The events of `from..=upto` (`upto` may be beyond the newest), stopping after the revision with which `max_bytes`
/// are reached; always at least one revision, always whole ones. Refused if `from` is compacted.
pub fn history(
    read: &dyn Read,
    from: Revision,
    upto: Revision,
    max_bytes: usize,
    with_prev: bool,
) -> Result<History, Failure> {
    let compacted = compacted_revision(read)?;
    if compacted.is_some_and(|compacted| from < compacted) {
        return Err(UserError::Compacted.into());
    }
    let upto = upto.min(current_revision(read)?);
    let mut history = History { revisions: Vec::new(), next: from.max(upto.next()) };
    let start = RowId { main: from, sub: 0 }.encode(false);
    let end = RowId { main: upto.next(), sub: 0 }.encode(false);
    let mut bytes = 0;
    for pair in read.scan(table::ROWS, KeyRange::between(start, end), Order::Ascending) {
        let (key, value) = pair?;
        let (row, deleted) = RowId::decode(&key)?;
        let same = history.revisions.last_mut().filter(|last| last.revision == row.main);
        if same.is_none() && bytes >= max_bytes && bytes > 0 {
            history.next = row.main;
            break;
        }
        let mut kv = KeyValue::decode(&value.into())?;
        bytes += kv.key.len() + kv.value.len() + EVENT_BYTES;
        kv.mod_revision = row.main;
        // The old value is that of the revision before; once that is compacted, it is not there.
        let prev_kv = match compacted {
            Some(compacted) if Revision(row.main.0.saturating_sub(1)) < compacted => None,
            _ if with_prev => previous(read, &kv.key, row)?,
            _ => None,
        };
        let event = Event { kind: if deleted { EventKind::Delete } else { EventKind::Put }, kv, prev_kv };
        match same {
            Some(revision) => revision.events.push(event),
            None => history.revisions.push(RevisionEvents { revision: row.main, events: vec![event] }),
        }
    }
    Ok(history)
}

/// The live pair of `key` that `row` replaced.
fn previous(read: &dyn Read, key: &[u8], row: RowId) -> Result<Option<KeyValue>, Halt> {
    let escaped = escape(key);
    let end = behind(&escaped);
    let mut start = index_key(escaped, row);
    start.push(0);
    let Some(pair) = read.scan(table::INDEX, KeyRange::between(start, end), Order::Ascending).next() else {
        return Ok(None);
    };
    let (index_key, value) = pair?;
    let (_, row) = split(&index_key)?;
    if decode_live(&value)?.is_none() { Ok(None) } else { live::load(read, row).map(Some) }
}
