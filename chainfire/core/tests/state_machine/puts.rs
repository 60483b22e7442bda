//! §2.3: puts and deletions.

use chainfire_core::{
    UserError,
    kv::Put,
    lease::{self, LeaseId},
};

use crate::store::{Store, between, bytes, one, pair};

#[test]
fn an_empty_key_is_refused() {
    assert_eq!(Store::new().put(pair("", "v")), Err(UserError::KeyNotProvided));
}

#[test]
fn the_lease_must_exist() {
    let mut store = Store::new();
    let leased = Put { lease: LeaseId(7), ..pair("a", "1") };
    assert_eq!(store.put(leased.clone()), Err(UserError::LeaseNotFound));
    store.grant(7, 10).unwrap();
    store.put(leased).unwrap();
    assert_eq!(store.get("a").unwrap().lease, LeaseId(7));
}

#[test]
fn lease_0_detaches_and_another_lease_takes_over() {
    let mut store = Store::new();
    store.grant(7, 10).unwrap();
    store.grant(8, 10).unwrap();
    let attached = |store: &Store, id| lease::keys(&store.state, LeaseId(id)).unwrap();
    store.put(Put { lease: LeaseId(7), ..pair("a", "1") }).unwrap();
    store.put(Put { lease: LeaseId(7), ..pair("a", "2") }).unwrap();
    assert_eq!(attached(&store, 7), [bytes("a")]);
    store.put(Put { lease: LeaseId(8), ..pair("a", "3") }).unwrap();
    assert_eq!((attached(&store, 7), attached(&store, 8)), (vec![], vec![bytes("a")]));
    store.set("a", "4");
    assert_eq!(attached(&store, 8), Vec::<bytes::Bytes>::new());
    assert_eq!(store.get("a").unwrap().lease, LeaseId::NONE);
}

#[test]
fn ignoring_needs_an_old_pair_and_no_new_part() {
    let mut store = Store::new();
    store.grant(7, 10).unwrap();
    let ignore_value = Put { ignore_value: true, ..pair("a", "") };
    let ignore_lease = Put { ignore_lease: true, ..pair("a", "x") };
    assert_eq!(store.put(ignore_value.clone()), Err(UserError::KeyNotFound));
    assert_eq!(store.put(ignore_lease.clone()), Err(UserError::KeyNotFound));
    store.put(Put { lease: LeaseId(7), ..pair("a", "1") }).unwrap();
    assert_eq!(store.put(Put { value: bytes("x"), ..ignore_value.clone() }), Err(UserError::ValueProvided));
    assert_eq!(store.put(Put { lease: LeaseId(7), ..ignore_lease.clone() }), Err(UserError::LeaseProvided));

    store.put(ignore_lease).unwrap();
    let kv = store.get("a").unwrap();
    assert_eq!((kv.value, kv.lease, kv.version), (bytes("x"), LeaseId(7), 2));
    store.put(ignore_value).unwrap();
    let kv = store.get("a").unwrap();
    assert_eq!((kv.value, kv.lease, kv.version), (bytes("x"), LeaseId::NONE, 3));
    store.delete(one("a"));
    assert_eq!(store.put(Put { ignore_lease: true, ..pair("a", "x") }), Err(UserError::KeyNotFound));
}

#[test]
fn prev_kv_is_the_pair_before_or_nothing() {
    let mut store = Store::new();
    let put = |value| Put { prev_kv: true, ..pair("a", value) };
    assert_eq!(store.put(put("1")).unwrap().prev_kv, None);
    assert_eq!(store.put(put("2")).unwrap().prev_kv.unwrap().value, bytes("1"));
    assert_eq!(store.put(pair("a", "3")).unwrap().prev_kv, None);
    store.delete(one("a"));
    assert_eq!(store.put(put("4")).unwrap().prev_kv, None);
}

#[test]
fn a_deletion_counts_returns_in_key_order_and_detaches() {
    let mut store = Store::new();
    store.grant(7, 10).unwrap();
    for key in ["c", "a", "b"] {
        store.put(Put { lease: LeaseId(7), ..pair(key, key) }).unwrap();
    }
    let answer = store.delete(between("a", "c"));
    let keys: Vec<_> = answer.prev_kvs.iter().map(|kv| kv.key.clone()).collect();
    assert_eq!((answer.deleted, keys), (2, vec![bytes("a"), bytes("b")]));
    assert_eq!(lease::keys(&store.state, LeaseId(7)).unwrap(), [bytes("c")]);
}
