//! A store for tests: the state machine over memory, one log entry after the other.

use bytes::Bytes;
use chainfire_core::{
    Answer, AuthenticatedBy, ClusterError, Command, Effect, Envelope, Failure, Halt, LogPosition, Origin, SystemError,
    UserAnswer, UserCommand, UserError, apply,
    cluster::{ClusterAnswer, ClusterCommand, GenesisCommand, Limits},
    format,
    journal::{AuditLevel, AuditPolicy, JournalRecord},
    kv::{
        self, Compact, Compare, DeleteAnswer, DeleteRange, KeyValue, Keys, Operand, Put, PutAnswer, Range, RangeAnswer,
        Relation, Revision, RevisionEvents, Txn, TxnAnswer, TxnOp,
    },
    lease::{LeaseGrant, LeaseId, LeaseRevoke},
    system::{SystemAnswer, SystemCommand},
};
use holdfast_keyspace::{Memory, Overlay, Write};
use uuid::Uuid;

pub(crate) const TERM: u64 = 3;

pub(crate) struct Store {
    pub(crate) state: Memory,
    pub(crate) index: u64,
    pub(crate) time_ms: u64,
    /// Of the next commands.
    pub(crate) origin: Origin,
    /// Of the last command.
    pub(crate) effects: Vec<Effect>,
}

pub(crate) fn genesis(journal: bool, limits: Limits, audit: AuditPolicy) -> GenesisCommand {
    GenesisCommand {
        cluster: Uuid::from_u128(1),
        members: Vec::new(),
        lineage: Uuid::from_u128(2),
        feature_level: 1,
        journal,
        limits,
        audit,
    }
}

pub(crate) fn mira() -> Origin {
    Origin {
        principal: "user/mira".into(),
        authenticated_by: AuthenticatedBy::Token,
        source: Some("192.0.2.7:4711".into()),
        token_id: Some("t1".into()),
        request_id: "r1".into(),
    }
}

impl Store {
    /// As the etcd drop-in begins: nothing is recorded.
    pub(crate) fn new() -> Self {
        Self::begun(genesis(false, Limits::default(), AuditPolicy::default()))
    }

    pub(crate) fn audited(limits: Limits, audit: AuditPolicy) -> Self {
        Self::begun(genesis(true, limits, audit))
    }

    /// Digests of every change.
    pub(crate) fn digesting() -> Self {
        Self::audited(Limits::default(), AuditPolicy::all(AuditLevel::Digest))
    }

    pub(crate) fn empty() -> Self {
        Self { state: Memory::new(), index: 0, time_ms: 1_000, origin: mira(), effects: Vec::new() }
    }

    fn begun(genesis: GenesisCommand) -> Self {
        let mut store = Self::empty();
        let answer = store.cluster(ClusterCommand::Genesis(genesis)).unwrap();
        assert!(matches!(answer, ClusterAnswer::Genesis(_)));
        store
    }

    pub(crate) fn try_commit(&mut self, command: Command) -> Result<Answer, Halt> {
        let envelope = Envelope { origin: self.origin.clone(), time_ms: self.time_ms, command };
        let entry = format::encode_command(&envelope).unwrap();
        let mut overlay = Overlay::new(&self.state);
        let at = LogPosition { index: self.index + 1, term: TERM };
        let applied = apply(&mut overlay, at, &entry)?;
        for change in overlay.into_changes().collect::<Vec<_>>() {
            match change.value {
                Some(value) => self.state.put(change.table, change.key, value),
                None => self.state.delete(change.table, change.key),
            }
        }
        self.index += 1;
        self.effects = applied.effects;
        Ok(format::decode_answer(&applied.answer).unwrap())
    }

    pub(crate) fn commit(&mut self, command: Command) -> Answer {
        self.try_commit(command).unwrap()
    }

