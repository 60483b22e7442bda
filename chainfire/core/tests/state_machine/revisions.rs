//! §2.1: what advances the revision, and what carries it.

use chainfire_core::{
    UserCommand,
    kv::{self, DeleteRange, EventKind, KeyValue, Revision, Txn},
};

use crate::store::{Store, all_of, between, bytes, one, put_op};

#[test]
fn a_fresh_store_is_at_revision_1_and_the_first_write_becomes_2() {
    let mut store = Store::new();
    assert_eq!(store.revision(), Revision(1));
    assert_eq!(store.set("a", "1"), 2);
}

#[test]
fn what_changes_no_key_does_not_advance() {
    let mut store = Store::new();
    store.set("a", "1");
    assert_eq!(store.delete(one("missing")).revision, Revision(2));
    assert_eq!(store.txn(Txn::default()).unwrap().revision, Revision(2));
    store.grant(7, 10).unwrap();
    store.compact(2).unwrap();
    store.remove_compacted(10);
    store.revoke(7).unwrap();
    assert_eq!(store.revision(), Revision(2));
    assert_eq!(store.set("a", "2"), 3);
}

#[test]
fn a_transaction_shares_one_main_and_its_changes_are_one_whole_revision() {
    let mut store = Store::new();
    store.set("c", "0");
    let answer = store.txn(all_of([put_op("a", "1"), put_op("b", "2"), crate::store::delete_op(one("c"))])).unwrap();
    assert_eq!(answer.revision, Revision(3));
    let changed = store.changed();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].revision, Revision(3));
    let kinds: Vec<_> = changed[0].events.iter().map(|event| (event.kind, event.kv.mod_revision.0)).collect();
    assert_eq!(kinds, [(EventKind::Put, 3), (EventKind::Put, 3), (EventKind::Delete, 3)]);
}

#[test]
fn a_deletions_pair_is_only_key_and_mod_revision() {
    let mut store = Store::new();
    store.set("a", "1");
    store.user(UserCommand::DeleteRange(DeleteRange { keys: one("a"), prev_kv: false })).unwrap();
    let event = store.changed().remove(0).events.remove(0);
    assert_eq!(event.kv, KeyValue { key: bytes("a"), mod_revision: Revision(3), ..KeyValue::default() });
    assert_eq!(event.prev_kv.unwrap().value, bytes("1"));
}

#[test]
fn the_version_counts_puts_and_begins_again_after_a_deletion() {
    let mut store = Store::new();
    store.set("a", "1");
    store.set("a", "2");
    let kv = store.get("a").unwrap();
    assert_eq!((kv.version, kv.create_revision, kv.mod_revision), (2, Revision(2), Revision(3)));
    store.delete(one("a"));
    store.set("a", "3");
    let kv = store.get("a").unwrap();
    assert_eq!((kv.version, kv.create_revision, kv.mod_revision), (1, Revision(5), Revision(5)));
}

#[test]
fn history_tells_what_effects_told() {
    let mut store = Store::new();
    let mut told = Vec::new();
    for step in 0..6 {
        match step {
            0..3 => drop(store.set("a", &step.to_string())),
            3 => drop(store.delete(between("a", "z"))),
            _ => drop(store.txn(all_of([put_op("a", "x"), put_op("b", &step.to_string())])).unwrap()),
        }
        told.extend(store.changed());
    }
    let read = |from, upto, bytes| kv::history(&store.state, Revision(from), Revision(upto), bytes, true).unwrap();
    let all = read(1, i64::MAX, usize::MAX);
    assert_eq!(all.revisions, told);
    assert_eq!(all.next, Revision(8));
    // Bounded pieces: at least one revision each, always whole, nothing lost between them.
    let mut from = 1;
    let mut pieces = Vec::new();
    while from < 8 {
        let piece = read(from, i64::MAX, 1);
        assert!(piece.revisions.len() <= 1);
        pieces.extend(piece.revisions);
        from = piece.next.0;
    }
    assert_eq!(pieces, told);
    assert_eq!(read(3, 4, usize::MAX).revisions, told[1..3]);
    assert_eq!(read(9, 20, usize::MAX).revisions, []);
}
