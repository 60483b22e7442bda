//! Rows of the system keyspace and the bytes that they take.

use holdfast_keyspace::{Read, Table, Write};

use crate::{Failure, Halt, SystemError, cluster::Limits, meta};

/// Bytes of the system keyspace's rows.
pub(super) fn used(read: &dyn Read) -> Result<u64, Halt> {
    Ok(meta::counter(read, meta::SYSTEM_BYTES)?.unwrap_or(0))
}

/// Writes or, with no value, deletes a row, and counts it.
pub(super) fn set(state: &mut dyn Write, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), Halt> {
    let old = state.get(table, &key)?.map_or(0, |old| key.len() + old.len());
    let new = value.as_ref().map_or(0, |new| key.len() + new.len());
    if old != new {
        let total = used(&*state)?.saturating_sub(old as u64).saturating_add(new as u64);
        meta::set_counter(state, meta::SYSTEM_BYTES, total);
    }
    match value {
        Some(value) => state.put(table, key, value),
        None => state.delete(table, key),
    }
    Ok(())
}

/// Refuses growth by `bytes` if there is no room for it.
pub(super) fn check_room(read: &dyn Read, limits: &Limits, bytes: u64) -> Result<(), Failure<SystemError>> {
    if used(read)?.saturating_add(bytes) > limits.system_bytes {
        return Err(SystemError::QuotaExceeded.into());
    }
    Ok(())
}
