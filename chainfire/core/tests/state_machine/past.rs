//! A key's history, and the revision of a time.

use chainfire_core::{
    UserError,
    kv::{self, EventKind, KeyVersion, PartLimit, RangePart, Revision, VersionsOf, VersionsPart},
    table,
};

use holdfast_keyspace::{Read as _, Write as _};

use crate::store::{Store, between, bytes, one, refused};

const ALL: PartLimit = PartLimit { items: usize::MAX, bytes: usize::MAX };

fn ask(key: &str) -> VersionsOf {
    VersionsOf { key: bytes(key), from: Revision(0), upto: Revision::MAX, newest_first: false, keys_only: false }
}

fn versions(store: &Store, ask: &VersionsOf, limit: PartLimit) -> VersionsPart {
    kv::versions(&store.state, ask, limit).unwrap()
}

/// Revision and value of each version; a deletion has none.
fn told(versions: &[KeyVersion]) -> Vec<(i64, Option<&str>)> {
    let told = versions.iter().map(|KeyVersion { kind, kv, .. }| {
        let value = std::str::from_utf8(&kv.value).unwrap();
        (kv.mod_revision.0, (*kind == EventKind::Put).then_some(value))
    });
    told.collect()
}

/// `a` at 2, 4 (deleted at 5) and 6; `b` at 3.
fn store() -> Store {
    let mut store = Store::new();
    store.set("a", "1");
    store.set("b", "x");
    store.set("a", "2");
    store.delete(one("a"));
    store.set("a", "3");
    store
}

#[test]
fn a_history_has_every_version_of_one_key() {
    let store = store();
    let all = versions(&store, &ask("a"), ALL);
    assert_eq!(told(&all.versions), [(2, Some("1")), (4, Some("2")), (5, None), (6, Some("3"))]);
    assert_eq!(all.rest, None);
    let newest = versions(&store, &VersionsOf { newest_first: true, ..ask("a") }, ALL);
    assert_eq!(told(&newest.versions), [(6, Some("3")), (5, None), (4, Some("2")), (2, Some("1"))]);
    let between = VersionsOf { from: Revision(3), upto: Revision(5), ..ask("a") };
    assert_eq!(told(&versions(&store, &between, ALL).versions), [(4, Some("2")), (5, None)]);
    let names = versions(&store, &VersionsOf { keys_only: true, ..ask("b") }, ALL);
    assert_eq!(told(&names.versions), [(3, Some(""))]);
    assert_eq!(versions(&store, &ask("nobody"), ALL).versions, []);
    let none = refused(kv::versions(&store.state, &ask(""), ALL));
    assert_eq!(none.unwrap_err(), UserError::KeyNotProvided);
}

#[test]
fn parts_of_a_history_fit_together() {
    let store = store();
    for newest_first in [false, true] {
        let whole = versions(&store, &VersionsOf { newest_first, ..ask("a") }, ALL).versions;
        for limit in [PartLimit { items: 1, ..ALL }, PartLimit { bytes: 3, ..ALL }] {
            let mut joined = Vec::new();
            let mut next = Some(VersionsOf { newest_first, ..ask("a") });
            while let Some(ask) = next {
                let part = versions(&store, &ask, limit);
                assert!(!part.versions.is_empty());
                joined.extend(part.versions);
                next = part.rest;
            }
            assert_eq!(joined, whole);
        }
    }
}

#[test]
fn a_compacted_history_begins_with_what_the_revision_saw() {
    for rows in [0, 1, 100] {
        let mut store = store();
        store.compact(4).unwrap();
        if rows > 0 {
            store.remove_compacted(rows);
        }
        let kept = versions(&store, &ask("a"), ALL);
        assert_eq!(told(&kept.versions), [(4, Some("2")), (5, None), (6, Some("3"))]);
        assert_eq!(told(&versions(&store, &ask("b"), ALL).versions), [(3, Some("x"))]);
    }
    let mut store = store();
    store.compact(5).unwrap();
    assert_eq!(told(&versions(&store, &ask("a"), ALL).versions), [(5, None), (6, Some("3"))]);
    store.compact(6).unwrap();
    assert_eq!(told(&versions(&store, &ask("a"), ALL).versions), [(6, Some("3"))]);
}

