//! A B+ tree from sorted elements, in one pass.

use std::io::{Seek, SeekFrom, Write};

use crate::{
    Error, PAGE_SIZE,
    page::{BRANCH, BUCKET, ENTRY, HEADER, Header, LEAF},
};

const KEY_BYTES: usize = 32_768;
const VALUE_BYTES: usize = (1 << 31) - 2;

/// Pages on their way to the end of a file.
pub(crate) struct Pages<W> {
    out: W,
    next: u64,
}

impl<W: Write + Seek> Pages<W> {
    /// Begins at page `first`; the pages before it are written last.
    pub(crate) fn begin(mut out: W, first: u64) -> Result<Self, Error> {
        out.seek(SeekFrom::Start(first * PAGE_SIZE as u64))?;
        Ok(Self { out, next: first })
    }

    /// The first page that is not written.
    pub(crate) fn end(&self) -> u64 {
        self.next
    }

    pub(crate) fn into_inner(self) -> W {
        self.out
    }

    fn write(&mut self, page: &Building) -> Result<u64, Error> {
        let id = self.next;
        let length = page.length();
        let pages = length.div_ceil(PAGE_SIZE);
        let overflow = u32::try_from(pages - 1).map_err(|_| Error::TooLarge)?;
        let count = u16::try_from(page.entries.len()).map_err(|_| Error::TooLarge)?;
        self.out.write_all(&Header { id, flags: page.flags, count, overflow }.encode())?;
        // Positions count from the entry that states them.
        let mut position = page.entries.len() * ENTRY;
        for entry in &page.entries {
            let at = u32::try_from(position).map_err(|_| Error::TooLarge)?;
            self.out.write_all(&entry.encode(at))?;
            position = position + entry.length() - ENTRY;
        }
        self.out.write_all(&page.data)?;
        let padding = pages * PAGE_SIZE - length;
        self.out.write_all(&[0; PAGE_SIZE][..padding])?;
        self.next += u64::from(overflow) + 1;
        Ok(id)
    }
}

/// What one element says beside its bytes.
enum Entry {
    Leaf { flags: u32, key: u32, value: u32 },
    Child { key: u32, page: u64 },
}

impl Entry {
    fn encode(&self, at: u32) -> [u8; ENTRY] {
        let (first, second) = match self {
            Self::Leaf { flags, key, value } => ([*flags, at], u64::from(*key) | u64::from(*value) << 32),
            Self::Child { key, page } => ([at, *key], *page),
        };
        let mut out = [0; ENTRY];
        out[..4].copy_from_slice(&first[0].to_le_bytes());
        out[4..8].copy_from_slice(&first[1].to_le_bytes());
        out[8..].copy_from_slice(&second.to_le_bytes());
        out
    }

    /// Bytes of its key and value.
    fn length(&self) -> usize {
        match self {
            Self::Leaf { key, value, .. } => *key as usize + *value as usize,
            Self::Child { key, .. } => *key as usize,
        }
    }
}

/// The page of one level that is being filled.
struct Building {
    flags: u16,
    entries: Vec<Entry>,
    data: Vec<u8>,
}

impl Building {
    fn new(flags: u16) -> Self {
        Self { flags, entries: Vec::new(), data: Vec::new() }
    }

    fn length(&self) -> usize {
        HEADER + self.entries.len() * ENTRY + self.data.len()
    }

    fn first_key(&self) -> &[u8] {
        let length = self.entries.first().map_or(0, |entry| match entry {
            Entry::Leaf { key, .. } | Entry::Child { key, .. } => *key as usize,
        });
        self.data.get(..length).unwrap_or_default()
    }
}

/// One tree. It holds a page for each level: an element that does not fit sends the page of its level to the file and
/// that page's first key one level up.
pub(crate) struct Tree<'a, W> {
    pages: &'a mut Pages<W>,
    levels: Vec<Building>,
    last: Vec<u8>,
}

impl<'a, W: Write + Seek> Tree<'a, W> {
    pub(crate) fn new(pages: &'a mut Pages<W>) -> Self {
        Self { pages, levels: vec![Building::new(LEAF)], last: Vec::new() }
    }

    pub(crate) fn pair(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.leaf(0, key, value)
    }

    pub(crate) fn bucket(&mut self, name: &[u8], root: u64) -> Result<(), Error> {
        // Behind the root page comes the bucket's sequence.
        let value = [root.to_le_bytes(), [0; 8]].concat();
        self.leaf(BUCKET, name, &value)
    }

    /// Writes what is left; returns the root's page.
    pub(crate) fn finish(mut self) -> Result<u64, Error> {
        let mut level = 0;
        loop {
            let (id, first) = self.flush(level)?;
            level += 1;
            if level == self.levels.len() {
                return Ok(id);
            }
            self.child(level, &first, id)?;
        }
    }

    fn leaf(&mut self, flags: u32, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if key.is_empty() || key <= self.last.as_slice() {
            return Err(Error::Unsorted);
        }
        if key.len() > KEY_BYTES || value.len() > VALUE_BYTES {
            return Err(Error::TooLarge);
        }
        // Both are far below 2^32.
        let entry = Entry::Leaf { flags, key: key.len() as u32, value: value.len() as u32 };
        self.push(0, entry, &[key, value])?;
        self.last.clear();
        self.last.extend_from_slice(key);
        Ok(())
    }

    fn child(&mut self, level: usize, key: &[u8], page: u64) -> Result<(), Error> {
        if level == self.levels.len() {
            self.levels.push(Building::new(BRANCH));
        }
        self.push(level, Entry::Child { key: key.len() as u32, page }, &[key])
    }

    fn push(&mut self, level: usize, entry: Entry, parts: &[&[u8]]) -> Result<(), Error> {
        let full = self
            .levels
            .get(level)
            .is_some_and(|page| !page.entries.is_empty() && page.length() + ENTRY + entry.length() > PAGE_SIZE);
        if full {
            let (id, first) = self.flush(level)?;
            self.child(level + 1, &first, id)?;
        }
        if let Some(page) = self.levels.get_mut(level) {
            page.entries.push(entry);
            parts.iter().for_each(|part| page.data.extend_from_slice(part));
        }
        Ok(())
    }

    /// Sends the page of `level` to the file; returns its number and first key.
    fn flush(&mut self, level: usize) -> Result<(u64, Vec<u8>), Error> {
        let Some(page) = self.levels.get_mut(level) else { return Err(Error::TooLarge) };
        let next = Building::new(page.flags);
        let page = std::mem::replace(page, next);
        Ok((self.pages.write(&page)?, page.first_key().to_vec()))
    }
}
