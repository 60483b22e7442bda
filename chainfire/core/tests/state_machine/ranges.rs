//! §2.2: what a range finds, counts and leaves out.

use std::cell::Cell;

use chainfire_core::{
    UserError,
    kv::{self, Filters, Keys, Put, Range, Revision, SortOrder, SortTarget},
    lease::LeaseId,
};

use holdfast_keyspace::{Error, KeyRange, Memory, Order, Read, Scan, Table};

use crate::store::{Store, anything, between, bytes, keys_of, one, pair};

fn abc() -> Store {
    let mut store = Store::new();
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3"), ("b", "4")] {
        store.set(key, value);
    }
    store
}

#[test]
fn an_end_at_or_before_the_start_is_empty_and_no_error() {
    let store = abc();
    for (start, end) in [("b", "b"), ("c", "a")] {
        let answer = store.range(&Range::of(between(start, end))).unwrap();
        assert_eq!((answer.kvs.len(), answer.count, answer.more), (0, 0, false));
    }
}

#[test]
fn an_end_of_one_zero_byte_is_everything_from_the_key() {
    let store = abc();
    assert_eq!(keys_of(&store.range(&Range::of(between("\0", "\0"))).unwrap()), ["a", "b", "c"]);
    assert_eq!(keys_of(&store.range(&Range::of(between("b", "\0"))).unwrap()), ["b", "c"]);
}

#[test]
fn an_empty_key_is_refused() {
    let store = abc();
    for keys in [one(""), between("", "a"), between("", "\0")] {
        assert_eq!(store.range(&Range::of(keys)), Err(UserError::KeyNotProvided));
    }
}

#[test]
fn the_count_ignores_limit_and_filters() {
    let store = abc();
    let all = Range::of(between("a", "z"));
    let limited = store.range(&Range { limit: 1, ..all.clone() }).unwrap();
    assert_eq!((keys_of(&limited), limited.count, limited.more), (vec!["a"], 3, true));
    let exact = store.range(&Range { limit: 3, ..all.clone() }).unwrap();
    assert!(!exact.more);
    let filters = Filters { min_mod: Some(Revision(4)), ..Filters::default() };
    let filtered = store.range(&Range { filters, ..all.clone() }).unwrap();
    assert_eq!((keys_of(&filtered), filtered.count, filtered.more), (vec!["b", "c"], 3, false));
    let counted = store.range(&Range { count_only: true, limit: 1, ..all }).unwrap();
    assert_eq!((counted.kvs.len(), counted.count, counted.more), (0, 3, false));
}

#[test]
fn filters_come_before_the_limit() {
    let store = abc();
    let filters = Filters { max_create: Some(Revision(3)), min_mod: Some(Revision(3)), ..Filters::default() };
    let answer = store.range(&Range { filters, limit: 1, ..Range::of(between("a", "z")) }).unwrap();
    assert_eq!((keys_of(&answer), answer.more), (vec!["b"], false));
}

#[test]
fn each_filter_bounds_one_side_of_one_revision_and_the_bounds_are_inside() {
    // Created at 2, 3 and 4; modified at 2, 5 and 4.
    let store = abc();
    let at = |revision| Some(Revision(revision));
    let none = Filters::default;
    let cases = [
        (Filters { min_mod: at(4), ..none() }, vec!["b", "c"]),
        (Filters { max_mod: at(4), ..none() }, vec!["a", "c"]),
        (Filters { min_create: at(3), ..none() }, vec!["b", "c"]),
        (Filters { max_create: at(3), ..none() }, vec!["a", "b"]),
        (Filters { min_mod: at(3), max_mod: at(4), ..none() }, vec!["c"]),
        (Filters { min_create: at(5), ..none() }, vec![]),
    ];
    for (filters, expected) in cases {
        let answer = store.range(&Range { filters, ..Range::of(between("a", "z")) }).unwrap();
        assert_eq!(keys_of(&answer), expected);
        assert_eq!((answer.count, answer.more), (3, false));
    }
}

#[test]
fn a_sort_without_order_applies_the_limit_first() {
    let mut store = Store::new();
    for (key, value) in [("k0", "v3"), ("k1", "v2"), ("k2", "v1")] {
        store.set(key, value);
    }
    let quirk =
        Range { limit: 1, sort_target: SortTarget::Value, sort_order: SortOrder::None, ..Range::of(between("k", "l")) };
    let answer = store.range(&quirk).unwrap();
    assert_eq!((keys_of(&answer), answer.more), (vec!["k1"], true));
    let ordered = store.range(&Range { sort_order: SortOrder::Ascend, ..quirk }).unwrap();
    assert_eq!((keys_of(&ordered), ordered.more), (vec!["k2"], true));
}