/// Revisions 2 to 5, made at 1,000, 2,000, 2,000 and 3,000.
fn timed() -> Store {
    let mut store = Store::new();
    for (time_ms, key) in [(1_000, "a"), (2_000, "b"), (1_500, "c"), (3_000, "d")] {
        store.time_ms = time_ms;
        store.set(key, "1");
    }
    store
}

fn at(store: &Store, time_ms: u64) -> Result<i64, UserError> {
    refused::<Revision>(kv::revision_at(&store.state, time_ms)).map(|revision| revision.0)
}

#[test]
fn a_time_has_a_revision_and_times_never_go_back() {
    let store = timed();
    let times: Vec<_> = (2..7).map(|revision| kv::time_of(&store.state, Revision(revision)).unwrap()).collect();
    assert_eq!(times, [Some(1_000), Some(2_000), Some(2_000), Some(3_000), None]);
    let found = [0, 999, 1_000, 1_999, 2_000, 2_999, 3_000, u64::MAX].map(|time| at(&store, time).unwrap());
    assert_eq!(found, [1, 1, 2, 2, 4, 4, 5, 5]);
    assert_eq!(at(&Store::new(), 7), Ok(1));
}

#[test]
fn a_time_before_the_compacted_revision_is_compacted() {
    for rows in [0, 1, 2, 100] {
        let mut store = timed();
        store.compact(4).unwrap();
        if rows > 0 {
            store.remove_compacted(rows);
            let times = (2..5).map(|revision| kv::time_of(&store.state, Revision(revision)).unwrap().is_some());
            assert_eq!(times.collect::<Vec<_>>(), [false, false, true], "{rows} rows a step");
        }
        assert_eq!(at(&store, 1_999), Err(UserError::Compacted));
        assert_eq!(at(&store, 2_000), Ok(4));
        assert_eq!(at(&store, 5_000), Ok(5));
    }
}

#[test]
fn removed_times_are_not_looked_through_again() {
    let mut store = timed();
    store.compact(4).unwrap();
    store.remove_compacted(1);
    let removed = 0_i64.to_be_bytes().to_vec();
    store.state.put(table::TIMES, removed.clone(), b"not a time".to_vec());
    assert_eq!(at(&store, 2_000), Ok(4));
    store.compact(5).unwrap();
    store.remove_compacted(1);
    assert!(store.state.get(table::TIMES, &removed).unwrap().is_some());
    assert_eq!(at(&store, 3_000), Ok(5));
}

#[test]
fn parts_of_a_range_fit_together_whatever_is_written_between_them() {
    let mut store = Store::new();
    for key in ["a", "b", "c", "d"] {
        store.set(key, "1");
    }
    let pinned = store.revision();
    let limit = PartLimit { items: 2, ..ALL };
    let part = |store: &Store, keys| refused(kv::range_part(&store.state, &keys, pinned, limit, false));
    let RangePart { kvs, rest } = part(&store, between("a", "z")).unwrap();
    let names = |kvs: &[kv::KeyValue]| kvs.iter().map(|kv| kv.key.clone()).collect::<Vec<_>>();
    assert_eq!(names(&kvs), ["a", "b"]);
    store.set("bb", "1");
    store.set("d", "2");
    store.delete(one("c"));
    let rest = rest.unwrap();
    assert_eq!(rest, between("c", "z"));
    let RangePart { kvs, rest: none } = part(&store, rest.clone()).unwrap();
    assert_eq!((names(&kvs), kvs[1].value.as_ref(), none), (names(&kvs), b"1".as_slice(), None));
    assert_eq!(names(&kvs), ["c", "d"]);
    let small = PartLimit { bytes: 1, ..ALL };
    let one = kv::range_part(&store.state, &between("a", "z"), pinned, small, true);
    assert_eq!(names(&refused::<RangePart>(one).unwrap().kvs), ["a"]);
    store.compact(store.revision().0).unwrap();
    assert_eq!(part(&store, rest).unwrap_err(), UserError::Compacted);
}
