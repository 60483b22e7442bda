//! A look at RocksDB's write-ahead log before RocksDB recovers from it.
//!
//! RocksDB refuses a record with a wrong checksum. But in the last block of a file it takes a damaged *length* for a
//! write that was cut short, and silently drops the record with everything behind it, which may be acknowledged.
//! A killed process leaves nothing valid behind the cut, so a valid record there means damage.
//!
//! After a loss of power it may mean less: the pages of a write that was never synced reach the disk in any order, and
//! nothing in the file tells such a write from damage to a synced one. Both are refused, and the message says what an
//! operator needs to know to tell them apart.
//!
//! The format is RocksDB's `log_format.h`: blocks of 32 KiB; a record is a masked CRC-32C (4 bytes), a length
//! (2 bytes), both little-endian, a type (1 byte), then the payload; the checksum covers type and payload.

use std::{fs, io, path::Path};

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;

/// Where a log file goes on with valid records behind something that is none; none if it does not.
pub(super) fn damage(folder: &Path) -> io::Result<Option<String>> {
    if !folder.exists() {
        return Ok(None);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|kind| kind != "log") {
            continue;
        }
        let bytes = fs::read(&path)?;
        if let Some((bad, good)) = gap(&bytes) {
            return Ok(Some(format!(
                "{}: the record at byte {bad} is damaged, and there are records behind it at byte {good} (a loss of \
                 power during a write can leave this too, in the newest file; what is acknowledged then ends before \
                 byte {bad}, where the file may be cut)",
                path.display()
            )));
        }
    }
    Ok(None)
}

/// Offsets of the first bytes that are no record and of a valid record behind them.
fn gap(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    let bad = loop {
        // The end of a block that cannot hold a header is filled up.
        let left = BLOCK - at % BLOCK;
        if left < HEADER {
            at += left;
        }
        if at >= bytes.len() {
            return None;
        }
        match record(bytes, at) {
            Some(length) => at += length,
            None => break at,
        }
    };
    // RocksDB itself refuses damage in any block but the last.
    let last_block = bytes.len().saturating_sub(1) / BLOCK * BLOCK;
    let mut behind = bad.max(last_block) + 1..bytes.len();
    behind.find(|at| record(bytes, *at).is_some()).map(|good| (bad, good))
}

/// The length of the valid record at `at`, header included.
fn record(bytes: &[u8], at: usize) -> Option<usize> {
    let header: [u8; HEADER] = bytes.get(at..at + HEADER)?.try_into().ok()?;
    let [c0, c1, c2, c3, l0, l1, kind] = header;
    let length = HEADER + usize::from(u16::from_le_bytes([l0, l1]));
    if kind == 0 || at % BLOCK + length > BLOCK {
        return None;
    }
    let covered = bytes.get(at + HEADER - 1..at + length)?;
    (masked(crc32c::crc32c(covered)) == u32::from_le_bytes([c0, c1, c2, c3])).then_some(length)
}

/// RocksDB stores checksums rotated and shifted, so that a checksum over stored checksums stays meaningful.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(payload: &[u8]) -> Vec<u8> {
        let covered = [&[1], payload].concat();
        let length = u16::try_from(payload.len()).unwrap();
        [&masked(crc32c::crc32c(&covered)).to_le_bytes()[..], &length.to_le_bytes(), &covered].concat()
    }

    #[test]
    fn a_cut_is_no_gap() {
        let whole = [stored(b"one"), stored(b"two"), stored(b"three")].concat();
        for length in 0..whole.len() {
            assert_eq!(gap(&whole[..length]), None, "{length}");
        }
        assert_eq!(gap(&[&whole[..], &[0; 100]].concat()), None);
    }

    #[test]
    fn pages_that_reached_the_disk_out_of_order_are_a_gap() {
        let (first, rest) = (stored(&[1; 4_000]), stored(b"on the next page"));
        let lost = vec![0; first.len()];
        assert_eq!(gap(&[lost, rest].concat()), Some((0, first.len())));
    }

    #[test]
    fn damage_before_a_record_is_a_gap() {
        let (one, two) = (stored(b"one"), stored(b"two"));
        let whole = [one.clone(), two.clone(), stored(b"three")].concat();
        for at in 0..one.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            assert_eq!(gap(&damaged), Some((0, one.len())), "{at}");
        }
        // Damage in the last record looks like a cut.
        let mut damaged = whole.clone();
        damaged[one.len() + two.len() + 4] ^= 0x40;
        assert_eq!(gap(&damaged), None);
    }
}
