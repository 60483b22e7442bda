//! §2.1-2.5: random commands against a model that keeps every state in full.

use std::collections::BTreeMap;

use bytes::Bytes;
use chainfire_core::{
    Command, UserAnswer, UserCommand, UserError,
    cluster::ClusterCommand,
    kv::{self, Compact, DeleteRange, KeyValue, Keys, Operand, Put, Range, Relation, Revision, Txn, TxnOp, check_txn},
    lease::{LeaseGrant, LeaseId, LeaseRevoke},
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::store::{Store, compare, refused};

type Pairs = BTreeMap<Bytes, KeyValue>;

/// What the rules say, without indexes or rows: one whole map for each revision.
struct Model {
    states: Vec<Pairs>,
    compacted: Option<i64>,
    leases: Vec<LeaseId>,
}

impl Model {
    fn new() -> Self {
        Self { states: vec![Pairs::new(), Pairs::new()], compacted: None, leases: Vec::new() }
    }

    fn current(&self) -> i64 {
        self.states.len() as i64 - 1
    }

    fn at(&self, revision: i64) -> &Pairs {
        &self.states[usize::try_from(revision).unwrap()]
    }

    /// Runs `change` on a copy of the newest state, which becomes a revision if it says that something changed.
    fn change(&mut self, change: impl FnOnce(&mut Pairs, Revision) -> bool) {
        let mut next = self.at(self.current()).clone();
        if change(&mut next, Revision(self.current() + 1)) {
            self.states.push(next);
        }
    }

    fn apply(&mut self, command: &UserCommand) -> Result<(), UserError> {
        match command {
            UserCommand::Put(put) => {
                self.check(put)?;
                self.change(|pairs, revision| set(pairs, put, revision));
            }
            UserCommand::DeleteRange(delete) => self.change(|pairs, _| remove(pairs, &delete.keys)),
            UserCommand::Txn(txn) => {
                check_txn(txn, usize::MAX)?;
                let holds = txn.compare.iter().all(|compare| match &compare.operand {
                    Operand::Version(version) => {
                        let pairs = self.at(self.current());
                        pairs.get(compare.keys.start()).map_or(0, |kv| kv.version) == *version
                    }
                    _ => unreachable!("not generated"),
                });
                let ops = if holds { &txn.success } else { &txn.failure };
                for op in ops {
                    if let TxnOp::Put(put) = op {
                        self.check(put)?;
                    }
                }
                self.change(|pairs, revision| {
                    ops.iter().fold(false, |changed, op| match op {
                        TxnOp::Put(put) => set(pairs, put, revision) | changed,
                        TxnOp::DeleteRange(delete) => remove(pairs, &delete.keys) | changed,
                        TxnOp::Range(_) | TxnOp::Txn(_) => changed,
                    })
                });
            }
            UserCommand::Compact(Compact { revision: Revision(revision) }) => {
                if *revision < 0 || self.compacted.is_some_and(|compacted| *revision <= compacted) {
                    return Err(UserError::Compacted);
                }
                if *revision > self.current() {
                    return Err(UserError::FutureRevision);
                }
                self.compacted = Some(*revision);
            }
            UserCommand::LeaseGrant(grant) => {
                if self.leases.contains(&grant.id) {
                    return Err(UserError::LeaseExists);
                }
                self.leases.push(grant.id);
            }
            UserCommand::LeaseRevoke(LeaseRevoke { id }) => {
                if !self.leases.contains(id) {
                    return Err(UserError::LeaseNotFound);
                }
                self.leases.retain(|lease| lease != id);
                self.change(|pairs, _| {
                    let before = pairs.len();
                    pairs.retain(|_, kv| kv.lease != *id);
                    pairs.len() != before
                });
            }
            UserCommand::LeaseExpire(_) | UserCommand::Auth(_) | UserCommand::Login(_) => unreachable!("not generated"),
        }
        Ok(())
    }

    fn check(&self, put: &Put) -> Result<(), UserError> {
        if put.lease != LeaseId::NONE && !self.leases.contains(&put.lease) {
            return Err(UserError::LeaseNotFound);
        }
        Ok(())
    }
}

fn set(pairs: &mut Pairs, put: &Put, revision: Revision) -> bool {
    let old = pairs.get(&put.key);
    let kv = KeyValue {
        key: put.key.clone(),
        create_revision: old.map_or(revision, |old| old.create_revision),
        mod_revision: revision,
        version: old.map_or(1, |old| old.version + 1),
        value: put.value.clone(),
        lease: put.lease,
    };
    pairs.insert(put.key.clone(), kv);
    true
}

fn remove(pairs: &mut Pairs, keys: &Keys) -> bool {
    let before = pairs.len();
    pairs.retain(|key, _| !keys.contains(key));
    pairs.len() != before
}

fn key() -> impl Strategy<Value = Bytes> {
    select(vec!["a", "a\0", "a\0b", "b", "b\u{1}", "c"]).prop_map(|key| Bytes::from_static(key.as_bytes()))
}

fn keys() -> impl Strategy<Value = Keys> {
    prop_oneof![
        3 => key().prop_map(Keys::One),
        2 => (key(), key()).prop_map(|(start, end)| Keys::Range { start, end }),
        1 => key().prop_map(Keys::From),
    ]
}

fn put() -> impl Strategy<Value = Put> {
    (key(), vec(any::<u8>(), 0..3), 0i64..3).prop_map(|(key, value, lease)| Put {
        key,
        value: value.into(),
        lease: LeaseId(lease),
        ..Put::default()
    })
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    keys().prop_map(|keys| DeleteRange { keys, prev_kv: false })
}

fn op() -> impl Strategy<Value = TxnOp> {
    prop_oneof![
        put().prop_map(TxnOp::Put),
        delete().prop_map(TxnOp::DeleteRange),
        keys().prop_map(|keys| TxnOp::Range(Range::of(keys))),
    ]
}

fn txn() -> impl Strategy<Value = Txn> {
    let condition = (key(), 0i64..3)
        .prop_map(|(key, version)| vec![compare(Keys::One(key), Relation::Equal, Operand::Version(version))]);
    (condition, vec(op(), 0..4), vec(op(), 0..4)).prop_map(|(compare, success, failure)| Txn {
        compare,
        success,
        failure,
    })
}

#[derive(Clone, Debug)]
enum Step {
    User(UserCommand),
    Remove(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let grant = |id| UserCommand::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl: 60, min_ttl: 2 });
    prop_oneof![
        8 => put().prop_map(|put| Step::User(UserCommand::Put(put))),
        4 => delete().prop_map(|delete| Step::User(UserCommand::DeleteRange(delete))),
        4 => txn().prop_map(|txn| Step::User(UserCommand::Txn(txn))),
        1 => (1i64..3).prop_map(move |id| Step::User(grant(id))),
        1 => (1i64..3).prop_map(|id| Step::User(UserCommand::LeaseRevoke(LeaseRevoke { id: LeaseId(id) }))),
        1 => (-1i64..30).prop_map(|revision| Step::User(UserCommand::Compact(Compact { revision: Revision(revision) }))),
        2 => (1u32..6).prop_map(Step::Remove),
    ]
}

