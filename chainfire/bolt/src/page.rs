//! Pages of trees: a header, then one fixed entry for each element, then the elements' bytes.

use crate::Error;

/// Bytes of a page's header, and of each entry behind it.
pub(crate) const HEADER: usize = 16;
pub(crate) const ENTRY: usize = 16;

pub(crate) const BRANCH: u16 = 0x01;
pub(crate) const LEAF: u16 = 0x02;
pub(crate) const META: u16 = 0x04;
pub(crate) const FREELIST: u16 = 0x10;

/// An element of a leaf that is a bucket, not a pair.
pub(crate) const BUCKET: u32 = 0x01;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u64,
    pub(crate) flags: u16,
    pub(crate) count: u16,
    /// Pages that follow and belong to this one.
    pub(crate) overflow: u32,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(&self.id.to_le_bytes());
        out[8..10].copy_from_slice(&self.flags.to_le_bytes());
        out[10..12].copy_from_slice(&self.count.to_le_bytes());
        out[12..].copy_from_slice(&self.overflow.to_le_bytes());
        out
    }

    pub(crate) fn decode(page: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(page, 0)?,
            flags: u16::from_le_bytes(page.get(8..10)?.try_into().ok()?),
            count: u16::from_le_bytes(page.get(10..12)?.try_into().ok()?),
            overflow: u32_at(page, 12)?,
        })
    }
}

/// A page of a tree in memory, checked where it is looked at.
pub(crate) struct Page {
    header: Header,
    bytes: Vec<u8>,
}

/// What a page says about one element.
pub(crate) enum Element<'a> {
    Pair {
        key: &'a [u8],
        value: &'a [u8],
    },
    Bucket {
        name: &'a [u8],
        value: &'a [u8],
    },
    /// The keys from `key` on are below page `child`.
    Child {
        key: &'a [u8],
        child: u64,
    },
}

impl Page {
    /// Takes `bytes` for page `id`, which has to be part of a tree.
    pub(crate) fn new(id: u64, bytes: Vec<u8>) -> Result<Self, Error> {
        let header = Header::decode(&bytes).ok_or(Error::damaged(id, "it is too short"))?;
        if header.id != id {
            return Err(Error::damaged(id, "it says that it is another page"));
        }
        if !matches!(header.flags, BRANCH | LEAF) {
            return Err(Error::damaged(id, "it is neither a branch nor a leaf"));
        }
        Ok(Self { header, bytes })
    }

    pub(crate) fn id(&self) -> u64 {
        self.header.id
    }

    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn count(&self) -> usize {
        usize::from(self.header.count)
    }

    pub(crate) fn element(&self, at: usize) -> Result<Element<'_>, Error> {
        let outside = Error::damaged(self.header.id, "an element lies outside of it");
        self.element_inside(at).ok_or(outside)
    }

    fn element_inside(&self, at: usize) -> Option<Element<'_>> {
        let entry = at.checked_mul(ENTRY)?.checked_add(HEADER)?;
        let number = |offset: usize| u32_at(&self.bytes, entry + offset).map(|number| number as usize);
        let slice = |position: usize, length: usize| {
            let start = entry.checked_add(position)?;
            self.bytes.get(start..start.checked_add(length)?)
        };
        if self.header.flags == BRANCH {
            let key = slice(number(0)?, number(4)?)?;
            return Some(Element::Child { key, child: u64_at(&self.bytes, entry + 8)? });
        }
        let (position, key_length) = (number(4)?, number(8)?);
        let key = slice(position, key_length)?;
        let value = slice(position.checked_add(key_length)?, number(12)?)?;
        if number(0)? & BUCKET as usize == 0 {
            Some(Element::Pair { key, value })
        } else {
            Some(Element::Bucket { name: key, value })
        }
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
