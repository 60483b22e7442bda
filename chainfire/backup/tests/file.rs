//! A backup is whole or refused (§0 "streamed, checksummed, optionally encrypted, one file with a manifest").

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use chainfire_backup::{Error, Group, Item, Manifest, Member, Passphrase, Reader, Writer};
use proptest::prelude::*;
use uuid::Uuid;

fn manifest() -> Manifest {
    Manifest {
        release: "0.1.0".into(),
        created_ms: 1_767_225_600_000,
        cluster: Uuid::from_u128(1),
        members: vec![Member { name: "a".into(), peer_urls: vec!["https://a:2380".into()] }],
        lineage: Uuid::from_u128(2),
        lineage_ordinal: 0,
        revision: 7,
        compacted: None,
        system_revision: 3,
        groups: vec![Group { name: "chainfire".into(), term: 2, index: 9 }],
        encryption: None,
    }
}

fn items() -> Vec<Item> {
    let frame = |byte: u8| Item::Frame(Bytes::from(vec![byte; 300]));
    vec![Item::Group("chainfire".into()), frame(1), frame(2), Item::Group("flaredb".into()), frame(3)]
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes()).unwrap()
}

fn written(passphrase: Option<&Passphrase>) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), manifest(), passphrase).unwrap();
    for item in items() {
        writer.item(item).unwrap();
    }
    writer.finish().unwrap()
}

fn read(bytes: &[u8], passphrase: Option<&Passphrase>) -> Result<Vec<Item>, Error> {
    let mut reader = Reader::open(bytes, passphrase)?;
    let mut items = Vec::new();
    while let Some(item) = reader.next_item()? {
        items.push(item);
    }
    assert_eq!(reader.next_item().unwrap(), None);
    Ok(items)
}

#[test]
fn what_is_written_is_read() {
    let bytes = written(None);
    assert_eq!(read(&bytes, None).unwrap(), items());
    assert_eq!(Reader::manifest_of(bytes.as_slice()).unwrap(), manifest());
}

#[test]
fn an_encrypted_backup_needs_its_passphrase() {
    let (right, wrong) = (passphrase("correct horse battery"), passphrase("incorrect horse battery"));
    let bytes = written(Some(&right));
    // The end of a file's last line is no part of the passphrase.
    assert_eq!(read(&bytes, Some(&passphrase("correct horse battery\n"))).unwrap(), items());
    assert!(matches!(read(&bytes, None), Err(Error::Encrypted)));
    assert!(matches!(read(&bytes, Some(&wrong)), Err(Error::WrongPassphrase)));
    assert!(matches!(read(&written(None), Some(&right)), Err(Error::NotEncrypted)));
    assert!(!bytes.windows(20).any(|window| window == [1; 20]), "the content shows");
    let manifest = Reader::manifest_of(bytes.as_slice()).unwrap();
    assert_eq!(manifest.revision, 7);
    assert_ne!(manifest.encryption, Reader::manifest_of(written(Some(&right)).as_slice()).unwrap().encryption);
    assert!(matches!(Passphrase::new(b"short\n"), Err(holdfast_passphrase::Error::Short)));
}

#[test]
fn the_manifest_belongs_to_its_parts() {
    let secret = passphrase("correct horse battery");
    let (one, other) = (written(Some(&secret)), written(Some(&secret)));
    let start = |bytes: &[u8]| 14 + u32::from_be_bytes(bytes[6..10].try_into().unwrap()) as usize;
    let mixed = [&one[..start(&one)], &other[start(&other)..]].concat();
    assert!(matches!(read(&mixed, Some(&secret)), Err(Error::WrongPassphrase)));
    let mut changed = manifest();
    changed.revision = 8;
    let plain = written(None);
    let manifest = Writer::begin(Vec::new(), changed, None).unwrap().out().clone();
    let mixed = [&manifest, &plain[start(&plain)..]].concat();
    assert!(matches!(read(&mixed, None), Err(Error::Damaged { .. })));
}

#[test]
fn a_cut_anywhere_is_found() {
    let bytes = written(None);
    for length in 0..bytes.len() {
        let error = read(&bytes[..length], None).unwrap_err();
        assert!(matches!(error, Error::NotBackup(_) | Error::Truncated(_)), "{length}: {error}");
    }
    let longer = [&bytes, &b"x"[..]].concat();
    assert!(matches!(read(&longer, None), Err(Error::Damaged { .. })));
}

#[test]
fn parts_in_another_order_are_found() {
    let bytes = written(None);
    let mut frames = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (frame, behind) = rest.split_at(14 + u32::from_be_bytes(rest[6..10].try_into().unwrap()) as usize);
        frames.push(frame);
        rest = behind;
    }
    let mut exchanged = frames.clone();
    exchanged.swap(2, 3);
    let mut without = frames.clone();
    without.remove(2);
    for broken in [exchanged, without] {
        assert!(matches!(read(&broken.concat(), None), Err(Error::Damaged { .. })));
    }
}

proptest! {
    #[test]
    fn any_flipped_bit_is_found(at: prop::sample::Index, bit in 0u8..8) {
        let mut bytes = written(None);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(read(&bytes, None).is_err());
    }

    #[test]
    fn garbage_never_panics(bytes: Vec<u8>) {
        let _ = read(&bytes, None);
    }
}
