//! The user keyspace: every version of every key since the last compaction, addressed by revision.
//!
//! [`table::ROWS`](crate::table::ROWS) holds what was written, in revision order, in etcd's own form. The index
//! holds for each key its revisions, newest first, with everything but the value: the state of a key at any revision
//! is one seek.

mod answer;
mod budget;
mod check;
mod compact;
mod compare;
mod event;
mod hash;
mod history;
mod import;
mod index;
mod key_value;
mod live;
mod part;
mod range;
mod request;
mod revision;
mod row;
mod times;
mod txn;
mod varint;
mod versions;
mod writer;

pub use answer::{DeleteAnswer, OpAnswer, PutAnswer, RangeAnswer, TxnAnswer};
pub use budget::Payer;
pub use check::{check_keys, check_put, check_txn, is_read_only};
pub use compact::{CompactStep, compact_step, compaction_pending};
pub use event::{Event, EventKind, RevisionEvents};
pub use hash::{KvHash, hash, hash_between, hash_rows};
pub use history::{History, history};
pub use import::{import, imported};
pub use key_value::KeyValue;
pub use part::{PartLimit, RangePart, range_part};
pub use range::{range, read_txn};
pub use request::{
    Compact, Compare, DeleteRange, Filters, Keys, Operand, Put, Range, Relation, SortOrder, SortTarget, Txn, TxnOp,
};
pub use revision::Revision;
pub use times::{revision_at, time_of};
pub use versions::{KeyVersion, VersionsOf, VersionsPart, versions};

pub(crate) use budget::Budget;
pub(crate) use compact::{compact, remove_compacted};
pub(crate) use index::{VERSION_BYTES, escape};
pub(crate) use times::record as record_time;
pub(crate) use txn::{check_path, choose, delete_range, put, run};
pub(crate) use writer::{Writer, check_put_state};

use holdfast_keyspace::Read;

use crate::{Halt, meta};

/// The newest revision; [`Revision::FRESH`] before the first change.
pub fn current_revision(read: &dyn Read) -> Result<Revision, Halt> {
    Ok(meta::counter(read, meta::REVISION)?.map_or(Revision::FRESH, |value| Revision(value.cast_signed())))
}

/// How many keys exist.
pub fn key_count(read: &dyn Read) -> Result<u64, Halt> {
    Ok(meta::counter(read, meta::USER_KEYS)?.unwrap_or(0))
}

/// The compacted revision: the oldest that can be read. None before the first compaction.
pub fn compacted_revision(read: &dyn Read) -> Result<Option<Revision>, Halt> {
    Ok(meta::counter(read, meta::COMPACTED)?.map(|value| Revision(value.cast_signed())))
}