    pub(crate) fn user(&mut self, command: UserCommand) -> Result<UserAnswer, UserError> {
        let before = self.state.clone();
        match self.commit(Command::User(command)) {
            Answer::User(Ok(answer)) => Ok(answer),
            Answer::User(Err(refusal)) => {
                assert_eq!(refusal.revision, self.revision());
                assert_eq!(self.state, before, "a refused command changes nothing");
                assert_eq!(self.effects, []);
                Err(refusal.error)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn system(&mut self, command: SystemCommand) -> Result<SystemAnswer, SystemError> {
        match self.commit(Command::System(command)) {
            Answer::System(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn cluster(&mut self, command: ClusterCommand) -> Result<ClusterAnswer, ClusterError> {
        match self.commit(Command::Cluster(command)) {
            Answer::Cluster(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn put(&mut self, put: Put) -> Result<PutAnswer, UserError> {
        match self.user(UserCommand::Put(put))? {
            UserAnswer::Put(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    /// Puts and returns the new revision.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> i64 {
        self.put(pair(key, value)).unwrap().revision.0
    }

    pub(crate) fn delete(&mut self, keys: Keys) -> DeleteAnswer {
        match self.user(UserCommand::DeleteRange(DeleteRange { keys, prev_kv: true })) {
            Ok(UserAnswer::DeleteRange(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn txn(&mut self, txn: Txn) -> Result<TxnAnswer, UserError> {
        match self.user(UserCommand::Txn(txn))? {
            UserAnswer::Txn(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), UserError> {
        self.user(UserCommand::Compact(Compact { revision: Revision(revision) })).map(|_| ())
    }

    /// Removes what compactions left, in steps of `rows`.
    pub(crate) fn remove_compacted(&mut self, rows: u32) -> u64 {
        let mut total = 0;
        loop {
            match self.cluster(ClusterCommand::CompactStep { rows }) {
                Ok(ClusterAnswer::CompactStep { removed, finished }) => {
                    total += removed;
                    if finished {
                        return total;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn grant(&mut self, id: i64, ttl: i64) -> Result<i64, UserError> {
        match self.user(UserCommand::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl, min_ttl: 2 }))? {
            UserAnswer::LeaseGrant { ttl, .. } => Ok(ttl),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn revoke(&mut self, id: i64) -> Result<(), UserError> {
        self.user(UserCommand::LeaseRevoke(LeaseRevoke { id: LeaseId(id) })).map(|_| ())
    }

    pub(crate) fn range(&self, request: &Range) -> Result<RangeAnswer, UserError> {
        refused(kv::range(&self.state, request, &mut anything))
    }

    pub(crate) fn get(&self, key: &str) -> Option<KeyValue> {
        self.range(&Range::of(one(key))).unwrap().kvs.pop()
    }

    pub(crate) fn revision(&self) -> Revision {
        kv::current_revision(&self.state).unwrap()
    }

    pub(crate) fn journal(&self) -> Vec<JournalRecord> {
        chainfire_core::journal::after(&self.state, None, usize::MAX).unwrap()
    }

    /// The revisions among the last command's effects.
    pub(crate) fn changed(&self) -> Vec<RevisionEvents> {
        let revisions = self.effects.iter().filter_map(|effect| match effect {
            Effect::Revision(events) => Some(events.as_ref().clone()),
            _ => None,
        });
        revisions.collect()
    }
}

pub(crate) fn refused<T>(result: Result<T, Failure>) -> Result<T, UserError> {
    result.map_err(|failure| match failure {
        Failure::Refused(error) => error,
        Failure::Halt(halt) => panic!("{halt}"),
    })
}

/// Pays for any answer.
pub(crate) fn anything(_: usize) -> bool {
    true
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn one(key: &str) -> Keys {
    Keys::One(bytes(key))
}

pub(crate) fn between(start: &str, end: &str) -> Keys {
    Keys::from_wire(bytes(start), bytes(end))
}

pub(crate) fn pair(key: &str, value: &str) -> Put {
    Put { key: bytes(key), value: bytes(value), ..Put::default() }
}

pub(crate) fn put_op(key: &str, value: &str) -> TxnOp {
    TxnOp::Put(pair(key, value))
}

pub(crate) fn delete_op(keys: Keys) -> TxnOp {
    TxnOp::DeleteRange(DeleteRange { keys, prev_kv: false })
}

pub(crate) fn range_op(keys: Keys) -> TxnOp {
    TxnOp::Range(Range::of(keys))
}

pub(crate) fn compare(keys: Keys, relation: Relation, operand: Operand) -> Compare {
    Compare { keys, relation, operand }
}

/// A transaction without compares.
pub(crate) fn all_of(ops: impl Into<Vec<TxnOp>>) -> Txn {
    Txn { compare: Vec::new(), success: ops.into(), failure: Vec::new() }
}

pub(crate) fn keys_of(answer: &RangeAnswer) -> Vec<&str> {
    answer.kvs.iter().map(|kv| std::str::from_utf8(&kv.key).unwrap()).collect()
}
