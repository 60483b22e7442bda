//! §2.4: compares, operations, and what is checked before anything is written.

use chainfire_core::{
    UserError,
    kv::{
        self, Compare, Keys, OpAnswer, Operand, Put, Range, Relation, Revision, Txn, TxnOp, check_txn, is_read_only,
        read_txn,
    },
    lease::LeaseId,
};

use crate::store::{
    Store, all_of, anything, between, bytes, compare, delete_op, keys_of, one, pair, put_op, range_op, refused,
};

fn holds(store: &mut Store, condition: Compare) -> bool {
    store.txn(Txn { compare: vec![condition], ..Txn::default() }).unwrap().succeeded
}

#[test]
fn a_missing_key_compares_as_zero_but_never_by_value() {
    let mut store = Store::new();
    for operand in
        [Operand::Version(0), Operand::Create(Revision(0)), Operand::Mod(Revision(0)), Operand::Lease(LeaseId(0))]
    {
        assert!(holds(&mut store, compare(one("a"), Relation::Equal, operand.clone())));
        assert!(!holds(&mut store, compare(one("a"), Relation::NotEqual, operand)));
    }
    for relation in [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater] {
        assert!(!holds(&mut store, compare(one("a"), relation, Operand::Value(bytes("")))));
        assert!(!holds(&mut store, compare(one("a"), relation, Operand::Value(bytes("x")))));
    }
}

#[test]
fn compares_are_a_conjunction_and_none_at_all_hold() {
    let mut store = Store::new();
    let absent = |holds: bool| compare(one("a"), Relation::Equal, Operand::Version(i64::from(!holds)));
    for (compares, expected) in [
        (vec![], true),
        (vec![absent(true), absent(true)], true),
        (vec![absent(true), absent(false)], false),
        (vec![absent(false), absent(true)], false),
    ] {
        let answer = store.txn(Txn { compare: compares, ..Txn::default() }).unwrap();
        assert_eq!(answer.succeeded, expected);
    }
}

/// §2.4: an unknown relation holds for whatever is compared, and of an unknown target everything is equal.
#[test]
fn unknown_relations_hold_and_unknown_targets_are_equal() {
    let mut store = Store::new();
    assert!(holds(&mut store, compare(one("a"), Relation::Any, Operand::Version(9))));
    assert!(holds(&mut store, compare(one("a"), Relation::Equal, Operand::Unknown)));
    assert!(!holds(&mut store, compare(one("a"), Relation::Less, Operand::Unknown)));
    // What does not exist has no value, and so nothing holds for it.
    assert!(!holds(&mut store, compare(one("a"), Relation::Any, Operand::Value("".into()))));
    store.set("a", "1");
    assert!(holds(&mut store, compare(one("a"), Relation::Any, Operand::Value("2".into()))));
}

#[test]
fn compares_relate_the_stored_to_the_given() {
    let mut store = Store::new();
    store.set("a", "m");
    assert!(holds(&mut store, compare(one("a"), Relation::Greater, Operand::Value(bytes("l")))));
    assert!(holds(&mut store, compare(one("a"), Relation::Less, Operand::Value(bytes("n")))));
    assert!(holds(&mut store, compare(one("a"), Relation::Less, Operand::Mod(Revision(3)))));
    assert!(!holds(&mut store, compare(one("a"), Relation::Greater, Operand::Create(Revision(2)))));
}

#[test]
fn a_range_compare_holds_for_every_key_and_an_empty_one_is_a_missing_key() {
    let mut store = Store::new();
    store.set("a/1", "x");
    store.set("a/2", "x");
    let same = |keys: Keys, value: &str| compare(keys, Relation::Equal, Operand::Value(bytes(value)));
    assert!(holds(&mut store, same(between("a/", "a0"), "x")));
    store.set("a/2", "y");
    assert!(!holds(&mut store, same(between("a/", "a0"), "x")));
    assert!(holds(&mut store, compare(between("b/", "b0"), Relation::Equal, Operand::Version(0))));
    assert!(!holds(&mut store, same(between("b/", "b0"), "")));
}

