use chainfire_core::{
    Effect,
    cluster::Limits,
    journal::{AuditPolicy, Outcome},
    kv::Revision,
    system::{Expect, Guard, SystemAnswer, SystemCommand, SystemOp, SystemTxn, TxnAnswer, current_revision, get, list},
};

use crate::store::Store;

fn put(key: &str, value: &str) -> SystemOp {
    SystemOp::Put { key: key.into(), value: value.into() }
}

fn delete(key: &str) -> SystemOp {
    SystemOp::Delete { key: key.into() }
}

fn guard(key: &str, expect: Expect) -> Guard {
    Guard { key: key.into(), expect }
}

fn commit(store: &mut Store, guards: &[Guard], ops: &[SystemOp]) -> TxnAnswer {
    let txn = SystemTxn {
        guards: guards.to_vec(),
        ops: ops.to_vec(),
        action: "iam.Test".into(),
        resource: "principal/mira".into(),
    };
    match store.system(SystemCommand::Txn(txn)).unwrap() {
        SystemAnswer::Txn(answer) => answer,
        SystemAnswer::Lock(answer) => panic!("{answer:?}"),
    }
}

#[test]
fn all_guards_hold_and_all_changes_happen_or_nothing_does() {
    let mut store = Store::digesting();
    let done = |revision| TxnAnswer::Committed { revision };
    assert_eq!(commit(&mut store, &[guard("a", Expect::Absent)], &[put("a", "1"), put("b", "1")]), done(1));
    assert_eq!(store.effects[0], Effect::SystemChanged { revision: 1 });
    assert_eq!(commit(&mut store, &[guard("a", Expect::Revision(1))], &[put("a", "2")]), done(2));
    let before = list(&store.state, b"", None, 10).unwrap();
    let conflicts = [
        ([guard("a", Expect::Absent), guard("b", Expect::Present)], "a", Some(2)),
        ([guard("b", Expect::Present), guard("a", Expect::Revision(1))], "a", Some(2)),
        ([guard("b", Expect::Revision(1)), guard("c", Expect::Present)], "c", None),
    ];
    for (guards, key, found) in conflicts {
        let answer = commit(&mut store, &guards, &[put("a", "x"), delete("b")]);
        assert_eq!(answer, TxnAnswer::Conflict { key: key.into(), found });
    }
    assert_eq!(list(&store.state, b"", None, 10).unwrap(), before);
    assert_eq!(current_revision(&store.state).unwrap(), 2);
}

#[test]
fn the_user_keyspace_does_not_notice() {
    let mut store = Store::digesting();
    commit(&mut store, &[], &[put("a", "1")]);
    assert_eq!(store.revision(), Revision(1));
    assert_eq!(store.get("a"), None);
}

#[test]
fn what_changes_nothing_makes_no_revision_but_leaves_a_note() {
    let mut store = Store::digesting();
    let records = store.journal().len();
    assert_eq!(commit(&mut store, &[], &[]), TxnAnswer::Committed { revision: 0 });
    assert_eq!(commit(&mut store, &[], &[delete("missing")]), TxnAnswer::Committed { revision: 0 });
    assert_eq!(store.journal().len(), records + 2);
    assert!(!store.effects.iter().any(|effect| matches!(effect, Effect::SystemChanged { .. })));
}

#[test]
fn the_last_operation_on_a_key_decides() {
    let mut store = Store::digesting();
    commit(&mut store, &[], &[put("a", "1"), put("a", "2"), put("b", "1"), delete("b")]);
    assert_eq!(get(&store.state, b"a").unwrap().unwrap().value, b"2");
    assert_eq!(get(&store.state, b"b").unwrap(), None);
}

#[test]
fn the_quota_refuses_growth_only() {
    let mut store = Store::audited(Limits { system_bytes: 200, ..Limits::default() }, AuditPolicy::default());
    assert_eq!(commit(&mut store, &[], &[put("a", &"x".repeat(100))]), TxnAnswer::Committed { revision: 1 });
    let big = "x".repeat(200);
    assert_eq!(commit(&mut store, &[], &[put("b", &big)]), TxnAnswer::QuotaExceeded);
    assert!(matches!(store.journal().last().unwrap().outcome, Outcome::Refused(_)));
    assert_eq!(commit(&mut store, &[], &[put("a", "x")]), TxnAnswer::Committed { revision: 2 });
    assert_eq!(commit(&mut store, &[], &[put("b", &"x".repeat(100))]), TxnAnswer::Committed { revision: 3 });
    assert_eq!(commit(&mut store, &[], &[delete("a"), delete("b")]), TxnAnswer::Committed { revision: 4 });
    assert_eq!(commit(&mut store, &[], &[put("b", &"x".repeat(150))]), TxnAnswer::Committed { revision: 5 });
}

#[test]
fn listings_are_paged() {
    let mut store = Store::digesting();
    commit(&mut store, &[], &[put("p/1", ""), put("p/2", ""), put("p/3", ""), put("q", "")]);
    let keys = |after: Option<&[u8]>, limit| {
        let page = list(&store.state, b"p/", after, limit).unwrap();
        let keys: Vec<_> = page.records.into_iter().map(|record| String::from_utf8(record.key).unwrap()).collect();
        (keys.join(" "), page.more)
    };
    assert_eq!(keys(None, 2), ("p/1 p/2".into(), true));
    assert_eq!(keys(Some(b"p/2"), 2), ("p/3".into(), false));
    assert_eq!(keys(Some(b"p/3"), 2), (String::new(), false));
    assert_eq!(keys(Some(b"a"), 9), ("p/1 p/2 p/3".into(), false));
    assert_eq!(keys(None, 0), (String::new(), true));
}
