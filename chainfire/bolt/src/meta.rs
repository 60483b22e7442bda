//! The record of what counts in a file; there are two, written in turn.

use crate::page::{HEADER, Header, META, u32_at, u64_at};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;

/// Bytes of the record before its checksum.
const CHECKED: usize = 56;

/// Bytes of a page that hold the record.
pub(crate) const LENGTH: usize = HEADER + CHECKED + 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_size: u32,
    /// Page of the root bucket.
    pub(crate) root: u64,
    pub(crate) freelist: u64,
    /// The first page that is not part of the file.
    pub(crate) end: u64,
    pub(crate) transaction: u64,
}

impl Meta {
    /// The record with its page header, for page `id`.
    pub(crate) fn encode(&self, id: u64) -> Vec<u8> {
        let mut record = Vec::with_capacity(CHECKED);
        for number in [MAGIC, VERSION, self.page_size, 0] {
            record.extend_from_slice(&number.to_le_bytes());
        }
        // The zero is the root bucket's sequence.
        for number in [self.root, 0, self.freelist, self.end, self.transaction] {
            record.extend_from_slice(&number.to_le_bytes());
        }
        let mut page = Header { id, flags: META, count: 0, overflow: 0 }.encode().to_vec();
        page.extend_from_slice(&record);
        page.extend_from_slice(&fnv1a(&record).to_le_bytes());
        page
    }

    /// Reads the record from the start of a page; none if it is not valid.
    pub(crate) fn decode(page: &[u8]) -> Option<Self> {
        let record = page.get(HEADER..HEADER + CHECKED)?;
        let valid = u32_at(record, 0)? == MAGIC
            && u32_at(record, 4)? == VERSION
            && u64_at(page, HEADER + CHECKED)? == fnv1a(record);
        let meta = Self {
            page_size: u32_at(record, 8)?,
            root: u64_at(record, 16)?,
            freelist: u64_at(record, 32)?,
            end: u64_at(record, 40)?,
            transaction: u64_at(record, 48)?,
        };
        let sane = meta.page_size.is_power_of_two() && (1 << 9..=1 << 16).contains(&meta.page_size);
        (valid && sane).then_some(meta)
    }
}

/// FNV-1a with 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_fnv_1a() {
        // The published vectors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_record_that_was_touched_is_not_valid() {
        let meta = Meta { page_size: 4096, root: 3, freelist: 2, end: 4, transaction: 1 };
        let page = meta.encode(1);
        assert_eq!(page.len(), LENGTH);
        assert_eq!(Meta::decode(&page), Some(meta));
        for at in HEADER..LENGTH {
            let mut touched = page.clone();
            touched[at] ^= 1;
            assert_eq!(Meta::decode(&touched), None, "byte {at}");
        }
    }
}