#[test]
fn compares_see_the_state_before_even_nested_ones() {
    let mut store = Store::new();
    let nested = Txn {
        compare: vec![compare(one("a"), Relation::Equal, Operand::Version(0))],
        success: vec![put_op("seen", "before")],
        failure: vec![put_op("seen", "after")],
    };
    store.txn(all_of([put_op("a", "1"), TxnOp::Txn(nested)])).unwrap();
    assert_eq!(store.get("seen").unwrap().value, bytes("before"));
}

#[test]
fn a_branch_that_changes_nothing_keeps_the_revision() {
    let mut store = Store::new();
    store.set("a", "1");
    let idle = all_of([delete_op(one("missing")), TxnOp::Txn(all_of([range_op(one("a"))]))]);
    assert_eq!(store.txn(idle).unwrap().revision, Revision(2));
    let other = Txn { failure: vec![range_op(one("a"))], ..all_of([put_op("a", "2")]) };
    let never = vec![compare(one("a"), Relation::Equal, Operand::Version(9))];
    assert_eq!(store.txn(Txn { compare: never, ..other }).unwrap().revision, Revision(2));
    assert_eq!(store.set("a", "2"), 3);
}

#[test]
fn ranges_see_earlier_operations_at_the_new_revision() {
    let mut store = Store::new();
    store.set("a", "old");
    let answer = store.txn(all_of([range_op(one("a")), put_op("a", "new"), range_op(one("a"))])).unwrap();
    let [OpAnswer::Range(before), OpAnswer::Put(put), OpAnswer::Range(after)] = answer.responses.as_slice() else {
        panic!("{answer:?}");
    };
    assert_eq!((before.revision, before.kvs[0].value.clone()), (Revision(2), bytes("old")));
    assert_eq!(put.revision, Revision(3));
    assert_eq!((after.revision, after.kvs[0].value.clone()), (Revision(3), bytes("new")));
    assert_eq!(after.kvs[0].mod_revision, Revision(3));
}

#[test]
fn a_failing_check_anywhere_on_the_path_rejects_the_whole() {
    let mut store = Store::new();
    store.set("a", "1");
    store.compact(2).unwrap();
    store.set("a", "2");
    let at = |revision| TxnOp::Range(Range { at: Some(Revision(revision)), ..Range::of(one("a")) });
    let bad = [
        (TxnOp::Put(Put { lease: LeaseId(9), ..pair("b", "1") }), UserError::LeaseNotFound),
        (TxnOp::Put(Put { ignore_value: true, ..pair("b", "") }), UserError::KeyNotFound),
        (TxnOp::Put(Put { ignore_value: true, ..pair("b", "x") }), UserError::ValueProvided),
        (at(1), UserError::Compacted),
        (at(4), UserError::FutureRevision),
        (put_op("", "x"), UserError::KeyNotProvided),
    ];
    for (op, error) in bad {
        assert_eq!(store.txn(all_of([put_op("c", "1"), op.clone()])), Err(error));
        let nested = TxnOp::Txn(all_of([op.clone()]));
        assert_eq!(store.txn(all_of([put_op("c", "1"), nested])), Err(error));
        // Checks of the state are only for the branch that is taken.
        if matches!(error, UserError::LeaseNotFound | UserError::KeyNotFound | UserError::Compacted) {
            let other = Txn { failure: vec![op], ..all_of([range_op(one("a"))]) };
            assert!(store.txn(other).is_ok());
        }
    }
    assert_eq!(store.get("c"), None);
}

