//! §2.10: what users may do with keys, judged when their commands are applied.

use bytes::Bytes;
use chainfire_core::{
    Origin, UserError,
    auth::{Demand, Judge, KeyAccess, Permission, PermissionKind},
    kv::{DeleteRange, Keys, Operand, Put, Relation, Txn, TxnOp},
    lease::LeaseId,
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    auth::{grant, grant_role, role_add, user_add},
    store::{Store, all_of, between, bytes, compare, delete_op, one, pair, put_op, range_op, refused},
};

/// `a` may read `r/`, write `w/` and both `rw/`.
fn store() -> Store {
    Store::guarded(&[
        user_add("a"),
        role_add("role"),
        grant_role("a", "role"),
        grant("role", PermissionKind::Read, "r/", "r0"),
        grant("role", PermissionKind::Write, "w/", "w0"),
        grant("role", PermissionKind::ReadWrite, "rw/", "rw0"),
    ])
}

fn as_a() -> Store {
    let mut store = store();
    store.become_user("a");
    store
}

fn may(store: &Store, access: KeyAccess, keys: &Keys) -> bool {
    let judge = Judge::new(&store.state, &store.origin).unwrap();
    refused(judge.allows(&store.state, Demand::Keys(access, keys))).is_ok()
}

const DENIED: UserError = UserError::PermissionDenied;

#[test]
fn nobody_may_do_anything() {
    let mut store = store();
    assert_eq!(store.put(pair("rw/k", "v")), Err(UserError::UserEmpty));
    assert_eq!(store.txn(Txn::default()).map(|answer| answer.succeeded), Ok(true), "it touches nothing");
    assert_eq!(store.grant(7, 60), Err(UserError::UserEmpty));
    assert_eq!(store.revoke(7), Err(UserError::UserEmpty));
    assert_eq!(store.compact(1), Err(UserError::UserEmpty));
}

#[test]
fn root_may_do_everything() {
    let mut store = store();
    store.become_user("root");
    store.set("any", "v");
    store.delete(between("\0", "\0"));
    store.grant(7, 60).unwrap();
    store.revoke(7).unwrap();
    store.compact(2).unwrap();
}

#[test]
fn an_older_revision_is_refused_whatever_the_rights() {
    for user in ["a", "root"] {
        let mut store = store();
        store.become_user(user);
        store.set("rw/k", "v");
        let old = store.origin.clone();
        store.become_user("root");
        store.auth(role_add("other")).unwrap();
        store.origin = old;
        assert_eq!(store.put(pair("rw/k", "v")), Err(UserError::AuthOldRevision));
        assert_eq!(store.txn(all_of([put_op("rw/k", "v")])), Err(UserError::AuthOldRevision));
        // A lease without keys needs no rights on any.
        store.grant(7, 60).unwrap();
        store.revoke(7).unwrap();
    }
}

#[test]
fn a_user_that_is_gone_has_no_rights() {
    let mut store = as_a();
    store.origin = Origin::etcd_user("b", store.status().revision, None, "r");
    assert_eq!(store.put(pair("rw/k", "v")), Err(DENIED));
    assert_eq!(store.compact(1), Err(DENIED));
}

#[test]
fn puts_write_and_show_what_was_there() {
    let mut store = as_a();
    store.set("w/k", "v");
    assert_eq!(store.put(pair("r/k", "v")), Err(DENIED));
    assert_eq!(store.put(Put { prev_kv: true, ..pair("w/k", "v") }), Err(DENIED));
    store.put(Put { prev_kv: true, ..pair("rw/k", "v") }).unwrap();
}

#[test]
fn deletions_write_all_keys_between() {
    let mut store = as_a();
    let delete = |keys, prev_kv| all_of([TxnOp::DeleteRange(DeleteRange { keys, prev_kv })]);
    store.txn(delete(between("w/", "w0"), false)).unwrap();
    assert_eq!(store.txn(delete(between("w/", "w1"), false)), Err(DENIED));
    assert_eq!(store.txn(delete(between("w/", "\0"), false)), Err(DENIED));
    assert_eq!(store.txn(delete(one("w/k"), true)), Err(DENIED));
    store.txn(delete(one("rw/k"), true)).unwrap();
}

#[test]
fn transactions_need_rights_for_both_branches_and_everything_nested() {
    let mut store = as_a();
    let nested = |op: TxnOp| all_of([TxnOp::Txn(Txn { failure: vec![op], ..Txn::default() })]);
    store.txn(nested(put_op("w/k", "v"))).unwrap();
    for hidden in [
        put_op("r/k", "v"),
        range_op(one("w/k")),
        delete_op(one("r/k")),
        TxnOp::Put(Put { prev_kv: true, ..pair("w/k", "v") }),
    ] {
        assert_eq!(store.txn(nested(hidden)), Err(DENIED));
    }
    let condition = |key| vec![compare(one(key), Relation::Equal, Operand::Version(0))];
    store.txn(Txn { compare: condition("r/k"), ..Txn::default() }).unwrap();
    assert_eq!(store.txn(Txn { compare: condition("w/k"), ..Txn::default() }), Err(DENIED));
}