#[test]
fn every_target_sorts_both_ways() {
    let store = abc();
    let cases = [
        (SortTarget::Key, ["a", "b", "c"]),
        (SortTarget::Version, ["a", "c", "b"]),
        (SortTarget::Create, ["a", "b", "c"]),
        (SortTarget::Mod, ["a", "c", "b"]),
        (SortTarget::Value, ["a", "c", "b"]),
    ];
    for (sort_target, ascending) in cases {
        let request = Range { sort_target, sort_order: SortOrder::Ascend, ..Range::of(between("a", "z")) };
        assert_eq!(keys_of(&store.range(&request).unwrap()), ascending, "{sort_target:?}");
        let request = Range { sort_order: SortOrder::Descend, limit: 1, ..request };
        let top = if sort_target == SortTarget::Version || ascending[2] == "b" { "b" } else { "c" };
        assert_eq!(keys_of(&store.range(&request).unwrap()), [top], "{sort_target:?}");
    }
}

#[test]
fn keys_only_leaves_values_out_whatever_the_sort() {
    let mut store = abc();
    store.grant(7, 60).unwrap();
    store.put(Put { lease: LeaseId(7), ..pair("c", "3") }).unwrap();
    for sort_target in [SortTarget::Key, SortTarget::Value] {
        let request = Range { keys_only: true, sort_target, ..Range::of(between("a", "z")) };
        let answer = store.range(&request).unwrap();
        assert_eq!(answer.count, 3);
        assert!(answer.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision > Revision(0)));
        let full = store.range(&Range { keys_only: false, ..request }).unwrap();
        assert_eq!(keys_of(&full), keys_of(&answer));
        assert!(full.kvs.iter().any(|kv| kv.lease == LeaseId(7)));
        for (mut full, bare) in full.kvs.into_iter().zip(answer.kvs) {
            full.value.clear();
            assert_eq!(full, bare);
        }
    }
}

#[test]
fn the_past_is_readable_and_the_header_is_of_now() {
    let store = abc();
    let then = store.range(&Range { at: Some(Revision(3)), ..Range::of(between("a", "z")) }).unwrap();
    assert_eq!((keys_of(&then), then.revision), (vec!["a", "b"], Revision(5)));
    assert_eq!(then.kvs[1].value, bytes("2"));
    let future = store.range(&Range { at: Some(Revision(6)), ..Range::of(one("a")) });
    assert_eq!(future, Err(UserError::FutureRevision));
}

#[test]
fn the_compacted_revision_itself_is_readable() {
    let mut store = abc();
    store.compact(3).unwrap();
    let at = |revision| Range { at: Some(Revision(revision)), ..Range::of(one("b")) };
    assert_eq!(store.range(&at(3)).unwrap().kvs[0].value, bytes("2"));
    assert_eq!(store.range(&at(2)), Err(UserError::Compacted));
}

#[test]
fn keys_with_zero_bytes_and_many_versions_are_found() {
    let mut store = Store::new();
    for round in 0..40 {
        for key in ["a", "a\0", "a\0\0b", "a\u{1}"] {
            store.set(key, &round.to_string());
        }
    }
    let answer = store.range(&Range::of(between("a", "b"))).unwrap();
    assert_eq!(keys_of(&answer), ["a", "a\0", "a\0\0b", "a\u{1}"]);
    assert!(answer.kvs.iter().all(|kv| kv.value == bytes("39") && kv.version == 40));
    let early = store.range(&Range { at: Some(Revision(5)), ..Range::of(Keys::From(bytes("a\0"))) }).unwrap();
    assert_eq!(keys_of(&early), ["a\0", "a\0\0b", "a\u{1}"]);
    assert!(early.kvs.iter().all(|kv| kv.value == bytes("0")));
}

/// Counts what is asked of the storage below.
struct Counted<'a> {
    state: &'a Memory,
    seeks: Cell<usize>,
    pairs: Cell<usize>,
}

impl Read for Counted<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.state.get(table, key)
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        self.seeks.set(self.seeks.get() + 1);
        let pairs = self.state.scan(table, range, order);
        Box::new(pairs.inspect(|_| self.pairs.set(self.pairs.get() + 1)))
    }
}

#[test]
fn a_key_with_a_long_history_is_one_seek_at_any_revision_and_never_a_walk_through_it() {
    let mut store = Store::new();
    for round in 0..1_000 {
        store.set("hot", &round.to_string());
    }
    store.set("next", "1");
    for at in [None, Some(Revision(2)), Some(Revision(500))] {
        let counted = Counted { state: &store.state, seeks: Cell::new(0), pairs: Cell::new(0) };
        let answer = kv::range(&counted, &Range { at, ..Range::of(one("hot")) }, &mut anything).unwrap();
        assert_eq!((answer.count, counted.seeks.get(), counted.pairs.get()), (1, 1, 1));

        let counted = Counted { state: &store.state, seeks: Cell::new(0), pairs: Cell::new(0) };
        kv::range(&counted, &Range { at, ..Range::of(between("a", "z")) }, &mut anything).unwrap();
        assert!(counted.seeks.get() <= 4 && counted.pairs.get() < 60, "{} pairs", counted.pairs.get());
    }
}
