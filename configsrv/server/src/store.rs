use std::sync::Arc;

use chainfire_client::{Page, StoreError, SystemStore};
use chainfire_core::{
    Origin,
    system::{Expect, Guard, SystemAnswer, SystemCommand, SystemOp, SystemTxn, TxnAnswer},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, keys, record};

/// Records that are read at a time where all are visited.
const PAGE: usize = 1000;

/// A record and the revision that a compare-and-set must name.
#[derive(Clone, Debug)]
pub(crate) struct Loaded<T> {
    pub value: T,
    pub revision: u64,
}

/// Typed records over the system store.
#[derive(Clone)]
pub(crate) struct Records(Arc<dyn SystemStore>);

/// A transaction under construction.
#[derive(Default)]
pub(crate) struct Txn {
    guards: Vec<Guard>,
    ops: Vec<SystemOp>,
    bytes: usize,
}

impl Records {
    pub(crate) fn new(store: Arc<dyn SystemStore>) -> Self {
        Self(store)
    }

    pub(crate) fn store(&self) -> &dyn SystemStore {
        self.0.as_ref()
    }

    pub(crate) fn load<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<Loaded<T>>, Error> {
        let Some(found) = self.0.get(key)? else { return Ok(None) };
        Ok(Some(Loaded { value: record::decode(key, &found.value)?, revision: found.revision }))
    }

    pub(crate) fn value<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Error> {
        Ok(self.load(key)?.map(|loaded| loaded.value))
    }

    pub(crate) fn exists(&self, key: &[u8]) -> Result<bool, Error> {
        Ok(self.0.get(key)?.is_some())
    }

    pub(crate) fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, Error> {
        Ok(self.0.list(prefix, after, limit)?)
    }

    /// Visits everything below `prefix` in the order of keys: each key's rest, and the record.
    pub(crate) fn each<T: DeserializeOwned>(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&str, T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.each_as_stored(prefix, |key, value| {
            visit(keys::suffix(key, prefix).unwrap_or_default(), record::decode(key, value)?)
        })
    }

    /// The same with whole keys, and values as they are stored.
    pub(crate) fn each_as_stored(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.list(prefix, after.as_deref(), PAGE)?;
            for found in &page.records {
                visit(&found.key, &found.value)?;
            }
            match page.records.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Commits `txn`; `false` when a guard did not hold.
    pub(crate) async fn commit(&self, origin: Origin, action: &str, resource: String, txn: Txn) -> Result<bool, Error> {
        let command = SystemTxn { guards: txn.guards, ops: txn.ops, action: action.to_owned(), resource };
        match self.0.submit(origin, SystemCommand::Txn(command)).await? {
            SystemAnswer::Txn(TxnAnswer::Committed { .. }) => Ok(true),
            SystemAnswer::Txn(TxnAnswer::Conflict { .. }) => Ok(false),
            SystemAnswer::Txn(TxnAnswer::QuotaExceeded) => {
                Err(Error::Refused("the space reserved for the control plane's own records is spent".into()))
            }
            SystemAnswer::Lock(_) => Err(Error::Internal("a lock's answer to a transaction".into())),
        }
    }

    /// Waits until this server shows everything acknowledged before; false when it cannot know.
    pub(crate) async fn catch_up(&self) -> bool {
        self.0.barrier().await.is_ok()
    }

    pub(crate) async fn barrier(&self) -> Result<(), StoreError> {
        self.0.barrier().await.map(|_| ())
    }
}

impl Txn {
    pub(crate) fn expect(&mut self, key: impl Into<Vec<u8>>, expect: Expect) {
        self.guards.push(Guard { key: key.into(), expect });
    }

    /// The record must be as it was loaded, or still be absent.
    pub(crate) fn unchanged<T>(&mut self, key: impl Into<Vec<u8>>, loaded: Option<&Loaded<T>>) {
        self.expect(key, loaded.map_or(Expect::Absent, |loaded| Expect::Revision(loaded.revision)));
    }

    pub(crate) fn put<T: Serialize>(&mut self, key: impl Into<Vec<u8>>, value: &T) -> Result<(), Error> {
        self.put_bytes(key.into(), record::encode(value)?);
        Ok(())
    }

    pub(crate) fn put_bytes(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.ops.push(SystemOp::Put { key, value });
    }

    pub(crate) fn delete(&mut self, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.bytes += key.len();
        self.ops.push(SystemOp::Delete { key });
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn operations(&self) -> usize {
        self.ops.len()
    }
}
