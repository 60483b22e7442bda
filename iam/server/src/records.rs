use std::sync::Arc;

use arc_swap::ArcSwapOption;
use chainfire_client::{Applied, Record as Stored, SystemStore};
use chainfire_core::{
    Origin,
    system::{Expect, Guard, SystemAnswer, SystemCommand, SystemOp, SystemTxn, TxnAnswer},
};
use iam_core::{
    record::{Record, key},
    verifier::Mark,
};

use crate::{Error, attempt::Attempt};

/// A page is never larger.
const MAX_PAGE: usize = 1000;
/// Kinds of records that have a version of their own, by what their keys begin with: any change of one moves it.
const VERSIONS: [(&str, &[u8]); 7] = [
    (key::PRINCIPALS, key::POLICY_VERSION),
    (key::MEMBERS, key::POLICY_VERSION),
    (key::BINDINGS, key::POLICY_VERSION),
    (key::POLICIES, key::POLICY_VERSION),
    (key::POLICIES, key::POLICIES_VERSION),
    (key::REVOKED, key::REVOCATIONS_VERSION),
    (key::DENIED, key::REVOCATIONS_VERSION),
];

/// IAM's records in the system keyspace. Reads are local.
#[derive(Clone)]
pub(crate) struct Records(Arc<dyn SystemStore>);

/// A record and the revision of its last change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versioned<T> {
    pub(crate) value: T,
    pub(crate) revision: u64,
}

impl<T> Versioned<T> {
    /// Refuses a change that was meant for another state of the record; 0 is meant for any.
    pub(crate) fn expect(&self, expected: u64) -> Result<(), Error> {
        if expected == 0 || expected == self.revision {
            Ok(())
        } else {
            Err(Error::Conflict { found: Some(self.revision) })
        }
    }
}

/// A record and its key.
pub(crate) type Keyed<T> = (Vec<u8>, Versioned<T>);

/// A key, the revision of what is there, and what it is, if it reads back.
type AnyRecord<T> = (Vec<u8>, u64, Result<T, Error>);

/// Some records of a listing, and where to go on.
pub(crate) struct Listing<T> {
    pub(crate) values: Vec<T>,
    /// The last key, if more follow.
    pub(crate) next: Option<Vec<u8>>,
}

/// A compare-and-set in the making.
pub(crate) struct Change {
    action: &'static str,
    resource: String,
    guards: Vec<Guard>,
    ops: Vec<SystemOp>,
}

impl Records {
    pub(crate) fn new(store: Arc<dyn SystemStore>) -> Self {
        Self(store)
    }

    pub(crate) fn store(&self) -> &Arc<dyn SystemStore> {
        &self.0
    }

    pub(crate) fn applied(&self) -> Applied {
        self.0.applied()
    }

    pub(crate) fn get<T: Record>(&self, key: &[u8]) -> Result<Option<Versioned<T>>, Error> {
        let stored = self.0.get(key)?;
        stored.map(|stored| Ok(Versioned { value: decode(&stored)?, revision: stored.revision })).transpose()
    }

    pub(crate) fn exists(&self, key: &[u8]) -> Result<bool, Error> {
        Ok(self.0.get(key)?.is_some())
    }

    pub(crate) fn list<T: Record>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Listing<T>, Error> {
        let Listing { values, next } = self.page(prefix, after, limit)?;
        Ok(Listing { values: values.into_iter().map(|(_, stored)| stored.value).collect(), next })
    }

    /// The same with each record's key and revision.
    pub(crate) fn page<T: Record>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Listing<Keyed<T>>, Error> {
        let Listing { values, next } = self.page_of_any(prefix, after, limit)?;
        let values = values.into_iter().map(|(key, revision, value)| Ok((key, Versioned { value: value?, revision })));
        Ok(Listing { values: values.collect::<Result<_, Error>>()?, next })
    }

