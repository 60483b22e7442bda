//! §2.9: the quota's cost rule, and what alarms refuse.

use chainfire_core::{
    Effect, UserCommand, UserError,
    alarm::{self, Alarm, AlarmKind},
    cluster::{ClusterAnswer, ClusterCommand, Limits},
    journal::{AuditLevel, AuditPolicy},
    kv::{Compact, DeleteRange, Put, Revision, Txn, TxnOp},
    lease::{LeaseGrant, LeaseId},
    quota, table,
};
use holdfast_keyspace::{KeyRange, Order, Read as _};

use crate::store::{Store, all_of, between, delete_op, one, pair, put_op, range_op};

const SPACE: Alarm = Alarm { member: 7, kind: AlarmKind::NoSpace };
const CORRUPT: Alarm = Alarm { member: 8, kind: AlarmKind::Corrupt };

fn raise(store: &mut Store, alarm: Alarm) {
    assert_eq!(store.cluster(ClusterCommand::AlarmRaise(alarm)), Ok(ClusterAnswer::Alarm(Some(alarm))));
}

fn clear(store: &mut Store, alarm: Alarm) -> Option<Alarm> {
    match store.cluster(ClusterCommand::AlarmClear(alarm)) {
        Ok(ClusterAnswer::Alarm(cleared)) => cleared,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_costs_what_etcd_says() {
    let put = |key, value| UserCommand::Put(pair(key, value));
    assert_eq!(quota::cost(&put("key", "value")), 256 + 8);
    assert_eq!(quota::cost(&UserCommand::LeaseGrant(LeaseGrant { id: LeaseId(1), ttl: 60, min_ttl: 2 })), 64);
    let delete = DeleteRange { keys: one("a"), prev_kv: false };
    assert_eq!(quota::cost(&UserCommand::DeleteRange(delete)), 0);
    assert_eq!(quota::cost(&UserCommand::Compact(Compact { revision: Revision(1) })), 0);
}

#[test]
fn a_transaction_costs_its_dearer_branch_nested_ones_included() {
    let inner = Txn { failure: vec![put_op("c", "333")], ..all_of([put_op("c", "1")]) };
    let txn = Txn {
        failure: vec![TxnOp::Txn(inner), put_op("a", "1"), delete_op(one("b"))],
        ..all_of([put_op("a", "1"), range_op(one("a"))])
    };
    assert_eq!(quota::cost(&UserCommand::Txn(txn)), (256 + 4) + (256 + 2));
    let reads = all_of([range_op(one("a")), delete_op(between("b", "c"))]);
    assert_eq!(quota::cost(&UserCommand::Txn(reads)), 0);
}

/// What the rows of the user keyspace are, counted one by one.
fn stored(store: &Store) -> u64 {
    let rows = [table::ROWS, table::INDEX];
    let pairs = rows.into_iter().flat_map(|table| store.state.scan(table, KeyRange::all(), Order::Ascending));
    pairs.map(|pair| pair.map(|(key, value)| (key.len() + value.len()) as u64).unwrap()).sum()
}

#[test]
fn the_size_is_that_of_the_rows_and_compaction_gives_it_back() {
    let mut store = Store::new();
    assert_eq!(quota::size(&store.state).unwrap(), 0);
    for n in 0..20 {
        store.set(&format!("k{}", n % 5), &"v".repeat(n));
    }
    store.txn(all_of([put_op("t", "1"), delete_op(one("k1"))])).unwrap();
    store.grant(9, 60).unwrap();
    store.put(Put { lease: LeaseId(9), ..pair("leased", "x") }).unwrap();
    let full = quota::size(&store.state).unwrap();
    assert_eq!(full, stored(&store) + 64);
    store.revoke(9).unwrap();
    store.delete(between("k", "l"));
    assert_eq!(quota::size(&store.state).unwrap(), stored(&store));
    let newest = store.revision().0;
    store.compact(newest).unwrap();
    store.remove_compacted(3);
    assert_eq!(quota::size(&store.state).unwrap(), stored(&store));
    assert!(stored(&store) < full / 4);
}

#[test]
fn without_space_only_what_needs_it_is_refused() {
    let mut store = Store::new();
    store.grant(1, 60).unwrap();
    store.put(Put { lease: LeaseId(1), ..pair("leased", "1") }).unwrap();
    store.set("a", "1");
    store.set("a", "2");
    raise(&mut store, SPACE);
    assert_eq!(store.put(pair("a", "3")), Err(UserError::NoSpace));
    assert_eq!(store.txn(all_of([put_op("a", "3")])), Err(UserError::NoSpace));
    // The branch with the put would not run; etcd does not look at that.
    let other = Txn { failure: vec![put_op("a", "3")], ..all_of([range_op(one("a"))]) };
    assert_eq!(store.txn(other), Err(UserError::NoSpace));
    assert_eq!(store.grant(2, 60), Err(UserError::NoSpace));
    assert_eq!(store.get("a").unwrap().value, "2");
    store.txn(all_of([range_op(one("a")), delete_op(one("none"))])).unwrap();
    store.compact(4).unwrap();
    store.revoke(1).unwrap();
    assert_eq!(store.delete(one("a")).deleted, 1);
    assert_eq!(clear(&mut store, SPACE), Some(SPACE));
    store.set("a", "3");
}

#[test]
fn of_a_corrupt_cluster_every_change_is_refused() {
    let mut store = Store::new();
    store.grant(1, 60).unwrap();
    store.set("a", "1");
    raise(&mut store, CORRUPT);
    raise(&mut store, SPACE);
    assert_eq!(store.put(pair("a", "2")), Err(UserError::Corrupt));
    assert_eq!(store.txn(all_of([delete_op(one("a"))])), Err(UserError::Corrupt));
    let delete = UserCommand::DeleteRange(DeleteRange { keys: one("a"), prev_kv: false });
    assert_eq!(store.user(delete), Err(UserError::Corrupt));
    assert_eq!(store.compact(2), Err(UserError::Corrupt));
    assert_eq!(store.grant(2, 60), Err(UserError::Corrupt));
    assert_eq!(store.revoke(1), Err(UserError::Corrupt));
}

#[test]
fn an_alarm_lasts_until_that_one_is_cleared() {
    let mut store = Store::audited(Limits::default(), AuditPolicy::all(AuditLevel::None));
    raise(&mut store, CORRUPT);
    assert_eq!(store.effects[0], Effect::AlarmsChanged);
    raise(&mut store, CORRUPT);
    assert_eq!(store.effects, []);
    raise(&mut store, SPACE);
    assert_eq!(alarm::alarms(&store.state).unwrap(), [SPACE, CORRUPT]);
    assert_eq!(clear(&mut store, Alarm { member: 9, ..CORRUPT }), None);
    assert_eq!(clear(&mut store, CORRUPT), Some(CORRUPT));
    assert_eq!(clear(&mut store, CORRUPT), None);
    assert_eq!(alarm::alarms(&store.state).unwrap(), [SPACE]);
    let actions: Vec<_> = store.journal().into_iter().map(|record| (record.action, record.resource)).collect();
    let told = |action: &str, resource: &str| (action.to_owned(), resource.to_owned());
    assert_eq!(
        actions[1..],
        [
            told("cluster.AlarmRaise", "alarm/8/Corrupt"),
            told("cluster.AlarmRaise", "alarm/7/NoSpace"),
            told("cluster.AlarmClear", "alarm/8/Corrupt"),
        ]
    );
}