#[test]
fn a_branch_may_delete_twice_but_not_put_twice_or_put_and_delete() {
    let put = || put_op("a", "1");
    let delete = || delete_op(one("a"));
    let legal = [
        all_of([delete(), delete_op(between("a", "b"))]),
        Txn { failure: vec![delete()], ..all_of([put()]) },
        all_of([TxnOp::Txn(Txn { failure: vec![put()], ..all_of([put()]) })]),
        all_of([put(), delete_op(between("b", "a"))]),
    ];
    let illegal = [
        all_of([put(), put()]),
        all_of([put(), delete()]),
        all_of([delete_op(between("a", "\0")), put()]),
        all_of([put(), TxnOp::Txn(all_of([put()]))]),
        all_of([TxnOp::Txn(all_of([delete()])), put()]),
        all_of([TxnOp::Txn(all_of([put()])), TxnOp::Txn(Txn { failure: vec![put()], ..Txn::default() })]),
        Txn { failure: vec![put(), put()], ..Txn::default() },
    ];
    for txn in legal {
        assert_eq!(check_txn(&txn, 128), Ok(()), "{txn:?}");
    }
    for txn in illegal {
        assert_eq!(check_txn(&txn, 128), Err(UserError::DuplicateKey), "{txn:?}");
        assert_eq!(Store::new().txn(txn), Err(UserError::DuplicateKey));
    }
}

#[test]
fn nested_transactions_share_what_the_outer_leaves_of_the_budget() {
    let inner = |count: usize| TxnOp::Txn(all_of(vec![range_op(one("a")); count]));
    let outer = |count| all_of([range_op(one("a")), inner(count)]);
    assert_eq!(check_txn(&outer(2), 4), Ok(()));
    assert_eq!(check_txn(&outer(3), 4), Err(UserError::TooManyOps));
    // Each list has the whole budget for itself.
    let compares = |count| vec![compare(one("a"), Relation::Equal, Operand::Version(0)); count];
    let ranges = |count| vec![range_op(one("a")); count];
    let lists = |compared, then, otherwise| Txn {
        compare: compares(compared),
        success: ranges(then),
        failure: ranges(otherwise),
    };
    assert_eq!(check_txn(&lists(4, 4, 4), 4), Ok(()));
    for one_more in [lists(5, 0, 0), lists(0, 5, 0), lists(0, 0, 5)] {
        assert_eq!(check_txn(&one_more, 4), Err(UserError::TooManyOps));
    }
    let empty = compare(one(""), Relation::Equal, Operand::Version(0));
    assert_eq!(check_txn(&Txn { compare: vec![empty], ..Txn::default() }, 4), Err(UserError::KeyNotProvided));
}

#[test]
fn a_read_only_transaction_needs_no_log() {
    let mut store = Store::new();
    store.set("a", "1");
    let txn = Txn {
        compare: vec![compare(one("a"), Relation::Equal, Operand::Version(1))],
        success: vec![range_op(between("a", "z"))],
        failure: vec![],
    };
    assert!(is_read_only(&txn) && !is_read_only(&all_of([TxnOp::Txn(txn.clone())])));
    let answer = read_txn(&store.state, &txn, &mut anything).unwrap();
    let [OpAnswer::Range(range)] = answer.responses.as_slice() else { panic!("{answer:?}") };
    assert_eq!((answer.succeeded, keys_of(range), answer.revision), (true, vec!["a"], Revision(2)));
    assert_eq!(store.txn(txn).unwrap(), answer);
    assert!(read_txn(&store.state, &all_of([put_op("a", "2")]), &mut anything).is_err());
}

/// §2.4: outside a transaction a negative revision is the newest one; inside it is one that was before everything.
#[test]
fn a_negative_revision_inside_a_transaction_is_compacted_once_anything_is() {
    let mut store = Store::new();
    store.set("a", "1");
    let at = |revision| all_of([TxnOp::Range(Range { at: Some(Revision(revision)), ..Range::of(one("a")) })]);
    assert!(store.txn(at(-1)).is_ok());
    assert_eq!(store.txn(at(-2)), Err(UserError::Compacted));
    store.compact(1).unwrap();
    assert_eq!(store.txn(at(-1)), Err(UserError::Compacted));
    assert_eq!(refused(read_txn(&store.state, &at(-1), &mut anything)), Err(UserError::Compacted));
}

