use std::path::Path;

use holdfast_keyspace::Table;
use ring::digest;
use rocksdb::WriteBatch;

use super::{Meta, failed, generation::Generation};
use crate::format::{ChunkV1, EndV1, HeaderV1, PartV1, decode_part};

/// A snapshot on its way in. It fills a fresh folder, which is removed again unless the whole snapshot proves right.
pub(crate) struct Incoming {
    number: u64,
    generation: Generation,
    header: Option<Header>,
    pairs: u64,
    digest: digest::Context,
}

struct Header {
    meta: Meta,
    tables: Vec<Table>,
}

/// A complete received state, durable in its folder, not yet in use.
pub(crate) struct Verified {
    number: u64,
    generation: Generation,
    meta: Meta,
}

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    #[error("the snapshot has the table {0:?}, which this release does not know")]
    UnknownTable(String),
    #[error(transparent)]
    Storage(#[from] holdfast_keyspace::Error),
}

impl Incoming {
    pub(super) fn begin(number: u64, path: &Path, tables: &[Table]) -> Result<Box<Self>, crate::Error> {
        let generation = Generation::open(path, tables, true)?;
        generation.condemn();
        let digest = digest::Context::new(&digest::SHA256);
        Ok(Box::new(Self { number, generation, header: None, pairs: 0, digest }))
    }

    /// Takes the next frame; the last one makes the state complete.
    pub(crate) fn accept(mut self: Box<Self>, frame: &[u8]) -> Result<Progress, Error> {
        match decode_part(frame).map_err(|error| Error::Damaged(error.to_string()))? {
            PartV1::Header(header) => self.begin_with(header)?,
            PartV1::Chunk(chunk) => self.add(&chunk)?,
            PartV1::End(end) => return self.finish(&end).map(|verified| Progress::Complete(Box::new(verified))),
        }
        self.digest.update(frame);
        Ok(Progress::More(self))
    }

    fn begin_with(&mut self, header: HeaderV1) -> Result<(), Error> {
        if self.header.is_some() {
            return Err(Error::Damaged("a second header".into()));
        }
        let known: Vec<Table> = self.generation.machine_tables().collect();
        let find = |name: String| {
            let found = known.iter().copied().find(|table| table.name == name);
            found.ok_or(Error::UnknownTable(name))
        };
        let membership = header.membership.try_into();
        let meta = Meta {
            applied: Some(header.applied.into()),
            membership: membership.map_err(|error: holdfast_format::Error| Error::Damaged(error.to_string()))?,
            first_command: header.first_command,
        };
        let tables: Result<Vec<Table>, Error> = header.tables.into_iter().map(find).collect();
        self.header = Some(Header { meta, tables: tables? });
        Ok(())
    }

    fn add(&mut self, chunk: &ChunkV1) -> Result<(), Error> {
        let header = self.header.as_ref().ok_or_else(|| Error::Damaged("no header".into()))?;
        let table = usize::try_from(chunk.table).ok().and_then(|at| header.tables.get(at));
        let table = table.ok_or_else(|| Error::Damaged(format!("no table {}", chunk.table)))?;
        let handle = self.generation.table(*table)?;
        let mut batch = WriteBatch::default();
        for (key, value) in &chunk.pairs {
            batch.put_cf(&handle, key, value);
        }
        drop(handle);
        self.pairs += chunk.pairs.len() as u64;
        Ok(self.generation.write(batch)?)
    }

    fn finish(self: Box<Self>, end: &EndV1) -> Result<Verified, Error> {
        let Self { number, generation, header, pairs, digest } = *self;
        let header = header.ok_or_else(|| Error::Damaged("no header".into()))?;
        if end.pairs != pairs {
            return Err(Error::Damaged(format!("{pairs} pairs of {}", end.pairs)));
        }
        if digest.finish().as_ref() != end.digest {
            return Err(Error::Damaged("the digest over all parts does not match".into()));
        }
        let mut batch = WriteBatch::default();
        header.meta.write(&generation, &mut batch)?;
        generation.write(batch)?;
        generation.flush()?;
        Ok(Verified { number, generation, meta: header.meta })
    }
}

/// What a frame has led to.
pub(crate) enum Progress {
    More(Box<Incoming>),
    Complete(Box<Verified>),
}

impl Verified {
    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    pub(super) fn into_parts(self) -> (u64, Generation, Meta) {
        (self.number, self.generation, self.meta)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, failed(error).to_string())
    }
}
