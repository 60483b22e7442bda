use holdfast_format::kind;
use holdfast_keyspace::{KeyRange, Order, Read, Write};

use super::{AuditPolicy, JournalPosition, JournalRecord};
use crate::{
    ClusterError, Failure, Halt,
    cluster::{self, Limits, lineage_ordinal},
    format::{decode_record, encode_record},
    meta, table,
};

/// How much of the journal's budget unshipped records take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub used: u64,
    /// Where user writes that need a record are refused.
    pub budget: u64,
    /// Where system and cluster commands are refused too.
    pub hard: u64,
}

impl Usage {
    /// Half of the budget is spent: whoever operates the cluster should hear of it.
    pub fn is_warning(&self) -> bool {
        self.used >= self.budget / 2
    }

    pub fn is_full(&self) -> bool {
        self.used >= self.budget
    }
}

/// At most `limit` records after `after` in order: lineage by lineage as they began, then by log index. All of them if
/// `after` is none. An `after` in a lineage that this cluster never had is refused.
pub fn after(
    read: &dyn Read,
    after: Option<JournalPosition>,
    limit: usize,
) -> Result<Vec<JournalRecord>, Failure<ClusterError>> {
    let begin = begin(read)?;
    let start = match after {
        None => begin,
        Some(position) => key_after(read, position)?.max(begin),
    };
    let mut records = Vec::new();
    for pair in read.scan(table::JOURNAL, KeyRange::from(start), Order::Ascending).take(limit) {
        let (_, value) = pair?;
        records.push(decode_record(kind::JOURNAL, &value)?);
    }
    Ok(records)
}

/// The journal's fill.
pub fn usage(read: &dyn Read) -> Result<Usage, Halt> {
    let limits = cluster::state(read)?.map_or_else(Limits::default, |state| state.limits);
    Ok(Usage {
        used: used(read)?,
        budget: limits.journal_bytes,
        hard: limits.journal_bytes.saturating_add(limits.journal_reserve),
    })
}

/// The stored policy; records nothing if there is none.
pub fn policy(read: &dyn Read) -> Result<AuditPolicy, Halt> {
    let bytes = read.get(table::META, meta::AUDIT_POLICY.as_bytes())?;
    bytes.map_or_else(|| Ok(AuditPolicy::default()), |bytes| decode_record(kind::AUDIT_POLICY, &bytes))
}

pub(crate) fn set_policy(state: &mut dyn Write, policy: &AuditPolicy) -> Result<(), Halt> {
    state.put(table::META, meta::AUDIT_POLICY.into(), encode_record(kind::AUDIT_POLICY, policy)?);
    Ok(())
}

/// Drops everything up to `upto`; returns the bytes that are left and whether anything went.
pub(crate) fn truncate(state: &mut dyn Write, upto: JournalPosition) -> Result<(u64, bool), Failure<ClusterError>> {
    let end = key_after(&*state, upto)?;
    let mut dropped = Vec::new();
    let mut freed = 0;
    for pair in state.scan(table::JOURNAL, KeyRange::between(begin(&*state)?, end.clone()), Order::Ascending) {
        let (key, value) = pair?;
        freed += (key.len() + value.len()) as u64;
        dropped.push(key);
    }
    let any = !dropped.is_empty();
    for key in dropped {
        state.delete(table::JOURNAL, key);
    }
    let left = used(&*state)?.saturating_sub(freed);
    if any {
        meta::set_counter(state, meta::JOURNAL_BYTES, left);
        state.put(table::META, meta::JOURNAL_BEGIN.into(), end);
    }
    Ok((left, any))
}

pub(super) fn used(read: &dyn Read) -> Result<u64, Halt> {
    Ok(meta::counter(read, meta::JOURNAL_BYTES)?.unwrap_or(0))
}

/// Lineages are named at random; their ordinal puts them in order.
pub(super) fn row_key(ordinal: u32, position: JournalPosition) -> Vec<u8> {
    let mut key = Vec::with_capacity(16);
    key.extend_from_slice(&ordinal.to_be_bytes());
    key.extend_from_slice(&position.index.to_be_bytes());
    key.extend_from_slice(&position.sub.to_be_bytes());
    key
}

/// Where the first record may be.
fn begin(read: &dyn Read) -> Result<Vec<u8>, Halt> {
    Ok(read.get(table::META, meta::JOURNAL_BEGIN.as_bytes())?.unwrap_or_default())
}

/// Where the record after `position` may be.
fn key_after(read: &dyn Read, position: JournalPosition) -> Result<Vec<u8>, Failure<ClusterError>> {
    let ordinal = lineage_ordinal(read, position.lineage)?;
    let ordinal = ordinal.ok_or(ClusterError::UnknownLineage(position.lineage))?;
    let mut key = row_key(ordinal, position);
    key.push(0);
    Ok(key)
}