#[test]
fn a_lease_belongs_to_who_may_write_all_its_keys() {
    let mut store = as_a();
    let join = |key| Put { lease: LeaseId(7), ..pair(key, "v") };
    store.grant(7, 60).unwrap();
    store.put(join("w/k")).unwrap();
    store.become_user("root");
    store.put(join("r/k")).unwrap();
    store.become_user("a");
    assert_eq!(store.put(join("w/l")), Err(DENIED));
    assert_eq!(store.txn(all_of([TxnOp::Txn(all_of([TxnOp::Put(join("w/l"))]))])), Err(DENIED));
    assert_eq!(store.revoke(7), Err(DENIED));
    store.become_user("root");
    store.revoke(7).unwrap();
}

#[test]
fn only_root_compacts() {
    let mut store = as_a();
    assert_eq!(store.compact(1), Err(DENIED));
}

#[test]
fn neighbouring_permissions_of_several_roles_count_as_one() {
    let mut store = Store::guarded(&[
        user_add("a"),
        role_add("one"),
        role_add("two"),
        grant_role("a", "one"),
        grant_role("a", "two"),
        grant("one", PermissionKind::Read, "a", "c"),
        grant("two", PermissionKind::ReadWrite, "c", "e"),
        grant("one", PermissionKind::Read, "e", ""),
    ]);
    store.become_user("a");
    assert!(may(&store, KeyAccess::Read, &between("a", "e")));
    assert!(may(&store, KeyAccess::Read, &between("b", "e\0")));
    assert!(!may(&store, KeyAccess::Read, &between("b", "e\u{1}")));
    assert!(!may(&store, KeyAccess::Write, &between("b", "e")));
    assert!(may(&store, KeyAccess::Read, &one("e")) && !may(&store, KeyAccess::Read, &one("ee")));
}

#[test]
fn a_permission_without_end_reaches_over_everything_after() {
    let mut store = Store::guarded(&[
        user_add("a"),
        role_add("role"),
        grant_role("a", "role"),
        grant("role", PermissionKind::Read, "b", "\0"),
    ]);
    store.become_user("a");
    assert!(may(&store, KeyAccess::Read, &between("c", "\0")));
    assert!(may(&store, KeyAccess::Read, &one("z")));
    assert!(!may(&store, KeyAccess::Read, &between("\0", "\0")));
}

/// Keys of one to `longest` of three bytes.
fn key(longest: usize) -> impl Strategy<Value = Bytes> {
    vec(0..3_u8, 1..=longest).prop_map(Bytes::from)
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![Just(Bytes::new()), Just(Bytes::from_static(&[0])), key(2)]
}

fn permission() -> impl Strategy<Value = Permission> {
    let kinds = select(vec![PermissionKind::Read, PermissionKind::Write, PermissionKind::ReadWrite]);
    let permission = (kinds, key(2), range_end());
    permission
        .prop_map(|(kind, key, range_end)| Permission { kind, key, range_end })
        .prop_filter("nothing is inside", Permission::is_valid)
}

/// All keys of up to three bytes: every end of a range above, and what comes right after it, is among them.
fn all_keys() -> Vec<Vec<u8>> {
    let mut keys = vec![Vec::new()];
    let mut from = 0;
    for _ in 0..3 {
        let longer = keys[from..].iter().flat_map(|key: &Vec<u8>| (0..3).map(move |next| [key, &[next][..]].concat()));
        let longer: Vec<_> = longer.collect();
        from = keys.len();
        keys.extend(longer);
    }
    keys.split_off(1)
}

proptest! {
    #[test]
    fn a_request_is_allowed_if_each_of_its_keys_is(
        permissions in vec(permission(), 0..6),
        key in key(2),
        end in range_end(),
    ) {
        let commands = permissions.iter().cloned().map(|permission| {
            chainfire_core::auth::AuthCommand::RoleGrantPermission { role: "role".into(), permission }
        });
        let before = [user_add("a"), role_add("role"), grant_role("a", "role")];
        let mut store = Store::guarded(&before.into_iter().chain(commands).collect::<Vec<_>>());
        store.become_user("a");
        let asked = Keys::from_wire(key, end);
        // Of two permissions on the same range the later one counts.
        let counts = |at: usize| {
            let own = &permissions[at];
            permissions[at + 1..].iter().all(|later| (&later.key, &later.range_end) != (&own.key, &own.range_end))
        };
        let readable = |key: &[u8]| (0..permissions.len()).any(|at| {
            let Permission { kind, key: start, range_end } = permissions[at].clone();
            counts(at) && kind != PermissionKind::Write && Keys::from_wire(start, range_end).contains(key)
        });
        let each = all_keys().into_iter().filter(|key| asked.contains(key)).all(|key| readable(&key));
        prop_assert_eq!(may(&store, KeyAccess::Read, &asked), each);
    }
}

#[test]
fn rights_do_not_depend_on_bytes_being_text() {
    let mut store = Store::guarded(&[user_add("a"), role_add("role"), grant_role("a", "role")]);
    store.become_user("root");
    let permission = Permission {
        kind: PermissionKind::Write,
        key: Bytes::from_static(&[0xff]),
        range_end: Bytes::from_static(&[0]),
    };
    store.auth(chainfire_core::auth::AuthCommand::RoleGrantPermission { role: "role".into(), permission }).unwrap();
    store.become_user("a");
    store.put(Put { key: Bytes::from_static(&[0xff, 0xff]), value: bytes("v"), ..Put::default() }).unwrap();
}
