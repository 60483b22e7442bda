use chainfire_core::{
    Answer, ClusterError, Command, Effect, Failure, UserAnswer, UserCommand, UserError,
    cluster::{ClusterAnswer, ClusterCommand, Limits, NewLineage},
    journal::{AuditLevel, AuditPolicy, AuditRule, JournalPosition, JournalRecord, Outcome, after, usage},
    kv::{Put, Txn},
    lease::{ExpiredLease, LeaseExpire, LeaseId},
    system::{SystemAnswer, SystemCommand, SystemOp, SystemTxn, TxnAnswer},
    table,
};
use holdfast_keyspace::{Read as _, Write as _};
use ring::digest;
use uuid::Uuid;

use crate::store::{Store, TERM, all_of, between, bytes, mira, one, pair, put_op};

fn rules(rules: &[(&str, AuditLevel)]) -> AuditPolicy {
    let rules = rules.iter().map(|(prefix, level)| AuditRule { prefix: bytes(prefix), level: *level });
    AuditPolicy { rules: rules.collect() }
}

fn shown(record: &JournalRecord) -> String {
    format!("{} {}", record.action, record.resource)
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().try_into().ok()
}

fn note(action: &str) -> Command {
    let op = SystemOp::Put { key: b"k".to_vec(), value: b"v".to_vec() };
    let txn = SystemTxn { guards: vec![], ops: vec![op], action: action.into(), resource: "thing/1".into() };
    Command::System(SystemCommand::Txn(txn))
}

/// A store whose journal has room for a handful of records.
fn small() -> Store {
    let limits = Limits { journal_bytes: 600, journal_reserve: 400, ..Limits::default() };
    Store::audited(limits, rules(&[("audited/", AuditLevel::Metadata)]))
}

#[test]
fn a_record_says_who_when_what_and_the_digests() {
    let mut store = Store::digesting();
    store.set("a", "1");
    store.time_ms = 77;
    store.set("a", "2");
    store.delete(one("a"));
    let records = store.journal();
    let shown: Vec<_> = records.iter().map(shown).collect();
    assert_eq!(shown[1..], ["kv.Put key/a", "kv.Put key/a", "kv.Delete key/a"]);
    let record = &records[2];
    assert_eq!((record.time_ms, record.revision, &record.origin), (77, Some(3), &mira()));
    assert_eq!((record.before, record.after, &record.outcome), (sha256("1"), sha256("2"), &Outcome::Done));
    assert_eq!((records[1].before, records[3].after), (None, None));
    assert_eq!(record.position, JournalPosition { lineage: Uuid::from_u128(2), index: 3, sub: 0 });
    assert_eq!(store.effects.last(), Some(&Effect::JournalAppended { last: records[3].position }));
}

#[test]
fn the_level_of_a_key_is_its_longest_prefixs() {
    let policy = rules(&[("", AuditLevel::Metadata), ("quiet/", AuditLevel::None), ("deep/", AuditLevel::Digest)]);
    let mut store = Store::audited(Limits::default(), policy);
    store.txn(all_of([put_op("quiet/a", "1"), put_op("deep/a", "1"), put_op("x", "1")])).unwrap();
    let records = store.journal();
    let shown: Vec<_> = records.iter().map(|record| (shown(record), record.after.is_some())).collect();
    assert_eq!(shown[1..], [("kv.Put key/deep/a".into(), true), ("kv.Put key/x".into(), false)]);
    assert_eq!((records[1].position.sub, records[2].position.sub), (0, 1));
}

#[test]
fn refused_and_empty_user_commands_leave_no_record() {
    let mut store = Store::digesting();
    assert!(store.put(Put { lease: LeaseId(9), ..pair("a", "1") }).is_err());
    store.delete(one("missing"));
    store.txn(Txn::default()).unwrap();
    assert_eq!(store.journal().len(), 1);
}

#[test]
fn leases_and_compaction_are_recorded() {
    let mut store = Store::digesting();
    store.grant(26, 60).unwrap();
    store.put(Put { lease: LeaseId(26), ..pair("a", "1") }).unwrap();
    store.revoke(26).unwrap();
    store.compact(2).unwrap();
    let shown: Vec<_> = store.journal().iter().map(shown).collect();
    let expected =
        ["lease.Grant lease/1a", "kv.Put key/a", "lease.Revoke lease/1a", "kv.Delete key/a", "kv.Compact revision/2"];
    assert_eq!(shown[1..], expected);
}

#[test]
fn a_store_that_stands_alone_keeps_no_journal() {
    let mut store = Store::new();
    store.set("a", "1");
    store.compact(2).unwrap();
    store.commit(note("iam.Test"));
    assert_eq!((store.journal(), usage(&store.state).unwrap().used), (vec![], 0));
}

