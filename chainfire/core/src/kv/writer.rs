use bytes::Bytes;
use holdfast_keyspace::{Read, Table, Write};

use super::{
    DeleteRange, Event, EventKind, KeyValue, Keys, Put, Revision, RevisionEvents, current_revision,
    index::{self, Live, Version, encode_live, index_key},
    live::{self, LiveKeys},
    row::RowId,
};
use crate::{Halt, UserError, lease, lease::LeaseId, meta, table};

/// The changes of one revision, in the order in which they are made. Nothing here can be refused: what a change needs
/// is checked before the first one, so that a revision is whole or does not exist.
pub(crate) struct Writer<'a> {
    state: &'a mut dyn Write,
    before: Revision,
    events: Vec<Event>,
    /// Of the rows that are written.
    bytes: usize,
    /// New ones less those that are deleted.
    keys: i64,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(state: &'a mut dyn Write) -> Result<Self, Halt> {
        let before = current_revision(&*state)?;
        Ok(Self { state, before, events: Vec::new(), bytes: 0, keys: 0 })
    }

    /// The state with the changes so far.
    pub(crate) fn read(&self) -> &dyn Read {
        &*self.state
    }

    /// For what changes together with the keys but is no change of them.
    pub(crate) fn state(&mut self) -> &mut dyn Write {
        self.state
    }

    /// The store's revision as this writer's operations see it: a new one once something is changed.
    pub(crate) fn revision(&self) -> Revision {
        if self.events.is_empty() { self.before } else { self.before.next() }
    }

    /// Makes or replaces a pair; returns the one before.
    pub(crate) fn put(&mut self, put: &Put) -> Result<Option<KeyValue>, Halt> {
        let old = live::live(self.read(), &put.key, Revision::MAX)?;
        let row = self.next_row();
        let old_live = old.as_ref().and_then(|version| version.live);
        let live = Live {
            created: old_live.map_or(row.main, |live| live.created),
            version: old_live.map_or(1, |live| live.version.saturating_add(1)),
            lease: if put.ignore_lease { old_live.map_or(LeaseId::NONE, |live| live.lease) } else { put.lease },
        };
        let prev = old.map(|version| live::load(self.read(), version.row)).transpose()?;
        let value = match &prev {
            Some(prev) if put.ignore_value => prev.value.clone(),
            _ => put.value.clone(),
        };
        let old_lease = old_live.map_or(LeaseId::NONE, |live| live.lease);
        if old_lease != live.lease {
            lease::detach(self.state, old_lease, &put.key);
            lease::attach(self.state, live.lease, &put.key);
        }
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: live.created,
            mod_revision: row.main,
            version: live.version,
            value,
            lease: live.lease,
        };
        self.store(table::ROWS, row.encode(false), kv.encode());
        self.index(&put.key, row, Some(live));
        self.keys += i64::from(prev.is_none());
        self.events.push(Event { kind: EventKind::Put, kv, prev_kv: prev.clone() });
        Ok(prev)
    }

    /// Deletes what is live in the selection; returns it in key order.
    pub(crate) fn delete_range(&mut self, delete: &DeleteRange) -> Result<Vec<KeyValue>, Halt> {
        let found: Vec<Version> = match &delete.keys {
            Keys::One(key) => live::live(self.read(), key, Revision::MAX)?.into_iter().collect(),
            keys => LiveKeys::new(self.read(), keys, Revision::MAX).collect::<Result<_, _>>()?,
        };
        found.into_iter().map(|version| self.delete(version)).collect()
    }

    /// Deletes keys of a lease; those that are gone already are skipped.
    pub(crate) fn delete_keys(&mut self, keys: Vec<Bytes>) -> Result<(), Halt> {
        for key in keys {
            if let Some(version) = live::live(self.read(), &key, Revision::MAX)? {
                self.delete(version)?;
            }
        }
        Ok(())
    }

    /// Makes the revision the store's newest. None if nothing was changed.
    pub(crate) fn finish(self) -> Result<Option<RevisionEvents>, Halt> {
        if self.events.is_empty() {
            return Ok(None);
        }
        let revision = self.before.next();
        meta::set_counter(self.state, meta::REVISION, revision.0.cast_unsigned());
        // A vector's length fits an i64 on every target.
        meta::count(self.state, meta::USER_BYTES, self.bytes as i64)?;
        if self.keys != 0 {
            meta::count(self.state, meta::USER_KEYS, self.keys)?;
        }
        Ok(Some(RevisionEvents { revision, events: self.events }))
    }

    fn delete(&mut self, version: Version) -> Result<KeyValue, Halt> {
        let prev = live::load(self.read(), version.row)?;
        let row = self.next_row();
        lease::detach(self.state, prev.lease, &version.key);
        self.store(table::ROWS, row.encode(true), KeyValue::tombstone(version.key.clone()).encode());
        self.index(&version.key, row, None);
        self.keys -= 1;
        let kv = KeyValue { mod_revision: row.main, ..KeyValue::tombstone(version.key) };
        self.events.push(Event { kind: EventKind::Delete, kv, prev_kv: Some(prev.clone()) });
        Ok(prev)
    }

    fn next_row(&self) -> RowId {
        // A vector's length fits an i64 on every target.
        RowId { main: self.before.next(), sub: self.events.len() as i64 }
    }

    fn index(&mut self, key: &[u8], row: RowId, live: Option<Live>) {
        self.store(table::INDEX, index_key(index::escape(key), row), encode_live(live));
    }

    fn store(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.state.put(table, key, value);
    }
}

/// What a put needs of the state.
pub(crate) fn check_put_state(read: &dyn Read, put: &Put) -> Result<(), crate::Failure> {
    check_lease(read, put)?;
    check_key(read, put)
}

/// What a put inside a transaction needs: the same, but with two faults the answer is for the other one.
pub(super) fn check_put_in_txn(read: &dyn Read, put: &Put) -> Result<(), crate::Failure> {
    check_key(read, put)?;
    check_lease(read, put)
}

fn check_lease(read: &dyn Read, put: &Put) -> Result<(), crate::Failure> {
    if put.lease != LeaseId::NONE && lease::lease(read, put.lease)?.is_none() {
        return Err(UserError::LeaseNotFound.into());
    }
    Ok(())
}

fn check_key(read: &dyn Read, put: &Put) -> Result<(), crate::Failure> {
    if (put.ignore_value || put.ignore_lease) && live::live(read, &put.key, Revision::MAX)?.is_none() {
        return Err(UserError::KeyNotFound.into());
    }
    Ok(())
}
