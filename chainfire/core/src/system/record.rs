use holdfast_format::kind;
use holdfast_keyspace::{KeyRange, Order, Read, Write};
use serde::{Deserialize, Serialize};

use super::quota;
use crate::{
    Halt,
    format::{decode_record, encode_record},
    meta, table,
};

/// A stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// The system revision of its last change.
    pub revision: u64,
}

/// A part of the keyspace in key order; `more` says that records follow the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub records: Vec<Record>,
    pub more: bool,
}

/// The stored form; the key is the row's.
#[derive(Serialize, Deserialize)]
struct Stored {
    revision: u64,
    value: bytes::Bytes,
}

/// The system keyspace's revision: one step for each command that changed it; 0 before the first.
pub fn current_revision(read: &dyn Read) -> Result<u64, Halt> {
    Ok(meta::counter(read, meta::SYSTEM_REVISION)?.unwrap_or(0))
}

/// The record at `key`.
pub fn get(read: &dyn Read, key: &[u8]) -> Result<Option<Record>, Halt> {
    read.get(table::SYSTEM, key)?.map(|row| decode(key.to_vec(), &row)).transpose()
}

/// Records whose key starts with `prefix`, after `after` if given, at most `limit`.
pub fn list(read: &dyn Read, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, Halt> {
    let mut range = KeyRange::prefix(prefix);
    if let Some(after) = after.filter(|after| *after >= range.start.as_slice()) {
        range.start = [after, &[0]].concat();
    }
    let mut rows = read.scan(table::SYSTEM, range, Order::Ascending);
    let mut records = Vec::new();
    for row in rows.by_ref().take(limit) {
        let (key, value) = row?;
        records.push(decode(key, &value)?);
    }
    Ok(Page { records, more: rows.next().transpose()?.is_some() })
}

/// Makes a new revision of the keyspace.
pub(super) fn advance(state: &mut dyn Write) -> Result<u64, Halt> {
    let revision = current_revision(&*state)?.saturating_add(1);
    meta::set_counter(state, meta::SYSTEM_REVISION, revision);
    Ok(revision)
}

/// The row of a record.
pub(super) fn encode(revision: u64, value: &[u8]) -> Result<Vec<u8>, Halt> {
    encode_record(kind::SYSTEM_RECORD, &Stored { revision, value: bytes::Bytes::copy_from_slice(value) })
}

pub(super) fn set(state: &mut dyn Write, key: &[u8], row: Option<Vec<u8>>) -> Result<(), Halt> {
    quota::set(state, table::SYSTEM, key.to_vec(), row)
}

fn decode(key: Vec<u8>, row: &[u8]) -> Result<Record, Halt> {
    let stored: Stored = decode_record(kind::SYSTEM_RECORD, row)?;
    Ok(Record { key, value: stored.value.into(), revision: stored.revision })
}
