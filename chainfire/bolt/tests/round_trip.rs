//! What is written is read again: empty buckets, many levels, values of many pages.

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use chainfire_bolt::{Error, PAGE_SIZE, Pair, Reader, Writer};
use proptest::{collection::btree_map, prelude::*};

fn written(buckets: &[(&str, Vec<Pair>)]) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
    for (name, pairs) in buckets {
        writer.bucket::<Error>(name.as_bytes(), pairs.iter().cloned().map(Ok)).unwrap();
    }
    let (out, length) = writer.finish().unwrap();
    let bytes = out.into_inner();
    assert_eq!((bytes.len() as u64, bytes.len() % PAGE_SIZE), (length, 0));
    bytes
}

fn read(reader: &Reader<Vec<u8>>, bucket: &str) -> Option<Vec<Pair>> {
    let bucket = reader.bucket(bucket.as_bytes()).unwrap()?;
    Some(reader.pairs(&bucket).unwrap().map(Result::unwrap).collect())
}

#[test]
fn buckets_are_found_by_name() {
    let one = vec![(b"a".to_vec(), b"1".to_vec())];
    let reader = Reader::open(written(&[("key", one.clone()), ("alarm", Vec::new())])).unwrap();
    assert_eq!(read(&reader, "key"), Some(one));
    assert_eq!(read(&reader, "alarm"), Some(Vec::new()));
    assert_eq!(read(&reader, "lease"), None);
}

#[test]
fn a_tree_of_several_levels_keeps_its_order() {
    // More than 100 leaves a branch, and more than 100 branches.
    let pairs: Vec<Pair> = (0..60_000_u64).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; 500])).collect();
    let reader = Reader::open(written(&[("key", pairs.clone())])).unwrap();
    assert_eq!(read(&reader, "key"), Some(pairs));
}

#[test]
fn a_value_may_take_many_pages() {
    let lengths = [0, 1, PAGE_SIZE - 33, PAGE_SIZE - 32, PAGE_SIZE, 3 * PAGE_SIZE, 2 << 20];
    let pairs: Vec<Pair> = (0_u8..).zip(lengths).map(|(n, length)| (vec![n + 1], vec![n; length])).collect();
    let reader = Reader::open(written(&[("key", pairs.clone())])).unwrap();
    assert_eq!(read(&reader, "key"), Some(pairs));
}

#[test]
fn the_order_of_keys_is_the_callers_duty() {
    let bucket = |keys: &[&str]| {
        let pairs = keys.iter().map(|key| Ok((key.as_bytes().to_vec(), Vec::new())));
        Writer::new(Cursor::new(Vec::new())).unwrap().bucket::<Error>(b"key", pairs)
    };
    assert!(bucket(&["a", "b"]).is_ok());
    for wrong in [&["b", "a"][..], &["a", "a"], &[""]] {
        assert!(matches!(bucket(wrong), Err(Error::Unsorted)), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn anything_sorted_survives(
        pairs in btree_map(prop::collection::vec(any::<u8>(), 1..20), (any::<u8>(), 0usize..6_000), 0..100),
    ) {
        let pairs: Vec<Pair> = pairs.into_iter().map(|(key, (byte, length))| (key, vec![byte; length])).collect();
        let reader = Reader::open(written(&[("key", pairs.clone())])).unwrap();
        prop_assert_eq!(read(&reader, "key"), Some(pairs));
    }
}