    /// The same of records that `wanted` picks. What is left out leaves no trace in where to go on.
    pub(crate) fn page_of<T: Record>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Listing<Keyed<T>>, Error> {
        let (limit, mut values) = (limit.clamp(1, MAX_PAGE), Vec::new());
        let mut after = after.map(<[u8]>::to_vec);
        loop {
            let page = self.page::<T>(prefix, after.as_deref(), MAX_PAGE)?;
            for (key, stored) in page.values.into_iter().filter(|(_, stored)| wanted(&stored.value)) {
                values.push((key.clone(), stored));
                if values.len() == limit {
                    return Ok(Listing { values, next: Some(key) });
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(Listing { values, next: None });
            }
        }
    }

    /// The same of records that need not read back, each with its key and revision.
    pub(crate) fn page_of_any<T: Record>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Listing<AnyRecord<T>>, Error> {
        if after.is_some_and(|after| !after.starts_with(prefix)) {
            return Err(Error::Invalid("the page token belongs to another listing".to_owned()));
        }
        let page = self.0.list(prefix, after, limit.clamp(1, MAX_PAGE))?;
        let next = page.records.last().filter(|_| page.more).map(|record| record.key.clone());
        let values = page.records.iter().map(|stored| (stored.key.clone(), stored.revision, decode(stored)));
        Ok(Listing { values: values.collect(), next })
    }

    /// At which revision there is something, whether it reads back or not.
    pub(crate) fn revision(&self, key: &[u8]) -> Result<Option<u64>, Error> {
        Ok(self.0.get(key)?.map(|stored| stored.revision))
    }

    /// Any `count` records with random names, each with its key: from `begin`, a random place, to the end, and from
    /// the beginning if those are fewer. Whoever sweeps so reaches every record in time.
    pub(crate) fn some<T: Record>(
        &self,
        prefix: &[u8],
        begin: &[u8],
        count: usize,
    ) -> Result<Vec<(Vec<u8>, T)>, Error> {
        let mut stored = self.0.list(prefix, Some(begin), count)?.records;
        if stored.len() < count {
            let rest = self.0.list(prefix, None, count - stored.len())?.records;
            stored.extend(rest.into_iter().take_while(|stored| stored.key.as_slice() <= begin));
        }
        stored.into_iter().map(|stored| Ok((stored.key.clone(), decode(&stored)?))).collect()
    }

    /// Commits, and returns the revision that the changed records now carry. If the request has an idempotency key, it
    /// is used up in the same transaction.
    pub(crate) async fn commit(&self, origin: Origin, change: Change) -> Result<u64, Error> {
        let Some(attempt) = Attempt::current() else { return self.submit(origin, change).await };
        let (change, done) = attempt.enter(change)?;
        let revision = self.submit(origin, change).await?;
        attempt.committed(done, revision);
        Ok(revision)
    }

    async fn submit(&self, origin: Origin, change: Change) -> Result<u64, Error> {
        let Change { action, resource, guards, ops } = change.with_versions()?;
        let txn = SystemTxn { guards, ops, action: action.to_owned(), resource };
        match self.0.submit(origin, SystemCommand::Txn(txn)).await? {
            SystemAnswer::Txn(TxnAnswer::Committed { revision }) => Ok(revision),
            SystemAnswer::Txn(TxnAnswer::Conflict { found, .. }) => Err(Error::Conflict { found }),
            SystemAnswer::Txn(TxnAnswer::QuotaExceeded) => Err(Error::Quota),
            SystemAnswer::Lock(_) => Err(Error::Corrupt("a transaction was answered like a lock".to_owned())),
        }
    }
}

impl Change {
    pub(crate) fn new(action: &'static str, resource: impl Into<String>) -> Self {
        Self { action, resource: resource.into(), guards: Vec::new(), ops: Vec::new() }
    }

    pub(crate) fn action(&self) -> &'static str {
        self.action
    }

    pub(crate) fn resource(&self) -> &str {
        &self.resource
    }

    pub(crate) fn expect(mut self, key: Vec<u8>, expect: Expect) -> Self {
        self.guards.push(Guard { key, expect });
        self
    }

    pub(crate) fn put<T: Record>(mut self, key: Vec<u8>, value: &T) -> Result<Self, Error> {
        let value = value.encode().map_err(|error| Error::Corrupt(error.to_string()))?;
        self.ops.push(SystemOp::Put { key, value });
        Ok(self)
    }

    pub(crate) fn delete(mut self, key: Vec<u8>) -> Self {
        self.ops.push(SystemOp::Delete { key });
        self
    }

    /// Moves the versions of what it changes.
    fn with_versions(mut self) -> Result<Self, Error> {
        for at in [key::POLICY_VERSION, key::POLICIES_VERSION, key::REVOCATIONS_VERSION] {
            let of_kind =
                |key: &[u8]| VERSIONS.iter().any(|(kind, mark)| *mark == at && key.starts_with(kind.as_bytes()));
            if self.ops.iter().any(|op| match op {
                SystemOp::Put { key, .. } | SystemOp::Delete { key } => of_kind(key),
            }) {
                self = self.put(at.to_vec(), &Mark::default())?;
            }
        }
        Ok(self)
    }

    /// The value must not exist yet.
    pub(crate) fn create<T: Record>(self, key: Vec<u8>, value: &T) -> Result<Self, Error> {
        self.expect(key.clone(), Expect::Absent).put(key, value)
    }

    /// The value must be as it was read.
    pub(crate) fn replace<T: Record>(self, key: Vec<u8>, revision: u64, value: &T) -> Result<Self, Error> {
        self.expect(key.clone(), Expect::Revision(revision)).put(key, value)
    }
}

/// One record, decoded once for each of its revisions. Every read asks the store for the revision, so what it returns
/// is exactly as new as the state machine.
pub(crate) struct Cached<T> {
    key: &'static [u8],
    last: ArcSwapOption<Versioned<T>>,
}

impl<T: Record> Cached<T> {
    pub(crate) fn new(key: &'static [u8]) -> Self {
        Self { key, last: ArcSwapOption::empty() }
    }

    pub(crate) fn get(&self, records: &Records) -> Result<Option<Arc<Versioned<T>>>, Error> {
        let Some(stored) = records.0.get(self.key)? else { return Ok(None) };
        if let Some(last) = self.last.load_full().filter(|last| last.revision == stored.revision) {
            return Ok(Some(last));
        }
        let fresh = Arc::new(Versioned { value: decode(&stored)?, revision: stored.revision });
        self.last.store(Some(Arc::clone(&fresh)));
        Ok(Some(fresh))
    }
}

fn decode<T: Record>(stored: &Stored) -> Result<T, Error> {
    T::decode(&stored.value).map_err(|error| Error::Corrupt(format!("{}: {error}", stored.key.escape_ascii())))
}
