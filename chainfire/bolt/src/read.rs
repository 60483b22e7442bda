use crate::{
    Error, Pairs, Source,
    meta::{self, Meta},
    page::{HEADER, Page, u64_at},
    walk::{Found, Walk},
};

/// No page of etcd comes near this: a pair has at most a few megabytes.
const PAGE_BYTES: u64 = 256 << 20;

/// Page sizes at which the second meta record is looked for if the first does not tell.
const PAGE_SIZES: [u64; 8] = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];

/// A file, read from what its newest valid meta record names.
pub struct Reader<S> {
    source: S,
    meta: Meta,
}

/// A bucket of a [`Reader`]'s file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket(pub(crate) Root);

/// Where a bucket's tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    Page(u64),
    /// A small bucket is one leaf inside of the page that names it.
    Inline(Vec<u8>),
}

impl<S: Source> Reader<S> {
    /// Finds the meta records and checks that the file has every page that the newest one speaks of.
    pub fn open(source: S) -> Result<Self, Error> {
        let length = source.length()?;
        let at = |offset: u64| {
            let mut page = [0; meta::LENGTH];
            let inside = offset + meta::LENGTH as u64 <= length;
            inside.then(|| source.read_at(offset, &mut page).map(|()| Meta::decode(&page))).transpose()
        };
        let first = at(0)?.flatten();
        let mut newest = first;
        let sizes = first.map_or(PAGE_SIZES.to_vec(), |first| vec![u64::from(first.page_size)]);
        for size in sizes {
            let second = at(size)?.flatten().filter(|second| u64::from(second.page_size) == size);
            newest = newest.max_by_transaction(second);
        }
        let meta = newest.ok_or(Error::NotBolt)?;
        let expected = meta.end.checked_mul(u64::from(meta.page_size)).ok_or(Error::damaged(0, "it is endless"))?;
        if length < expected {
            return Err(Error::Truncated { found: length, expected });
        }
        Ok(Self { source, meta })
    }

    /// The bucket `name`, if there is one.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket>, Error> {
        let mut walk = Walk::new(self, &Root::Page(self.meta.root))?;
        while let Some(found) = walk.next_element(self)? {
            if let Found::Bucket(found, value) = found
                && found == name
            {
                return self.root(&value).map(|root| Some(Bucket(root)));
            }
        }
        Ok(None)
    }

    /// The pairs of a bucket, in the order of their keys.
    pub fn pairs(&self, bucket: &Bucket) -> Result<Pairs<'_, S>, Error> {
        Ok(Pairs::new(self, Walk::new(self, &bucket.0)?))
    }

    /// Pages of the file: no tree has more.
    pub(crate) fn pages(&self) -> u64 {
        self.meta.end
    }

    pub(crate) fn page(&self, id: u64) -> Result<Page, Error> {
        let size = u64::from(self.meta.page_size);
        if id < 2 || id >= self.meta.end {
            return Err(Error::damaged(id, "there is no such page"));
        }
        // `open` has checked that the last page's end fits.
        let mut header = [0; HEADER];
        self.source.read_at(id * size, &mut header)?;
        let overflow = header.split_last_chunk::<4>().map_or(0, |(_, count)| u32::from_le_bytes(*count));
        let pages = u64::from(overflow) + 1;
        if pages > self.meta.end - id {
            return Err(Error::damaged(id, "it ends behind the file"));
        }
        let length = pages.saturating_mul(size);
        if length > PAGE_BYTES {
            return Err(Error::damaged(id, "it is larger than anything that etcd stores"));
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| Error::TooLarge)?];
        self.source.read_at(id * size, &mut bytes)?;
        Page::new(id, bytes)
    }

    /// The tree that a bucket's entry names.
    fn root(&self, value: &[u8]) -> Result<Root, Error> {
        let short = || Error::damaged(self.meta.root, "a bucket has no root");
        let page = u64_at(value, 0).ok_or_else(short)?;
        let inline = value.get(HEADER..).ok_or_else(short)?;
        Ok(if page == 0 { Root::Inline(inline.to_vec()) } else { Root::Page(page) })
    }
}

trait Newest {
    fn max_by_transaction(self, other: Self) -> Self;
}

impl Newest for Option<Meta> {
    fn max_by_transaction(self, other: Self) -> Self {
        self.into_iter().chain(other).max_by_key(|meta| meta.transaction)
    }
}