#[test]
fn a_full_journal_refuses_what_needs_a_record_and_only_that() {
    let mut store = small();
    store.set("audited/0", "");
    assert!(!usage(&store.state).unwrap().is_full());
    for n in 1.. {
        if store.put(pair(&format!("audited/{n}"), "")) == Err(UserError::TooManyRequests) {
            break;
        }
        assert!(n < 10);
    }
    let usage = usage(&store.state).unwrap();
    assert!(usage.is_warning() && usage.is_full() && usage.used < usage.hard);
    assert_eq!(store.txn(all_of([put_op("free", ""), put_op("audited/x", "")])), Err(UserError::TooManyRequests));
    let delete = UserCommand::DeleteRange(chainfire_core::kv::DeleteRange { keys: between("a", "z"), prev_kv: false });
    assert_eq!(store.user(delete), Err(UserError::TooManyRequests));
    assert!(store.put(pair("free", "")).is_ok());
    let other_branch = Txn { failure: vec![put_op("audited/x", "")], ..all_of([put_op("free", "")]) };
    assert!(store.txn(other_branch).is_ok());
}

#[test]
fn system_commands_and_expiry_go_on_in_the_reserve_until_it_is_spent() {
    let mut store = small();
    store.grant(7, 60).unwrap();
    let granted_at = store.index;
    while store.put(pair("audited/x", "")).is_ok() {}
    assert_eq!(store.grant(8, 60), Err(UserError::TooManyRequests));
    let committed =
        matches!(store.commit(note("iam.Test")), Answer::System(Ok(SystemAnswer::Txn(TxnAnswer::Committed { .. }))));
    assert!(committed);
    let expire = LeaseExpire { term: TERM, leases: vec![ExpiredLease { id: LeaseId(7), granted_at }] };
    let answer = store.user(UserCommand::LeaseExpire(expire)).unwrap();
    assert!(matches!(answer, UserAnswer::LeaseExpire { expired: 1, .. }));
    let refused = |answer| matches!(answer, Answer::System(Err(chainfire_core::SystemError::JournalFull)));
    assert!((0..10).any(|_| refused(store.commit(note("iam.Test")))));
    assert_eq!(store.cluster(ClusterCommand::SetLimits(Limits::default())), Err(ClusterError::JournalFull));

    // Shipping makes room again.
    let last = store.journal().pop().unwrap().position;
    let answer = store.cluster(ClusterCommand::AuditShipped { upto: last }).unwrap();
    assert_eq!(answer, ClusterAnswer::AuditShipped { used: 0 });
    assert!(store.put(pair("audited/x", "")).is_ok());
}

#[test]
fn shipped_records_go_and_compaction_takes_none() {
    let mut store = Store::digesting();
    for value in ["1", "2", "3"] {
        store.set("a", value);
    }
    let records = store.journal();
    store.compact(4).unwrap();
    store.remove_compacted(100);
    assert_eq!(store.journal()[..4], records);
    store.cluster(ClusterCommand::AuditShipped { upto: records[1].position }).unwrap();
    assert_eq!(store.effects, [Effect::JournalTruncated]);
    assert_eq!(store.journal()[..2], records[2..]);
    let again = store.cluster(ClusterCommand::AuditShipped { upto: records[1].position });
    assert!(again.is_ok() && store.effects.is_empty());
    let page = after(&store.state, Some(records[2].position), 1).unwrap();
    assert_eq!(page, records[3..4]);
}

#[test]
fn what_was_shipped_is_not_looked_through_again() {
    let mut store = Store::digesting();
    for value in ["1", "2", "3"] {
        store.set("a", value);
    }
    let records = store.journal();
    store.cluster(ClusterCommand::AuditShipped { upto: records[1].position }).unwrap();
    // Where rows were deleted, a store may have to step over what is left of them.
    let shipped = (table::JOURNAL, vec![0; 16]);
    store.state.put(shipped.0, shipped.1.clone(), b"not a record".to_vec());
    assert_eq!(store.journal()[..2], records[2..]);
    assert_eq!(after(&store.state, Some(records[0].position), 9).unwrap()[..2], records[2..]);
    store.cluster(ClusterCommand::AuditShipped { upto: records[3].position }).unwrap();
    assert!(store.state.get(shipped.0, &shipped.1).unwrap().is_some());
    assert_eq!(store.journal(), []);
}

#[test]
fn records_are_in_the_order_of_lineages_whatever_their_ids() {
    let mut store = Store::digesting();
    store.set("a", "1");
    let (first, second) = (Uuid::from_u128(2), Uuid::from_u128(1));
    store.cluster(ClusterCommand::NewLineage(NewLineage { id: second, parent: first, cut: 2 })).unwrap();
    store.index = 0;
    store.set("a", "2");
    let lineages: Vec<_> = store.journal().iter().map(|record| record.position.lineage).collect();
    assert_eq!(lineages, [first, first, first, second]);
    let cut = JournalPosition { lineage: first, index: u64::MAX, sub: 0 };
    assert_eq!(after(&store.state, Some(cut), 10).unwrap().len(), 1);
    let strange = JournalPosition { lineage: Uuid::from_u128(9), ..cut };
    assert!(matches!(after(&store.state, Some(strange), 10), Err(Failure::Refused(ClusterError::UnknownLineage(_)))));
    assert!(store.cluster(ClusterCommand::AuditShipped { upto: strange }).is_err());
}