/// §2.4: with both faults, a put alone is refused for its lease and a put in a transaction for its key.
#[test]
fn a_put_in_a_transaction_is_checked_for_its_key_first() {
    let mut store = Store::new();
    let put = Put { lease: LeaseId(404), ignore_value: true, ..pair("a", "") };
    assert_eq!(store.put(put.clone()), Err(UserError::LeaseNotFound));
    assert_eq!(store.txn(all_of([TxnOp::Put(put)])), Err(UserError::KeyNotFound));
}

/// Every member reads what a transaction in the log reads, and again when it starts.
#[test]
fn a_transaction_that_would_answer_without_bounds_is_refused_and_changes_nothing() {
    let mut store = Store::new();
    store.set("big", &"x".repeat(1 << 20));
    let reads = |count| vec![range_op(one("big")); count];
    let txn = |count| all_of([vec![put_op("a", "1")], reads(count)].concat());
    assert_eq!(store.txn(txn(128)), Err(UserError::AnswerTooLarge));
    assert_eq!(store.get("a"), None);
    let nested = all_of([put_op("a", "1"), TxnOp::Txn(all_of(reads(64))), TxnOp::Txn(all_of(reads(64)))]);
    assert_eq!(store.txn(nested), Err(UserError::AnswerTooLarge));
    assert!(store.txn(txn(100)).is_ok());
    assert!(store.get("a").is_some());
}

/// To look through much takes as long whether anything is answered or not.
#[test]
fn a_transaction_that_would_look_at_everything_again_and_again_is_refused() {
    let mut store = Store::new();
    for key in 0..1_000 {
        store.set(&key.to_string(), "x");
    }
    store.delete(between("\0", "\0"));
    let everything = || between("\0", "\0");
    let count = TxnOp::Range(Range { count_only: true, ..Range::of(everything()) });
    let same = compare(everything(), Relation::Equal, Operand::Version(0));
    for txn in [
        all_of([vec![put_op("a", "1")], vec![count; 2_200]].concat()),
        Txn { compare: vec![same; 2_200], ..all_of([put_op("a", "1")]) },
    ] {
        assert_eq!(store.txn(txn), Err(UserError::AnswerTooLarge));
    }
}

#[test]
fn transactions_side_by_side_do_not_multiply_without_bounds() {
    let inner = || TxnOp::Txn(all_of(vec![range_op(one("a")); 64]));
    assert_eq!(check_txn(&all_of(vec![inner(); 31]), 128), Ok(()));
    assert_eq!(check_txn(&all_of(vec![inner(); 32]), 128), Err(UserError::TooManyOps));
}

/// What a server has in memory for all its callers is bounded, too: short answers are free, longer ones need an agreement
/// for each further part.
#[test]
fn a_read_ends_where_nobody_agrees_to_more() {
    let mut store = Store::new();
    for key in 0..1_000 {
        store.set(&format!("{key:04}"), &"x".repeat(1_000));
    }
    let first = |limit| Range { limit, ..Range::of(between("0", "9")) };
    let mut never = |_| false;
    assert_eq!(kv::range(&store.state, &first(10), &mut never).unwrap().kvs.len(), 10);
    assert_eq!(refused(kv::range(&store.state, &first(20), &mut never)), Err(UserError::TooManyRequests));
    let txn = all_of([TxnOp::Range(first(10)), TxnOp::Range(first(10))]);
    assert_eq!(refused(read_txn(&store.state, &txn, &mut never)), Err(UserError::TooManyRequests));

    let mut agreed = 0;
    let mut at_most = |bytes| {
        agreed += bytes;
        agreed <= 500_000
    };
    assert_eq!(refused(kv::range(&store.state, &first(0), &mut at_most)), Err(UserError::TooManyRequests));
    assert!((500_000..700_000).contains(&agreed), "{agreed}");
}
