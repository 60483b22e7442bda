//! The system store in memory: chainfire's own state machine without Raft and without a disk, for tests of services.

use async_trait::async_trait;
use chainfire_core::{
    Answer, Command, Effect, Envelope, LogPosition, Origin, apply,
    cluster::{self, ClusterCommand, GenesisCommand, Limits, Lineage},
    format,
    journal::{self, AuditLevel, AuditPolicy, JournalPosition, JournalRecord},
    system::{self, LockGroup, Page, Record, SystemAnswer, SystemCommand},
};
use holdfast_keyspace::{Memory, Overlay, Write};
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{Applied, JournalSource, StoreError, SystemStore};

/// The clock's first reading, in Unix milliseconds.
const START_MS: u64 = 1_767_225_600_000;

/// A store that has begun its life and commits every command at once. Its clock stands still until it is
/// [set](MemoryStore::set_time_ms); every log entry has the next index in term 1.
pub struct MemoryStore {
    inner: Mutex<Inner>,
    system_revision: watch::Sender<u64>,
    applied_index: watch::Sender<u64>,
}

struct Inner {
    state: Memory,
    index: u64,
    time_ms: u64,
    failing: Option<StoreError>,
}

impl MemoryStore {
    /// An empty store with the default limits.
    pub fn new() -> Result<Self, StoreError> {
        Self::with_limits(Limits::default())
    }

    /// An empty store with limits of the test's choice.
    pub fn with_limits(limits: Limits) -> Result<Self, StoreError> {
        let store = Self {
            inner: Mutex::new(Inner { state: Memory::new(), index: 0, time_ms: START_MS, failing: None }),
            system_revision: watch::Sender::new(0),
            applied_index: watch::Sender::new(0),
        };
        let genesis = GenesisCommand {
            cluster: Uuid::from_u128(0x0a),
            members: Vec::new(),
            lineage: Uuid::from_u128(0x0b),
            feature_level: 1,
            journal: true,
            limits,
            audit: AuditPolicy::all(AuditLevel::Metadata),
        };
        store.commit(Origin::system("genesis", "genesis"), Command::Cluster(ClusterCommand::Genesis(genesis)))?;
        Ok(store)
    }

    /// Sets the time that the following commands carry.
    pub fn set_time_ms(&self, time_ms: u64) {
        self.inner.lock().time_ms = time_ms;
    }

    /// From now on every call that needs a quorum fails like this; `None` ends it. Local reads go on.
    pub fn fail_with(&self, error: Option<StoreError>) {
        self.inner.lock().failing = error;
    }

    /// Commits any command, also those that services have no business with.
    pub fn commit(&self, origin: Origin, command: Command) -> Result<Answer, StoreError> {
        let mut inner = self.inner.lock();
        if let Some(error) = &inner.failing {
            return Err(error.clone());
        }
        let envelope = Envelope { origin, time_ms: inner.time_ms, command };
        let entry = format::encode_command(&envelope).map_err(|error| StoreError::Storage(error.to_string()))?;
        let at = LogPosition { index: inner.index + 1, term: 1 };
        let mut overlay = Overlay::new(&inner.state);
        let applied = apply(&mut overlay, at, &entry)?;
        let changes: Vec<_> = overlay.into_changes().collect();
        for change in changes {
            match change.value {
                Some(value) => inner.state.put(change.table, change.key, value),
                None => inner.state.delete(change.table, change.key),
            }
        }
        inner.index = at.index;
        for effect in applied.effects {
            if let Effect::SystemChanged { revision } = effect {
                self.system_revision.send_replace(revision);
            }
        }
        self.applied_index.send_replace(at.index);
        format::decode_answer(&applied.answer).map_err(|error| StoreError::Unknown(error.to_string()))
    }

    /// The whole state, to compare stores or to read what the traits do not show.
    pub fn state(&self) -> Memory {
        self.inner.lock().state.clone()
    }
}

#[async_trait]
impl SystemStore for MemoryStore {
    async fn submit(&self, origin: Origin, command: SystemCommand) -> Result<SystemAnswer, StoreError> {
        StoreError::system_answer(self.commit(origin, Command::System(command))?)
    }

    async fn barrier(&self) -> Result<Applied, StoreError> {
        if let Some(error) = &self.inner.lock().failing {
            return Err(error.clone());
        }
        Ok(self.applied())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        Ok(system::get(&self.inner.lock().state, key)?)
    }

    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, StoreError> {
        Ok(system::list(&self.inner.lock().state, prefix, after, limit)?)
    }

    fn lock_group(&self, group: &str) -> Result<Option<LockGroup>, StoreError> {
        Ok(system::lock_group(&self.inner.lock().state, group)?)
    }

    fn lock_groups(&self, after: Option<&str>, limit: usize) -> Result<Vec<LockGroup>, StoreError> {
        Ok(system::lock_groups(&self.inner.lock().state, after, limit)?)
    }

