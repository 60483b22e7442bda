use bytes::Bytes;
use holdfast_keyspace::Write;

use super::{
    KeyValue, Revision,
    index::{self, Live, encode_live, index_key},
    live,
    row::RowId,
};
use crate::{Halt, lease, lease::LeaseId, meta, table};

/// Takes over one row of an etcd's `key` bucket; they come in the order of the bucket, after all leases. Returns the
/// row's revision.
pub fn import(state: &mut dyn Write, row: &[u8], value: Vec<u8>) -> Result<Revision, Halt> {
    let (id, deleted) = RowId::decode(row)?;
    let kv = KeyValue::decode(&Bytes::from(value.clone()))?;
    // A row without a key only says that the revision was reached.
    if kv.key.is_empty() {
        return Ok(id.main);
    }
    if !deleted && kv.mod_revision != id.main {
        return Err(Halt::damaged(format!("the row of revision {} says that it is of {}", id.main, kv.mod_revision)));
    }
    let old = live::live(&*state, &kv.key, Revision::MAX)?;
    let old_lease = old.as_ref().and_then(|version| version.live).map_or(LeaseId::NONE, |live| live.lease);
    let existed = old.as_ref().is_some_and(|version| version.live.is_some());
    let live = Live { created: kv.create_revision, version: kv.version, lease: kv.lease };
    lease::detach(state, old_lease, &kv.key);
    if !deleted && lease::lease(&*state, kv.lease)?.is_some() {
        lease::attach(state, kv.lease, &kv.key);
    }
    let stored = (id.encode(deleted), value);
    let indexed = (index_key(index::escape(&kv.key), id), encode_live((!deleted).then_some(live)));
    let bytes = stored.0.len() + stored.1.len() + indexed.0.len() + indexed.1.len();
    // A vector's length fits an i64 on every target.
    meta::count(state, meta::USER_BYTES, bytes as i64)?;
    meta::count(state, meta::USER_KEYS, i64::from(!deleted) - i64::from(existed))?;
    state.put(table::ROWS, stored.0, stored.1);
    state.put(table::INDEX, indexed.0, indexed.1);
    Ok(id.main)
}

/// Sets the revisions of a user keyspace that was taken over.
pub fn imported(state: &mut dyn Write, newest: Revision, compacted: Option<Revision>) {
    let newest = newest.max(Revision::FRESH).max(compacted.unwrap_or(Revision::FRESH));
    meta::set_counter(state, meta::REVISION, newest.0.cast_unsigned());
    if let Some(compacted) = compacted {
        meta::set_counter(state, meta::COMPACTED, compacted.0.cast_unsigned());
    }
}
