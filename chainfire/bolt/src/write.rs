use std::{
    collections::BTreeMap,
    io::{BufWriter, Seek, SeekFrom, Write},
};

use crate::{
    Error, PAGE_SIZE, Pair,
    meta::Meta,
    page::{FREELIST, Header},
    tree::{Pages, Tree},
};

/// Two pages of meta records, and one that lists free pages, of which there are none.
const RESERVED: u64 = 3;
const FREELIST_PAGE: u64 = 2;

/// Writes a file bucket by bucket. Until [`Writer::finish`] it is not a file that anybody could read.
pub struct Writer<W: Write + Seek> {
    pages: Pages<BufWriter<W>>,
    /// Root pages by name.
    buckets: BTreeMap<Vec<u8>, u64>,
}

impl<W: Write + Seek> Writer<W> {
    pub fn new(out: W) -> Result<Self, Error> {
        Ok(Self { pages: Pages::begin(BufWriter::new(out), RESERVED)?, buckets: BTreeMap::new() })
    }

    /// Writes a bucket; `pairs` come in the order of their keys, none of which is empty. The same name again replaces
    /// the bucket.
    pub fn bucket<E: From<Error>>(
        &mut self,
        name: &[u8],
        pairs: impl IntoIterator<Item = Result<Pair, E>>,
    ) -> Result<(), E> {
        let mut tree = Tree::new(&mut self.pages);
        for pair in pairs {
            let (key, value) = pair?;
            tree.pair(&key, &value)?;
        }
        let root = tree.finish()?;
        self.buckets.insert(name.to_vec(), root);
        Ok(())
    }

    /// Completes the file; returns what it was written to, and its length in bytes, a multiple of [`PAGE_SIZE`].
    pub fn finish(mut self) -> Result<(W, u64), Error> {
        let mut tree = Tree::new(&mut self.pages);
        for (name, root) in &self.buckets {
            tree.bucket(name, *root)?;
        }
        let root = tree.finish()?;
        let end = self.pages.end();
        let mut out = self.pages.into_inner();
        let newest = Meta { page_size: PAGE_SIZE as u32, root, freelist: FREELIST_PAGE, end, transaction: 1 };
        let older = Meta { transaction: 0, ..newest };
        let freelist = Header { id: FREELIST_PAGE, flags: FREELIST, count: 0, overflow: 0 }.encode();
        for (page, bytes) in (0..).zip([older.encode(0), newest.encode(1), freelist.to_vec()]) {
            out.seek(SeekFrom::Start(page * PAGE_SIZE as u64))?;
            out.write_all(&bytes)?;
        }
        let out = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        Ok((out, end * PAGE_SIZE as u64))
    }
}