    fn lineage(&self) -> Result<Option<Lineage>, StoreError> {
        Ok(cluster::lineages(&self.inner.lock().state)?.pop())
    }

    fn applied(&self) -> Applied {
        Applied { index: *self.applied_index.borrow(), system_revision: *self.system_revision.borrow() }
    }

    fn progress(&self) -> watch::Receiver<u64> {
        self.applied_index.subscribe()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.system_revision.subscribe()
    }
}

#[async_trait]
impl JournalSource for MemoryStore {
    fn read(&self, after: Option<JournalPosition>, limit: usize) -> Result<Vec<JournalRecord>, StoreError> {
        Ok(journal::after(&self.inner.lock().state, after, limit)?)
    }

    async fn shipped(&self, upto: JournalPosition) -> Result<(), StoreError> {
        let shipped = Command::Cluster(ClusterCommand::AuditShipped { upto });
        let answer = self.commit(Origin::system("shipper", "shipper"), shipped)?;
        StoreError::cluster_answer(answer).map(|_| ())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.applied_index.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use chainfire_core::{
        AuthenticatedBy,
        system::{Expect, Guard, LockAcquire, LockAnswer, LockAsker, SystemOp, SystemTxn, TxnAnswer},
    };

    use super::*;

    fn mira() -> Origin {
        Origin {
            principal: "user/mira".into(),
            authenticated_by: AuthenticatedBy::Token,
            source: None,
            token_id: None,
            request_id: "r1".into(),
        }
    }

    fn create(key: &[u8]) -> SystemCommand {
        SystemCommand::Txn(SystemTxn {
            guards: vec![Guard { key: key.to_vec(), expect: Expect::Absent }],
            ops: vec![SystemOp::Put { key: key.to_vec(), value: b"v".to_vec() }],
            action: "test.Create".into(),
            resource: "thing/1".into(),
        })
    }

    #[tokio::test]
    async fn a_submitted_change_is_readable_watched_and_recorded() {
        let store = MemoryStore::new().unwrap();
        let watch = SystemStore::changes(&store);
        let answer = store.submit(mira(), create(b"a/1")).await.unwrap();
        assert_eq!(answer, SystemAnswer::Txn(TxnAnswer::Committed { revision: 1 }));
        assert_eq!(*watch.borrow(), 1);
        assert_eq!(store.get(b"a/1").unwrap().unwrap().revision, 1);
        let answer = store.submit(mira(), create(b"a/1")).await.unwrap();
        assert_eq!(answer, SystemAnswer::Txn(TxnAnswer::Conflict { key: b"a/1".to_vec(), found: Some(1) }));

        let records = store.read(None, 10).unwrap();
        let actions: Vec<_> = records.iter().map(|record| record.action.as_str()).collect();
        assert_eq!(actions, ["cluster.Genesis", "test.Create", "test.Create"]);
        store.shipped(records[1].position).await.unwrap();
        assert_eq!(store.read(None, 10).unwrap(), records[2..]);
        assert_eq!(store.read(Some(records[2].position), 10).unwrap(), []);
    }

    #[tokio::test]
    async fn pages_go_on_after_their_last_record() {
        let store = MemoryStore::new().unwrap();
        for key in [b"a/1", b"a/2", b"a/3", b"b/1"] {
            store.submit(mira(), create(key)).await.unwrap();
        }
        let first = store.list(b"a/", None, 2).unwrap();
        assert!(first.more && first.records.len() == 2);
        let rest = store.list(b"a/", Some(&first.records[1].key), 2).unwrap();
        assert_eq!((rest.more, rest.records.len()), (false, 1));
        assert_eq!(rest.records[0].key, b"a/3");
    }

    #[tokio::test]
    async fn locks_and_lost_quorum() {
        let store = MemoryStore::new().unwrap();
        store.set_time_ms(7);
        let take = |id: &str| {
            SystemCommand::LockAcquire(LockAcquire {
                group: "default".into(),
                id: id.into(),
                asker: LockAsker::Anybody,
                default_slots: 1,
                listed: false,
            })
        };
        let SystemAnswer::Lock(LockAnswer::Granted { holder, new: true }) =
            store.submit(mira(), take("n1")).await.unwrap()
        else {
            panic!("not granted");
        };
        assert_eq!((holder.granted_at_ms, holder.grant), (7, 1));
        assert_eq!(store.lock_group("default").unwrap().unwrap().holders, [holder]);
        store.fail_with(Some(StoreError::Unavailable("no leader".into())));
        assert!(store.submit(mira(), take("n2")).await.is_err());
        assert!(store.barrier().await.is_err());
        assert_eq!(store.lock_groups(None, 10).unwrap().len(), 1);
    }
}
