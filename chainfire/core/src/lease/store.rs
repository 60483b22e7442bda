use bytes::Bytes;
use holdfast_format::kind;
use holdfast_keyspace::{KeyRange, Order, Read, Write};
use serde::{Deserialize, Serialize};

use super::{LeaseGrant, LeaseId, MAX_TTL};
use crate::{
    Failure, Halt, UserError,
    format::{decode_record, encode_record},
    kv::Writer,
    meta, quota, table,
};

/// A granted lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Seconds, as granted.
    pub ttl: i64,
    /// Unix time in milliseconds at which the grant was proposed.
    pub granted_ms: u64,
    /// Log index of the grant: tells this lease from an earlier one with the same id.
    pub granted_at: u64,
}

/// The lease `id`, if it exists.
pub fn lease(read: &dyn Read, id: LeaseId) -> Result<Option<Lease>, Halt> {
    let bytes = read.get(table::LEASES, &lease_key(id))?;
    bytes.map(|bytes| decode_record(kind::LEASE, &bytes)).transpose()
}

/// At most `limit` leases after `after`, in the order of their ids' bits: negative ids come last.
pub fn leases(read: &dyn Read, after: Option<LeaseId>, limit: usize) -> Result<Vec<(LeaseId, Lease)>, Halt> {
    let mut start = after.map(|id| lease_key(id).to_vec()).unwrap_or_default();
    if after.is_some() {
        start.push(0);
    }
    let mut found = Vec::new();
    for pair in read.scan(table::LEASES, KeyRange::from(start), Order::Ascending).take(limit) {
        let (key, value) = pair?;
        let id: [u8; 8] = key.try_into().map_err(|_| Halt::damaged("a lease's key is not an id"))?;
        found.push((LeaseId(i64::from_be_bytes(id)), decode_record(kind::LEASE, &value)?));
    }
    Ok(found)
}

/// The keys that hang on a lease, sorted.
pub fn keys(read: &dyn Read, id: LeaseId) -> Result<Vec<Bytes>, Halt> {
    let prefix = lease_key(id);
    let mut keys = Vec::new();
    for pair in read.scan(table::LEASE_KEYS, KeyRange::prefix(prefix), Order::Ascending) {
        let (key, _) = pair?;
        keys.push(Bytes::from(key).slice(prefix.len()..));
    }
    Ok(keys)
}

/// Takes over a lease of an etcd, with what remained of it at its last checkpoint, if it had one. Seconds.
pub fn import(state: &mut dyn Write, id: LeaseId, ttl: i64, remaining: Option<i64>, time_ms: u64) -> Result<(), Halt> {
    let record = Lease { ttl, granted_ms: time_ms, granted_at: 0 };
    state.put(table::LEASES, lease_key(id).to_vec(), encode_record(kind::LEASE, &record)?);
    if let Some(seconds) = remaining {
        let seconds = encode_record(kind::LEASE_REMAINING, &seconds)?;
        state.put(table::LEASE_REMAINING, lease_key(id).to_vec(), seconds);
    }
    meta::count(state, meta::USER_BYTES, quota::LEASE.cast_signed())
}

/// Grants a lease; returns the time to live that it got.
pub(crate) fn grant(state: &mut dyn Write, grant: LeaseGrant, time_ms: u64, index: u64) -> Result<i64, Failure> {
    if grant.id == LeaseId::NONE {
        return Err(UserError::LeaseNotFound.into());
    }
    if grant.ttl > MAX_TTL {
        return Err(UserError::LeaseTtlTooLarge.into());
    }
    if lease(&*state, grant.id)?.is_some() {
        return Err(UserError::LeaseExists.into());
    }
    let ttl = grant.ttl.max(grant.min_ttl);
    let record = Lease { ttl, granted_ms: time_ms, granted_at: index };
    state.put(table::LEASES, lease_key(grant.id).to_vec(), encode_record(kind::LEASE, &record)?);
    meta::count(state, meta::USER_BYTES, quota::LEASE.cast_signed())?;
    Ok(ttl)
}

/// Ends a lease and deletes its keys, in their order. The caller has seen that it exists.
pub(crate) fn end(writer: &mut Writer<'_>, id: LeaseId) -> Result<(), Halt> {
    let keys = keys(writer.read(), id)?;
    writer.delete_keys(keys)?;
    writer.state().delete(table::LEASES, lease_key(id).to_vec());
    writer.state().delete(table::LEASE_REMAINING, lease_key(id).to_vec());
    meta::count(writer.state(), meta::USER_BYTES, -quota::LEASE.cast_signed())
}

/// Hangs `key` on a lease, whatever else hangs there.
pub(crate) fn attach(state: &mut dyn Write, id: LeaseId, key: &[u8]) {
    if id != LeaseId::NONE {
        state.put(table::LEASE_KEYS, attachment(id, key), Vec::new());
    }
}

pub(crate) fn detach(state: &mut dyn Write, id: LeaseId, key: &[u8]) {
    if id != LeaseId::NONE {
        state.delete(table::LEASE_KEYS, attachment(id, key));
    }
}

pub(super) fn lease_key(id: LeaseId) -> [u8; 8] {
    id.0.to_be_bytes()
}

fn attachment(id: LeaseId, key: &[u8]) -> Vec<u8> {
    [&lease_key(id), key].concat()
}
