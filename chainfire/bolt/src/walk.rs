use crate::{
    Error, Pair, Reader, Source,
    page::{Element, Page},
    read::Root,
};

/// A tree with two children a page and more pages than any disk has is less deep.
const DEPTH: usize = 64;

/// What the pages on the way to a leaf may take together.
const HELD_BYTES: usize = 512 << 20;

/// A walk over the leaves of a tree. What keeps it from going on for ever: keys only grow, the depth has a bound, and
/// no more pages are looked at than the file has.
pub(crate) struct Walk {
    /// From the root down, with the number of the next element.
    stack: Vec<(Page, usize)>,
    last: Vec<u8>,
    budget: u64,
}

/// An element of a leaf.
pub(crate) enum Found {
    Pair(Pair),
    Bucket(Vec<u8>, Vec<u8>),
}

impl Walk {
    pub(crate) fn new<S: Source>(reader: &Reader<S>, root: &Root) -> Result<Self, Error> {
        let page = match root {
            Root::Page(id) => reader.page(*id)?,
            Root::Inline(bytes) => Page::new(0, bytes.clone())?,
        };
        Ok(Self { stack: vec![(page, 0)], last: Vec::new(), budget: reader.pages() })
    }

    pub(crate) fn next_element<S: Source>(&mut self, reader: &Reader<S>) -> Result<Option<Found>, Error> {
        while let Some((page, next)) = self.stack.last_mut() {
            if *next >= page.count() {
                self.stack.pop();
                continue;
            }
            let element = page.element(*next)?;
            *next += 1;
            let found = match element {
                Element::Pair { key, value } => Found::Pair((key.to_vec(), value.to_vec())),
                Element::Bucket { name, value } => Found::Bucket(name.to_vec(), value.to_vec()),
                Element::Child { key, child } => {
                    if key < self.last.as_slice() {
                        return Err(Error::damaged(page.id(), "its children are not in order"));
                    }
                    self.descend(reader, child)?;
                    continue;
                }
            };
            let (Found::Pair((key, _)) | Found::Bucket(key, _)) = &found;
            if key <= &self.last {
                return Err(Error::damaged(page.id(), "its keys are not in order"));
            }
            self.last.clone_from(key);
            return Ok(Some(found));
        }
        Ok(None)
    }

    fn descend<S: Source>(&mut self, reader: &Reader<S>, child: u64) -> Result<(), Error> {
        self.budget = self.budget.checked_sub(1).ok_or(Error::damaged(child, "it is reached in a circle"))?;
        if self.stack.len() >= DEPTH {
            return Err(Error::damaged(child, "it is reached in a circle"));
        }
        let page = reader.page(child)?;
        let held: usize = self.stack.iter().map(|(page, _)| page.length()).sum();
        if held + page.length() > HELD_BYTES {
            return Err(Error::damaged(child, "the branches above it are too large"));
        }
        self.stack.push((page, 0));
        Ok(())
    }
}

/// The pairs of one bucket; an error ends them.
pub struct Pairs<'a, S> {
    reader: &'a Reader<S>,
    /// None after an error.
    walk: Option<Walk>,
}

impl<'a, S: Source> Pairs<'a, S> {
    pub(crate) fn new(reader: &'a Reader<S>, walk: Walk) -> Self {
        Self { reader, walk: Some(walk) }
    }

    fn step(&mut self) -> Result<Option<Pair>, Error> {
        let Some(walk) = &mut self.walk else { return Ok(None) };
        match walk.next_element(self.reader)? {
            None => Ok(None),
            Some(Found::Pair(pair)) => Ok(Some(pair)),
            // etcd has none.
            Some(Found::Bucket(..)) => Err(Error::damaged(0, "a bucket lies inside of a bucket")),
        }
    }
}

impl<S: Source> Iterator for Pairs<'_, S> {
    type Item = Result<Pair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step();
        if next.is_err() {
            self.walk = None;
        }
        next.transpose()
    }
}