fn check(store: &Store, model: &Model, keys: &Keys) {
    assert_eq!(store.revision(), Revision(model.current()));
    let floor = model.compacted.unwrap_or(0);
    for revision in 0..=model.current() {
        let answer = store.range(&Range { at: Some(Revision(revision)), ..Range::of(keys.clone()) });
        if revision < floor {
            assert_eq!(answer, Err(UserError::Compacted));
            continue;
        }
        let pairs = model.at(revision).values().filter(|kv| keys.contains(&kv.key));
        let expected: Vec<_> = pairs.cloned().collect();
        let answer = answer.unwrap();
        assert_eq!(answer.count, expected.len() as u64);
        assert_eq!(answer.kvs, expected, "revision {revision}");
    }
}

/// Replaying the history on the oldest readable state gives all later ones.
fn check_history(store: &Store, model: &Model) {
    let floor = model.compacted.unwrap_or(1).max(1);
    let mut pairs = model.at(floor).clone();
    let history = kv::history(&store.state, Revision(floor + 1), Revision::MAX, usize::MAX, true).unwrap();
    for changed in history.revisions {
        for event in &changed.events {
            let old = match event.kind {
                kv::EventKind::Put => pairs.insert(event.kv.key.clone(), event.kv.clone()),
                kv::EventKind::Delete => pairs.remove(&event.kv.key),
            };
            assert_eq!(event.prev_kv, old);
        }
        assert_eq!(&pairs, model.at(changed.revision.0));
    }
    assert_eq!(&pairs, model.at(model.current()));
}

proptest! {
    #[test]
    fn every_revision_reads_as_the_rules_say(steps in vec(step(), 1..60), probe in keys()) {
        let mut store = Store::new();
        let mut model = Model::new();
        for step in &steps {
            match step {
                Step::User(command) => {
                    let expected = model.apply(command);
                    prop_assert_eq!(store.user(command.clone()).map(|_: UserAnswer| ()), expected, "{:?}", command);
                    let told: Vec<_> = store.changed().iter().map(|changed| changed.revision.0).collect();
                    prop_assert!(told.is_empty() || told == [model.current()]);
                }
                Step::Remove(rows) => {
                    let before = refused(kv::hash(&store.state, None)).unwrap();
                    store.cluster(ClusterCommand::CompactStep { rows: *rows }).unwrap();
                    prop_assert_eq!(refused(kv::hash(&store.state, None)).unwrap(), before);
                }
            }
        }
        check(&store, &model, &probe);
        check(&store, &model, &Keys::From(Bytes::from_static(b"\0")));
        check_history(&store, &model);
    }

    #[test]
    fn the_same_commands_give_the_same_bytes(steps in vec(step(), 1..40)) {
        let (mut one, mut other) = (Store::digesting(), Store::digesting());
        for step in steps {
            let command = match step {
                Step::User(command) => Command::User(command),
                Step::Remove(rows) => Command::Cluster(ClusterCommand::CompactStep { rows }),
            };
            prop_assert_eq!(one.commit(command.clone()), other.commit(command));
            prop_assert_eq!(&one.effects, &other.effects);
        }
        prop_assert_eq!(&one.state, &other.state);
    }

    /// Two members that removed compacted rows at different times agree on every read and hash.
    #[test]
    fn reads_do_not_depend_on_how_far_the_removal_is(steps in vec(step(), 1..50)) {
        let (mut eager, mut lazy) = (Store::new(), Store::new());
        for step in &steps {
            if let Step::User(command) = step {
                let (a, b) = (eager.user(command.clone()), lazy.user(command.clone()));
                prop_assert_eq!(a, b);
                eager.remove_compacted(2);
            }
        }
        let floor = kv::compacted_revision(&eager.state).unwrap().map_or(0, |revision| revision.0);
        for revision in floor..=eager.revision().0 {
            let all = Range { at: Some(Revision(revision)), ..Range::of(Keys::From(Bytes::from_static(b"\0"))) };
            prop_assert_eq!(eager.range(&all), lazy.range(&all));
            let hash = |store: &Store| refused(kv::hash(&store.state, Some(Revision(revision))));
            prop_assert_eq!(hash(&eager), hash(&lazy));
        }
    }
}
