//! §2.5: what a compaction hides and what it leaves; HashKV of §2.9, which must not notice the removal.

use chainfire_core::{
    Effect, UserError,
    kv::{self, EventKind, KvHash, Put, Range, Revision},
    lease::LeaseId,
    table,
};
use holdfast_keyspace::{KeyRange, Order, Read};

use crate::store::{Store, all_of, between, bytes, delete_op, one, pair, put_op, refused};

/// The operations whose hashes were measured on etcd.
fn measured() -> Store {
    let mut store = Store::new();
    for n in 1..=5 {
        store.set(&format!("k{n}"), &format!("v{n}"));
    }
    store.set("k1", "again");
    store.delete(one("k2"));
    store.set("k2", "back");
    store.delete(one("k3"));
    assert_eq!(store.delete(one("k3")).deleted, 0);
    store.grant(77, 60).unwrap();
    store.put(Put { lease: LeaseId(77), ..pair("leased", "x") }).unwrap();
    store.txn(all_of([put_op("t1", "a"), put_op("t2", "b"), delete_op(one("k4"))])).unwrap();
    assert_eq!(store.revision(), Revision(12));
    store
}

fn hash(store: &Store, at: Option<i64>) -> Result<KvHash, UserError> {
    refused(kv::hash(&store.state, at.map(Revision)))
}

#[test]
fn hashes_equal_etcds_before_and_after_rows_are_removed() {
    let mut store = measured();
    let whole = hash(&store, None).unwrap();
    assert_eq!((whole.hash, whole.compacted, whole.revision), (193_403_643, None, Revision(12)));
    for (compact, expected) in [(8, 2_374_178_988), (10, 1_608_563_935)] {
        store.compact(compact).unwrap();
        let logical = hash(&store, None).unwrap();
        assert_eq!((logical.hash, logical.compacted), (expected, Some(Revision(compact))));
        assert!(kv::compaction_pending(&store.state).unwrap());
        assert!(store.remove_compacted(3) > 0);
        assert!(!kv::compaction_pending(&store.state).unwrap());
        assert_eq!(hash(&store, None), Ok(logical));
    }
}

#[test]
fn hashes_of_the_past_do_not_depend_on_the_removal() {
    let mut store = measured();
    store.compact(7).unwrap();
    let before: Vec<_> = (7..=12).map(|at| hash(&store, Some(at)).unwrap()).collect();
    store.remove_compacted(1);
    let after: Vec<_> = (7..=12).map(|at| hash(&store, Some(at)).unwrap()).collect();
    assert_eq!(before, after);
    assert_eq!(hash(&store, Some(6)), Err(UserError::Compacted));
    assert_eq!(hash(&store, Some(13)), Err(UserError::FutureRevision));
}

/// §2.9: before the first revision there is nothing, and that is never compacted.
#[test]
fn a_negative_revision_hashes_nothing() {
    let mut store = measured();
    store.compact(8).unwrap();
    let nothing = hash(&store, Some(-1)).unwrap();
    assert_eq!((nothing.hash, nothing.revision, nothing.compacted), (1_084_519_789, Revision(-1), Some(Revision(8))));
}

#[test]
fn a_store_without_live_keys_hashes_alike_before_and_after_the_removal() {
    let mut store = Store::new();
    store.set("a", "1");
    store.set("a", "2");
    store.delete(one("a"));
    store.compact(3).unwrap();
    let before = hash(&store, None).unwrap();
    assert_eq!(store.remove_compacted(1), 1);
    assert_eq!(hash(&store, None).unwrap(), before);
    store.compact(4).unwrap();
    let before = hash(&store, None).unwrap();
    store.remove_compacted(1);
    assert_eq!(hash(&store, None).unwrap(), before);
}

#[test]
fn minus_1_is_refused_the_first_0_accepted_the_same_again_refused() {
    let mut store = Store::new();
    assert_eq!(store.compact(-1), Err(UserError::Compacted));
    assert_eq!(store.compact(0), Ok(()));
    assert_eq!(store.compact(0), Err(UserError::Compacted));
    assert_eq!(store.compact(2), Err(UserError::FutureRevision));
    store.set("a", "1");
    assert_eq!(store.compact(2), Ok(()));
    assert_eq!(store.effects, [Effect::Compacted(Revision(2))]);
    assert_eq!(store.compact(2), Err(UserError::Compacted));
    assert_eq!(store.compact(1), Err(UserError::Compacted));
}

#[test]
fn the_newest_version_survives_and_a_deletion_exactly_at_the_revision_is_still_seen() {
    let mut store = Store::new();
    store.set("a", "1");
    store.set("a", "2");
    store.set("b", "1");
    store.delete(one("b"));
    store.set("c", "1");
    store.compact(5).unwrap();
    store.remove_compacted(100);
    let all = store.range(&Range { at: Some(Revision(5)), ..Range::of(between("a", "z")) }).unwrap();
    assert_eq!((all.count, all.kvs[0].value.clone()), (1, bytes("2")));
    let history = refused(kv::history(&store.state, Revision(5), Revision::MAX, usize::MAX, true)).unwrap();
    assert_eq!(history.revisions[0].revision, Revision(5));
    assert_eq!(history.revisions[0].events[0].kind, EventKind::Delete);
    assert_eq!(history.revisions[0].events[0].prev_kv, None, "its revision is compacted");
    assert_eq!(
        refused(kv::history(&store.state, Revision(4), Revision::MAX, usize::MAX, false)),
        Err(UserError::Compacted)
    );
    // The next compaction drops that deletion.
    store.compact(6).unwrap();
    store.remove_compacted(100);
    assert_eq!(rows(&store), 2);
}

#[test]
fn removal_in_steps_ends_where_one_step_ends_even_if_compactions_overlap() {
    let fill = || {
        let mut store = Store::new();
        for round in 0..6 {
            for key in ["a", "b", "c", "d"] {
                store.set(key, &round.to_string());
            }
            store.delete(one("b"));
        }
        store
    };
    let mut at_once = fill();
    at_once.compact(25).unwrap();
    at_once.remove_compacted(1_000);

    let mut stepwise = fill();
    stepwise.compact(10).unwrap();
    for _ in 0..7 {
        stepwise.cluster(chainfire_core::cluster::ClusterCommand::CompactStep { rows: 1 }).unwrap();
    }
    stepwise.compact(25).unwrap();
    stepwise.remove_compacted(1);
    for table in [table::ROWS, table::INDEX] {
        let rows =
            |store: &Store| store.state.scan(table, KeyRange::all(), Order::Ascending).flatten().collect::<Vec<_>>();
        assert_eq!(rows(&at_once), rows(&stepwise));
    }
    assert_eq!(stepwise.remove_compacted(10), 0);
}

fn rows(store: &Store) -> usize {
    store.state.scan(table::ROWS, KeyRange::all(), Order::Ascending).count()
}
