//! A file from anywhere is an error at worst: no panic, no endless walk.

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use chainfire_bolt::{Error, PAGE_SIZE, Pair, Reader, Writer};
use proptest::prelude::*;

fn sample() -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
    let pairs = (0..2_000_u32).map(|n| Ok((n.to_be_bytes().to_vec(), vec![n as u8; 300])));
    writer.bucket::<Error>(b"key", pairs).unwrap();
    writer.bucket::<Error>(b"meta", [Ok((b"term".to_vec(), vec![0; 8]))]).unwrap();
    writer.finish().unwrap().0.into_inner()
}

/// Everything that can be read.
fn walk(bytes: Vec<u8>) -> Result<usize, Error> {
    let reader = Reader::open(bytes)?;
    let mut count = 0;
    for name in ["key", "meta", "none"] {
        let Some(bucket) = reader.bucket(name.as_bytes())? else { continue };
        for pair in reader.pairs(&bucket)? {
            let _: Pair = pair?;
            count += 1;
        }
    }
    Ok(count)
}

/// Page `id`'s bytes.
fn page(bytes: &mut [u8], id: usize) -> &mut [u8] {
    &mut bytes[id * PAGE_SIZE..(id + 1) * PAGE_SIZE]
}

#[test]
fn a_whole_file_is_read() {
    assert_eq!(walk(sample()).unwrap(), 2_001);
}

#[test]
fn a_file_that_is_cut_off_says_so() {
    let whole = sample();
    for length in [whole.len() - 1, whole.len() / 2, 3 * PAGE_SIZE, PAGE_SIZE] {
        let found = Reader::open(whole[..length].to_vec()).err();
        assert!(matches!(found, Some(Error::Truncated { .. })), "{length}: {found:?}");
    }
    for length in [0, 16, 79] {
        assert!(matches!(Reader::open(whole[..length].to_vec()).err(), Some(Error::NotBolt)), "{length}");
    }
}

#[test]
fn the_older_record_counts_when_the_newer_is_torn() {
    let mut bytes = sample();
    page(&mut bytes, 1)[20] ^= 0xff;
    assert_eq!(walk(bytes.clone()).unwrap(), 2_001);
    page(&mut bytes, 0)[20] ^= 0xff;
    assert!(matches!(walk(bytes), Err(Error::NotBolt)));
}

#[test]
fn a_circle_ends() {
    let whole = sample();
    let branches: Vec<usize> = (3..whole.len() / PAGE_SIZE).filter(|id| whole[id * PAGE_SIZE + 8] == 1).collect();
    assert!(!branches.is_empty());
    for id in branches {
        for child in [id as u64, 0, 1, 2, u64::MAX, (whole.len() / PAGE_SIZE) as u64] {
            let mut bytes = whole.clone();
            page(&mut bytes, id)[24..32].copy_from_slice(&child.to_le_bytes());
            let found = walk(bytes);
            assert!(matches!(found, Err(Error::Damaged { .. })), "page {id} to {child}: {found:?}");
        }
    }
}

#[test]
fn empty_leaves_that_are_reached_again_and_again_end() {
    let mut bytes = sample();
    // Every leaf is empty, and every branch leads to the first leaf only: no key ever grows.
    for id in 3..bytes.len() / PAGE_SIZE {
        let page = page(&mut bytes, id);
        if page[8] == 2 && page[16] == 0 {
            page[10..12].fill(0);
        } else if page[8] == 1 {
            let count = usize::from(u16::from_le_bytes([page[10], page[11]]));
            (0..count).for_each(|at| page[24 + at * 16..32 + at * 16].copy_from_slice(&3_u64.to_le_bytes()));
        }
    }
    let _ = walk(bytes);
}

proptest! {
    #[test]
    fn flipped_bytes_never_panic(at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut bytes = sample();
        for (index, value) in at {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let _ = walk(bytes);
    }

    #[test]
    fn damaged_headers_never_panic(page_id in 3usize..160, at in 0usize..64, value: [u8; 4]) {
        let mut bytes = sample();
        let start = (page_id * PAGE_SIZE + at).min(bytes.len() - 4);
        bytes[start..start + 4].copy_from_slice(&value);
        let _ = walk(bytes);
    }

    #[test]
    fn garbage_never_panics(bytes: Vec<u8>) {
        let _ = walk(bytes);
    }
}
